-- Derived: a pure function of evidence, ruleset and date. Everything carries its generation, so that a new ruleset
-- is derived beside the live one. Row versions are `epoch << 32 | counter`; the greatest wins. Tables that are read by
-- single keys have small granules: reading a row costs a granule.
CREATE TABLE IF NOT EXISTS kintsugi_store.rule_hits (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    generation    LowCardinality(String) COMMENT 'Derivation the row belongs to',
    identifier_id String                 COMMENT 'One row for each usable identifier of the event',
    rule          LowCardinality(String) COMMENT 'Scoring rule that the event matched; * matches every event (activity)',
    event_id      String                 COMMENT 'The event',
    occurred_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Event time',
    day           SimpleAggregateFunction(min, Date32) COMMENT 'Calendar day of the event',
    amount        Int64                  COMMENT 'Raw points of the hit in thousandths',
    distinct_key  String                 COMMENT 'What a rule that counts once per value compares; of *: the robots filter by which the event does not count; empty otherwise',
    identifiers   Array(String)          COMMENT 'Usable identifiers of the event, strongest first; the first that is not shared is its subject'
) ENGINE = AggregatingMergeTree ORDER BY (workspace, generation, identifier_id, rule, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024
COMMENT 'Events matched by scoring rules';

CREATE TABLE IF NOT EXISTS kintsugi_store.generations (
    workspace  LowCardinality(String) COMMENT 'Tenant',
    generation String                 COMMENT 'Name of the derivation',
    opened_at  DateTime64(6, 'UTC')   COMMENT 'When it was opened',
    ruleset    String                 COMMENT 'The ruleset it derives by, canonical JSON',
    weights    Map(String, Array(UInt32)) COMMENT 'For each half-life rule: weight by age in days, scale 2^30',
    bounds     Map(String, Int64)     COMMENT 'floor and ceiling of the behaviour score in thousandths, where it has them'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, generation)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rulesets under which profiles were derived';

CREATE TABLE IF NOT EXISTS kintsugi_store.in_force (
    workspace  LowCardinality(String) COMMENT 'Tenant',
    generation String                 COMMENT 'Generation that the views show',
    as_of      Date32                 COMMENT 'Date in force: scores are as of this day',
    version    UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY workspace
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The pointer: which generation and date are in force; written by the score step alone';

CREATE TABLE IF NOT EXISTS kintsugi_store.identity_map (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    generation    LowCardinality(String) COMMENT 'Derivation',
    identifier_id String                 COMMENT 'An identifier; without a row its profile_id is itself',
    profile_id    String                 COMMENT 'Profile it belongs to; itself when it does not cluster',
    state         LowCardinality(String) COMMENT 'member, shared or blocked',
    version       UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY (workspace, generation, identifier_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256
COMMENT 'From identifier to profile';

CREATE TABLE IF NOT EXISTS kintsugi_store.clusters (
    workspace  LowCardinality(String) COMMENT 'Tenant',
    generation LowCardinality(String) COMMENT 'Derivation',
    profile_id String                 COMMENT 'Founding identifier of the cluster',
    members    Array(String)          COMMENT 'identifier_ids, ascending; empty: the profile joined another (tombstone)',
    version    UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY (workspace, generation, profile_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256
COMMENT 'From profile to identifiers, clusters of two and more; others are their own only member';

CREATE TABLE IF NOT EXISTS kintsugi_store.excluded_identifiers (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    generation    LowCardinality(String) COMMENT 'Derivation',
    identifier_id String                 COMMENT 'An identifier that does not cluster',
    reason        LowCardinality(String) COMMENT 'shared or blocked; empty: no longer excluded',
    version       UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY (workspace, generation, identifier_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Identifiers that do not cluster, few enough to be joined everywhere';

CREATE TABLE IF NOT EXISTS kintsugi_store.refused_links (
    workspace  LowCardinality(String) COMMENT 'Tenant',
    generation LowCardinality(String) COMMENT 'Derivation',
    a          String                 COMMENT 'Smaller identifier_id',
    b          String                 COMMENT 'Greater identifier_id',
    reason     LowCardinality(String) COMMENT 'limit, with or never_link; empty: no longer refused',
    blocker    String                 COMMENT 'The limit (namespace: most) or the never-linked pair that stands against it',
    version    UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY (workspace, generation, a, b)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Links that the rules refuse, with the reason';

CREATE TABLE IF NOT EXISTS kintsugi_store.identity_changes (
    workspace     LowCardinality(String) COMMENT 'Tenant',
    generation    LowCardinality(String) COMMENT 'Derivation in which it happened',
    changed_at    DateTime64(6, 'UTC')   COMMENT 'When it was published',
    identifier_id String                 COMMENT 'The identifier that moved',
    from_profile  String                 COMMENT 'Profile before',
    to_profile    String                 COMMENT 'Profile after',
    cause         LowCardinality(String) COMMENT 'link, override, generation, expiry, sharing or date',
    version       UInt64                 COMMENT 'Version of the map row that says so'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, generation, changed_at, identifier_id, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Journal of merges and splits as they were published, at least once';

CREATE TABLE IF NOT EXISTS kintsugi_store.profile_rows (
    workspace      LowCardinality(String) COMMENT 'Tenant',
    generation     LowCardinality(String) COMMENT 'Derivation',
    profile_id     String                 COMMENT 'identifier_id of the founding identifier',
    is_tombstone   UInt8                  COMMENT '1: the profile joined another or lost its evidence; nothing below counts',
    members        Array(String)          COMMENT 'identifier_ids of the profile, ascending',
    identifiers    Map(String, Array(String)) COMMENT 'Masked identifiers by namespace',
    traits         Map(String, String)    COMMENT 'Current value of each trait that is not sensitive',
    sealed_traits  Map(String, String)    COMMENT 'Current value of each sensitive trait, encrypted',
    trait_events   Map(String, String)    COMMENT 'event_id that each current trait comes from',
    points         Map(String, Int64)     COMMENT 'Behaviour points by rule in thousandths, of rules without half-life, as of as_of',
    decaying       Array(Tuple(rule String, day Date32, amount Int64)) COMMENT 'Raw points by half-life rule and day, after caps, in thousandths',
    identity_points Map(String, Int64)    COMMENT 'Identity points by rule in thousandths',
    identity_grade LowCardinality(String) COMMENT 'Letter of the identity score; empty where the ruleset gives none',
    robot          LowCardinality(String) COMMENT 'Robots filter of profiles by which nothing counts that the profile did; empty: it counts',
    stage          LowCardinality(String) COMMENT 'Stage on as_of',
    stage_history  Array(Tuple(stage String, day Date32, cause String, behaviour_score Int64)) COMMENT 'Every stage entered up to as_of, with its day, cause (first, condition, status, outcome) and the behaviour score of that day in thousandths',
    tags           Array(String)          COMMENT 'Tags on as_of',
    segments       Array(String)          COMMENT 'Segments on as_of',
    first_channel  String                 COMMENT 'Channel of the first event that has one',
    last_channel   String                 COMMENT 'Channel of the last event that has one',
    owner          String                 COMMENT 'Employee of the last event that names one',
    first_seen_at  DateTime64(6, 'UTC')   COMMENT 'Time of the first event',
    last_seen_at   DateTime64(6, 'UTC')   COMMENT 'Time of the last event',
    event_count    UInt64                 COMMENT 'Events that count for this profile',
    as_of          Date32                 COMMENT 'Day for which the row was computed',
    next_change_on Nullable(Date32)       COMMENT 'Next day on which time alone changes the row',
    version        UInt64                 COMMENT 'The greatest wins'
) ENGINE = ReplacingMergeTree(version) ORDER BY (workspace, generation, profile_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256, min_bytes_for_wide_part = 1073741824
COMMENT 'Golden records';

CREATE TABLE IF NOT EXISTS kintsugi_store.progress (
    workspace   LowCardinality(String) COMMENT 'Tenant',
    segment     String                 COMMENT 'Segment of the log whose work is done',
    recorded_at DateTime64(6, 'UTC')   COMMENT 'When it was done'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, segment)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Segments whose every record is in the profiles';
