-- Evidence: what was seen. Rows are only ever added, and no row depends on identity.yaml or scoring.yaml.
-- Sort keys use only what all copies of a fact share, so a replay lands on the same rows; where copies differ
-- (times taken from received_at), the minimum over the copies is kept.
CREATE DATABASE IF NOT EXISTS kintsugi_store;

CREATE TABLE IF NOT EXISTS kintsugi_store.events (
    workspace    LowCardinality(String)  COMMENT 'Tenant the event belongs to',
    event_id     String                  COMMENT 'Keyed hash of workspace and canonical body, 32 hex characters',
    type         LowCardinality(String)  COMMENT 'Segment type: track, identify, page, screen, group, alias',
    event        LowCardinality(String)  COMMENT 'Name of a track event; Page Viewed, Screen Viewed, Identified, Grouped, Aliased for the other types',
    message_id   String                  COMMENT 'messageId as the client gave it; one message_id with several event_ids is a conflict',
    source       LowCardinality(String)  COMMENT 'Source that sent it',
    occurred_at  SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Event time: the client''s, or received_at where that is missing or over 24 h ahead',
    received_at  SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When the first copy reached the collector',
    day          SimpleAggregateFunction(min, Date32) COMMENT 'Calendar day of occurred_at in the time zone of the workspace',
    is_robot     UInt8                   COMMENT '1 when the user agent names itself a robot',
    properties   String                  COMMENT 'Properties as JSON text, sensitive ones taken out',
    context      String                  COMMENT 'Parts of the context as JSON text: page, campaign, userAgent, library, locale',
    sealed       String                  COMMENT 'Sensitive properties as JSON, encrypted (AES-256-GCM, base64); empty when there are none',
    identifiers  Array(String)           COMMENT 'identifier_ids the event carries, ascending',
    kinds        Array(LowCardinality(String)) COMMENT 'Kind of each identifier: its namespace, then "|" and its named patterns when it matches any'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'One row per event; replays and duplicates fall together';

CREATE TABLE IF NOT EXISTS kintsugi_store.identifiers (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    identifier_id String                 COMMENT 'Keyed hash of namespace, scope and normal form, 32 hex characters',
    namespace     LowCardinality(String) COMMENT 'Namespace: phone, email, wechat_openid, user_id, anonymous_id, ...',
    scope         String                 COMMENT 'Scope of a scoped namespace (appid, corp id); empty otherwise',
    kind          LowCardinality(String) COMMENT 'Namespace, then "|" and the named patterns it matches when there are any',
    mask          String                 COMMENT 'Masked form, fit to be shown: 138****8000',
    sealed        String                 COMMENT 'Normal form, encrypted (AES-256-GCM, base64); the key is kept outside the store',
    received_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When it was first received'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, identifier_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256
COMMENT 'One row per identifier ever seen';

CREATE TABLE IF NOT EXISTS kintsugi_store.sightings (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    identifier_id String                 COMMENT 'The identifier that was seen',
    kind          LowCardinality(String) COMMENT 'Namespace and named patterns, as in identifiers',
    day           Date32                 COMMENT 'Calendar day of the event',
    received_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When this was first known',
    example_event SimpleAggregateFunction(min, String) COMMENT 'event_id of an event that shows it'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, identifier_id, kind, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'One row per identifier and day on which it was seen';

CREATE TABLE IF NOT EXISTS kintsugi_store.links (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    a             String                 COMMENT 'Smaller identifier_id of the pair',
    b             String                 COMMENT 'Greater identifier_id of the pair',
    day           Date32                 COMMENT 'Calendar day of the event that shows both',
    received_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When this was first known',
    example_event SimpleAggregateFunction(min, String) COMMENT 'event_id of an event that shows both'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, a, b, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'One row per pair of identifiers seen in one event, and day';

CREATE TABLE IF NOT EXISTS kintsugi_store.traits (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    identifier_id String                 COMMENT 'Identifier of the event, one row for each that it carries',
    name          LowCardinality(String) COMMENT 'Trait; $channel and $owner come from the mapping of the workspace',
    event_id      String                 COMMENT 'Event that said it',
    value         String                 COMMENT 'Text of the value (JSON for objects and lists); encrypted when is_sealed',
    is_sealed     UInt8                  COMMENT '1 when the trait is sensitive and value is encrypted',
    is_unset      UInt8                  COMMENT '1 when the event said null: the trait is unset from then on',
    occurred_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Event time',
    received_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When this was first known',
    day           SimpleAggregateFunction(min, Date32) COMMENT 'Calendar day of the event',
    identifiers   Array(String)          COMMENT 'identifier_ids of the event, ascending: who the subject is depends on the rules',
    kinds         Array(LowCardinality(String)) COMMENT 'Kind of each identifier'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, identifier_id, name, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024
COMMENT 'Every observation of a trait, so that its value on any day can be told';

CREATE TABLE IF NOT EXISTS kintsugi_store.rejects (
    workspace   LowCardinality(String)  COMMENT 'Tenant',
    reject_id   String                  COMMENT 'Keyed hash of code and raw bytes',
    source      LowCardinality(String)  COMMENT 'Source that sent it',
    code        LowCardinality(String)  COMMENT 'Error code, see the reference of error codes',
    pointer     String                  COMMENT 'JSON pointer to what is wrong',
    detail      String                  COMMENT 'What is wrong, in a sentence without personal data',
    sealed      String                  COMMENT 'Raw bytes, encrypted (AES-256-GCM, base64)',
    received_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'When it was first received'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, reject_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What could not become an event, with its raw bytes';

CREATE TABLE IF NOT EXISTS kintsugi_store.control_records (
    workspace LowCardinality(String)  COMMENT 'Tenant',
    kind      LowCardinality(String)  COMMENT 'override, assertion, generation, date, erasure',
    at        DateTime64(6, 'UTC')    COMMENT 'When it was said; the newest is the greatest (at, id)',
    id        String                  COMMENT 'Id of the record',
    body      String                  COMMENT 'The record as JSON'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, kind, at, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Control records of the log: what stewards, rules and the calendar said';
