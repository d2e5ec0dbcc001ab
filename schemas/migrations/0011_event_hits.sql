-- One row per event instead of one per rule that it matched: what a score reads of an event is read once.
CREATE TABLE IF NOT EXISTS kintsugi_store.event_hits (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    generation    LowCardinality(String) COMMENT 'Derivation the row belongs to',
    identifier_id String                 COMMENT 'One row for each usable identifier of the event',
    event_id      String                 COMMENT 'The event',
    occurred_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Event time',
    day           SimpleAggregateFunction(min, Date32) COMMENT 'Calendar day of the event',
    robot         LowCardinality(String) COMMENT 'Robots filter by which the event does not count; empty: it counts as activity',
    rules         Array(LowCardinality(String)) COMMENT 'Scoring rules that the event matched',
    amounts       Array(Int64)           COMMENT 'Raw points of each in thousandths',
    keys          Array(String)          COMMENT 'What each compares that counts once per value; empty text for others',
    identifiers   Array(String)          COMMENT 'Usable identifiers of the event, strongest first; the first that is not shared is its subject'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, generation, identifier_id, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024
COMMENT 'Events as scoring rules see them: activity, and the rules that they matched';

INSERT INTO kintsugi_store.event_hits
SELECT workspace, generation, identifier_id, event_id, first_at, first_day, robot,
    arrayMap(h -> h.1, hits), arrayMap(h -> h.2, hits), arrayMap(h -> h.3, hits), usable
FROM (
    SELECT workspace, generation, identifier_id, event_id, min(occurred_at) AS first_at, min(day) AS first_day,
        anyIf(distinct_key, rule = '*') AS robot, any(identifiers) AS usable,
        arraySort(groupUniqArrayIf((CAST(rule, 'String'), amount, distinct_key), rule != '*')) AS hits
    FROM kintsugi_store.rule_hits GROUP BY workspace, generation, identifier_id, event_id
)
SETTINGS optimize_aggregation_in_order = 1;

-- One row per event and rule for the profile of its subject: the row of the first identifier that is not shared. The
-- rule * is activity: every event, and as distinct_key the robots filter by which it does not count.
CREATE OR REPLACE VIEW kintsugi_store.current_hits AS
SELECT workspace, generation, identifier_id, hit.1 AS rule, event_id, occurred_at, day, hit.2 AS amount,
    hit.3 AS distinct_key
FROM (
    SELECT workspace, generation, identifier_id, event_id, occurred_at, day, arrayJoin(arrayPushFront(
        arrayZip(CAST(rules, 'Array(String)'), amounts, keys), ('*', toInt64(0), CAST(robot, 'String')))) AS hit
    FROM kintsugi_store.event_hits
    WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
      AND identifier_id = arrayFirst(i -> (workspace, generation, i) NOT IN (
            SELECT workspace, generation, identifier_id FROM kintsugi_store.excluded_identifiers FINAL WHERE reason != ''
          ), identifiers)
);
