-- What was published of where profiles stand: stages, segments, tags. A journal: true to what was said at the time, at
-- least once, outside the digest.
CREATE TABLE IF NOT EXISTS kintsugi_store.profile_changes (
    workspace  LowCardinality(String) COMMENT 'Tenant',
    generation LowCardinality(String) COMMENT 'Derivation that was in force',
    changed_at DateTime64(6, 'UTC')   COMMENT 'When it was published',
    profile_id String                 COMMENT 'Profile that changed',
    what       LowCardinality(String) COMMENT 'stage, segment or tag',
    was        String                 COMMENT 'Stage before; segment or tag that was left; empty where there was none',
    becomes    String                 COMMENT 'Stage after; segment or tag that was entered; empty where there is none',
    cause      LowCardinality(String) COMMENT 'event, assertion, merge, split, rule or time',
    as_of      Date32                 COMMENT 'Date in force when it was published',
    version    UInt64                 COMMENT 'Version of the row that says so; what was published together has one, and it grows',
    follows    UInt64                 COMMENT 'Version of the row before, the same however often the change is published; 0 where there was none'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, version, profile_id, what, was, becomes)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Journal of stages, segments and tags as they were published, at least once';

-- Each change with what it is called and its place in the journal: what was published together comes together.
CREATE OR REPLACE VIEW kintsugi_store.told_changes AS
SELECT workspace, version, changed_at, profile_id,
    multiIf(what = 'stage', 'stage', what = 'segment', if(was = '', 'enter', 'exit'), if(was = '', 'tag', 'untag')) AS change,
    if(becomes = '', was, becomes) AS name, if(what = 'stage', was, '') AS from_stage, CAST(cause, 'String') AS cause, as_of,
    CAST(generation, 'String') AS ruleset,
    lower(hex(sipHash128(CAST(workspace, 'String'), ruleset, profile_id, CAST(what, 'String'), was, becomes, follows))) AS change_id
FROM kintsugi_store.profile_changes FINAL;

CREATE OR REPLACE VIEW kintsugi.profile_changes (
    workspace  String               COMMENT 'Tenant',
    changed_at DateTime64(6, 'UTC') COMMENT 'When it was published',
    profile_id String               COMMENT 'Profile that changed; the id still resolves after a merge',
    change     String               COMMENT 'stage, enter (a segment), exit (from a segment), tag (given), untag (lost)',
    name       String               COMMENT 'Stage now, segment, or tag',
    from_stage String               COMMENT 'For a stage: the one before; empty for a new profile',
    cause      String               COMMENT 'event, assertion (people or the CRM), merge, split, rule (other rules) or time (decay, a window, silence)',
    as_of      Date32               COMMENT 'Date in force when it was published',
    ruleset    String               COMMENT 'Generation in which it happened',
    change_id  String               COMMENT 'The same for one change however often it was published: whoever has seen it may pass it over'
)
COMMENT 'Journal of stages, segments and tags as they were published: at least once, what hand-over to sales listens to'
AS
SELECT workspace, changed_at, profile_id, change, name, from_stage, cause, as_of, ruleset, change_id
FROM kintsugi_store.told_changes;

CREATE OR REPLACE VIEW kintsugi.stage_history (
    workspace       String           COMMENT 'Tenant',
    profile_id      String           COMMENT 'Profile that went this way',
    step            UInt32           COMMENT 'Number of the entry on the way of its profile, from 1',
    stage           String           COMMENT 'Stage that was entered',
    entered_on      Date32           COMMENT 'Day on which it was entered',
    left_on         Nullable(Date32) COMMENT 'Day on which the next one was entered; null: the profile stands here',
    cause           String           COMMENT 'first (its first event), condition (of the rules), status or outcome (people or the CRM)',
    behaviour_score Float64          COMMENT 'Behaviour score on the day it was entered',
    ruleset         String           COMMENT 'Generation in force'
)
COMMENT 'The way of every profile through the stages, by the rules in force and all that is known today; the journal says what was told at the time'
AS
SELECT workspace, profile_id, place AS step, entered.stage AS stage, entered.day AS entered_on,
    if(place = length(stage_history), NULL, stage_history[place + 1].day) AS left_on, entered.cause AS cause,
    entered.behaviour_score / 1000 AS behaviour_score, generation AS ruleset
FROM (
    SELECT workspace, profile_id, generation, stage_history, arrayJoin(arrayEnumerate(stage_history)) AS place,
        stage_history[place] AS entered
    FROM kintsugi_store.current_rows
);

CREATE OR REPLACE VIEW kintsugi.tag_statistics (
    workspace     String  COMMENT 'Tenant',
    tag           String  COMMENT 'Tag, or a level above tags: region/east counts whoever has any tag below it',
    level         UInt8   COMMENT 'Levels of its name; of people''s tags the first is manual',
    is_manual     UInt8   COMMENT '1: set by people; 0: by rules and segments',
    profile_count UInt64  COMMENT 'Profiles that have it on the date in force',
    share         Float64 COMMENT 'Part of all profiles, 0 to 1',
    given_count   UInt64  COMMENT 'Times it was given, as published',
    change_30d    Int64   COMMENT 'Given less lost, as published in the 30 days up to the date in force'
)
COMMENT 'People by tag, on every level of the library'
AS
WITH (SELECT (groupArray(workspace), groupArray(profiles)) FROM
    (SELECT workspace, count() AS profiles FROM kintsugi_store.current_rows GROUP BY workspace)) AS totals,
  (SELECT (groupArray(workspace), groupArray(as_of)) FROM kintsugi_store.in_force FINAL) AS dates
