-- What people and the CRM said of identifiers, by identifier: the score step reads those of the profiles it computes.
CREATE TABLE IF NOT EXISTS kintsugi_store.assertions (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    identifier_id String                 COMMENT 'Identifier it is said of; it counts for the profile that holds it',
    day           Date32                 COMMENT 'Calendar day from which it holds',
    at            DateTime64(6, 'UTC')   COMMENT 'When it was said; of one day the newest is the greatest (at, id)',
    id            String                 COMMENT 'Id of the record',
    what          LowCardinality(String) COMMENT 'status, tag, untag or outcome',
    value         String                 COMMENT 'Stage, tag, or name of the outcome',
    author        String                 COMMENT 'Who said it'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, identifier_id, day, at, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256
COMMENT 'Words of people on identifiers: evidence, only ever added';