SELECT workspace, tag, toUInt8(length(splitByChar('/', tag))) AS level, toUInt8(startsWith(tag, 'manual/') OR tag = 'manual') AS is_manual,
    uniqExactIf(profile_id, kind = 'has') AS profile_count,
    profile_count / transform(CAST(workspace, 'String'), totals.1, totals.2, toUInt64(1)) AS share,
    countIf(kind = 'given') AS given_count,
    toInt64(countIf(kind = 'given' AND is_recent)) - toInt64(countIf(kind = 'lost' AND is_recent)) AS change_30d
FROM (
    SELECT workspace, profile_id, kind, is_recent,
        arrayJoin(arrayMap(n -> arrayStringConcat(arraySlice(splitByChar('/', full), 1, n), '/'),
                           range(1, length(splitByChar('/', full)) + 1))) AS tag
    FROM (
        SELECT workspace, profile_id, 'has' AS kind, arrayJoin(tags) AS full, 0 AS is_recent FROM kintsugi_store.current_rows
        UNION ALL
        SELECT workspace, profile_id, if(was = '', 'given', 'lost'), if(was = '', becomes, was),
            as_of > transform(CAST(workspace, 'String'), dates.1, dates.2, toDate32(0)) - 30
        FROM kintsugi_store.profile_changes FINAL WHERE what = 'tag'
    )
)
GROUP BY workspace, tag;

CREATE OR REPLACE VIEW kintsugi.outcomes (
    workspace  String               COMMENT 'Tenant',
    profile_id String               COMMENT 'Profile that holds the identifier now',
    outcome    String               COMMENT 'Name of the outcome: won, lost, ...',
    day        Date32               COMMENT 'Day on which it holds',
    said_at    DateTime64(6, 'UTC') COMMENT 'When it was said',
    author     String               COMMENT 'Who said it'
)
COMMENT 'What came of leads, as people or the CRM said'
AS
SELECT a.workspace AS workspace, if(m.profile_id = '', a.identifier_id, m.profile_id) AS profile_id, a.value AS outcome,
    a.day AS day, a.at AS said_at, a.author AS author
FROM (SELECT * FROM kintsugi_store.assertions FINAL WHERE what = 'outcome') AS a
LEFT JOIN (
    SELECT workspace, identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
    WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
      AND (workspace, identifier_id) IN (SELECT workspace, identifier_id FROM kintsugi_store.assertions WHERE what = 'outcome')
) AS m ON a.workspace = m.workspace AND a.identifier_id = m.identifier_id;

CREATE OR REPLACE VIEW kintsugi.conversion_by_score (
    workspace     String  COMMENT 'Tenant',
    stage         String  COMMENT 'Stage at whose first entry the score is taken: the one at which leads are handed over, for instance',
    score_from    Int64   COMMENT 'Band of the behaviour score on the day of that entry: from this to below score_from + 20',
    profile_count UInt64  COMMENT 'Profiles that entered the stage in this band',
    customers     UInt64  COMMENT 'Of these, since then customer, or with the outcome won',
    lost          UInt64  COMMENT 'Of these, since then disqualified, or with the outcome lost, and no customer',
    conversion    Float64 COMMENT 'customers / profile_count, 0 to 1'
)
COMMENT 'Whether the score tells who buys: what came of leads, by the score with which they entered a stage'
AS
SELECT e.workspace AS workspace, e.entered.stage AS stage, toInt64(floor(e.entered.behaviour_score / 20000)) * 20 AS score_from,
    count() AS profile_count,
    countIf(e.customer_on >= e.entered.day OR o.won_on >= e.entered.day) AS customers,
    countIf((e.out_on >= e.entered.day OR o.lost_on >= e.entered.day)
        AND NOT (e.customer_on >= e.entered.day OR o.won_on >= e.entered.day)) AS lost,
    customers / profile_count AS conversion
FROM (
    SELECT workspace, profile_id,
        arrayJoin(arrayMap(s -> arrayFirst(h -> h.stage = s, stage_history), arrayDistinct(stage_history.stage))) AS entered,
        arrayLast(h -> h.stage = 'customer', stage_history).day AS customer_on,
        arrayLast(h -> h.stage = 'disqualified', stage_history).day AS out_on
    FROM kintsugi_store.current_rows
) AS e
LEFT JOIN (
    SELECT workspace, profile_id, maxIf(day, outcome = 'won') AS won_on, maxIf(day, outcome = 'lost') AS lost_on
    FROM kintsugi.outcomes GROUP BY workspace, profile_id
) AS o ON e.workspace = o.workspace AND e.profile_id = o.profile_id
GROUP BY workspace, stage, score_from;
