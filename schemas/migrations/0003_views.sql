-- Public views: what analysts, notebooks and dashboards read. They show the generation and the date in force and
-- follow the pointer by themselves. Tables have no promise of stability, these columns have. Nothing here is in the clear.
CREATE DATABASE IF NOT EXISTS kintsugi;

-- The views in kintsugi_store are the joints of the public ones.
CREATE OR REPLACE VIEW kintsugi_store.current_rows AS
SELECT *
FROM kintsugi_store.profile_rows FINAL
WHERE is_tombstone = 0
  AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL);

CREATE OR REPLACE VIEW kintsugi_store.current_members AS
SELECT workspace, generation, profile_id, arrayJoin(members) AS identifier_id
FROM kintsugi_store.current_rows;

-- What a score is, for everything that reads scores from rows: those of a derivation, '' for the one in force, on the
-- date in force, in thousandths. Points that fade under a rule: sum of raw points * weight of their age, divided by the
-- scale of the weights, towards zero (intDiv). An age without a weight weighs nothing. All weights of all workspaces
-- stand in one constant array, because joining them to a million rows would copy them a million times: the weights of
-- the n-th (workspace, rule) lie behind its n-th start. The sum of all points, taken into the bounds, is the score.
CREATE OR REPLACE VIEW kintsugi_store.scored_profiles AS
WITH
    shown AS (SELECT workspace, if({derivation:String} = '', generation, {derivation:String}) AS generation, as_of
                FROM kintsugi_store.in_force FINAL),
    (SELECT (groupArray(workspace), groupArray(as_of)) FROM shown) AS dates,
    (SELECT (groupArray(CAST(workspace, 'String')), groupArray(if(mapContains(bounds, 'floor'), bounds['floor'], -4611686018427387904)),
             groupArray(if(mapContains(bounds, 'ceiling'), bounds['ceiling'], 4611686018427387904)))
       FROM kintsugi_store.generations FINAL WHERE (workspace, generation) IN (SELECT workspace, generation FROM shown)
    ) AS bounds_of,
    (SELECT (groupArray(key), arrayPushFront(arrayCumSum(groupArray(length(by_age))), toUInt64(0)), arrayFlatten(groupArray(by_age)))
       FROM (SELECT arrayJoin(mapKeys(weights)) AS rule, concat(workspace, '\n', rule) AS key, weights[rule] AS by_age
               FROM kintsugi_store.generations FINAL
              WHERE (workspace, generation) IN (SELECT workspace, generation FROM shown))
    ) AS half_lives, half_lives.1 AS keys, half_lives.2 AS starts, half_lives.3 AS flat
SELECT
    *,
    transform(CAST(workspace, 'String'), dates.1, dates.2, toDate32(0)) AS in_force_on,
    arrayMap(d -> (d.1, d.2, d.3, if(d.4 > 0 AND d.5 >= 0 AND d.5 < starts[d.4 + 1] - starts[d.4], flat[starts[d.4] + d.5 + 1], 0)),
        arrayMap(d -> (d.rule, d.day, d.amount, indexOf(keys, concat(workspace, '\n', d.rule)), toInt32(in_force_on) - toInt32(d.day)),
                 decaying))
        ::Array(Tuple(rule String, day Date32, amount Int64, weight UInt32)) AS weighted,
    arrayConcat(
        arrayMap((r, p) -> (r, p), mapKeys(points), mapValues(points)),
        arrayMap(r -> (r, toInt64(intDiv(
            arraySum(arrayMap(w -> if(w.rule = r, toInt128(w.amount) * w.weight, toInt128(0)), weighted)),
            toInt128(1073741824)))),
        arrayDistinct(weighted.rule)))
        ::Array(Tuple(rule String, points Int64)) AS summed,
    toInt64(arraySum(summed.points)) AS total,
    least(greatest(total, transform(CAST(workspace, 'String'), bounds_of.1, bounds_of.2, total)),
          transform(CAST(workspace, 'String'), bounds_of.1, bounds_of.3, total)) AS behaviour_score,
    arrayConcat(summed, arrayFilter(l -> l.2 != 0, [('floor', greatest(behaviour_score - total, 0)), ('ceiling', least(behaviour_score - total, 0))]))
        ::Array(Tuple(rule String, points Int64)) AS behaviour_lines,
    toInt64(arraySum(mapValues(identity_points))) AS identity_score
FROM kintsugi_store.profile_rows FINAL
WHERE is_tombstone = 0 AND (workspace, generation) IN (SELECT workspace, generation FROM shown);

CREATE OR REPLACE VIEW kintsugi_store.current_profiles AS
SELECT * FROM kintsugi_store.scored_profiles(derivation = '');

-- One row per event and rule for the profile of its subject: the row of the first identifier that is not shared.
CREATE OR REPLACE VIEW kintsugi_store.current_hits AS
SELECT workspace, generation, identifier_id, rule, event_id, occurred_at, day, amount, distinct_key
FROM kintsugi_store.rule_hits
WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
  AND identifier_id = arrayFirst(i -> (workspace, generation, i) NOT IN (
        SELECT workspace, generation, identifier_id FROM kintsugi_store.excluded_identifiers FINAL WHERE reason != ''
      ), identifiers);

CREATE OR REPLACE VIEW kintsugi.profiles (
    workspace       String               COMMENT 'Tenant',
    profile_id      String               COMMENT 'Id of the profile, the identifier_id of its founding identifier',
    traits          Map(String, String)  COMMENT 'Current value of each trait that is not sensitive',
    behaviour_score Float64              COMMENT 'Points for what the person did, as of the date in force',
    identity_score  Float64              COMMENT 'Points for fit (completeness, location, preference), not a confidence in the match',
    identity_grade  String               COMMENT 'Letter of identity_score, as the ruleset says; empty where it gives none',
    behaviour_points Map(String, Float64) COMMENT 'Behaviour points by rule as of the date in force, with inactivity, and floor or ceiling where the sum is beyond a bound; they add up to behaviour_score',
    identity_points Map(String, Float64) COMMENT 'Identity points by rule, with floor or ceiling where the sum is beyond a bound; they add up to identity_score',
    stage           String               COMMENT 'Stage of the customer journey, empty before the first',
    tags            Array(String)        COMMENT 'Tags whose condition in the rules holds, and those that people gave by hand',
    segments        Array(String)        COMMENT 'Segments the profile is in',
    identifiers     Map(String, Array(String)) COMMENT 'Masked identifiers by namespace',
    first_channel   String               COMMENT 'Channel of the first event that has one',
    last_channel    String               COMMENT 'Channel of the last event that has one',
    owner           String               COMMENT 'Employee of the last event that names one',
    first_seen_at   DateTime64(6, 'UTC') COMMENT 'Time of the first event',
    last_seen_at    DateTime64(6, 'UTC') COMMENT 'Time of the last event',
    event_count     UInt64               COMMENT 'Events whose subject is of the profile, those too that a robots filter keeps from giving points',
    robot           String               COMMENT 'Robots filter by which nothing counts that the profile did; empty: it counts, see also the ledger of its score',
    ruleset         String               COMMENT 'Generation in force, the ruleset under which the row was derived',
    as_of           Date32               COMMENT 'Date in force, scores are as of this day',
    next_change_on  Nullable(Date32)     COMMENT 'Next day on which time alone changes stage, tags, segments, a window or inactivity'
)
COMMENT 'Golden records: one row per profile, under the ruleset and on the date in force'
AS
SELECT
    p.workspace AS workspace,
    p.profile_id AS profile_id,
    p.traits AS traits,
    p.behaviour_score / 1000 AS behaviour_score,
    p.identity_score / 1000 AS identity_score,
    p.identity_grade AS identity_grade,
    mapFromArrays(p.behaviour_lines.rule, arrayMap(t -> t / 1000, p.behaviour_lines.points)) AS behaviour_points,
    mapFromArrays(mapKeys(p.identity_points), arrayMap(t -> t / 1000, mapValues(p.identity_points))) AS identity_points,
    p.stage AS stage,
    p.tags AS tags,
    p.segments AS segments,
    p.identifiers AS identifiers,
    p.first_channel AS first_channel,
    p.last_channel AS last_channel,
    p.owner AS owner,
    p.first_seen_at AS first_seen_at,
    p.last_seen_at AS last_seen_at,
    p.event_count AS event_count,
    p.robot AS robot,
    p.generation AS ruleset,
    p.in_force_on AS as_of,
    p.next_change_on AS next_change_on
FROM kintsugi_store.current_profiles AS p;

CREATE OR REPLACE VIEW kintsugi.profile_identifiers (
    workspace     String COMMENT 'Tenant',
    profile_id    String COMMENT 'Profile the identifier belongs to, itself when it is shared or blocked',
    identifier_id String COMMENT 'Keyed hash of namespace, scope and normal form: the same for every spelling',
    namespace     String COMMENT 'Namespace: phone, email, wechat_openid, ...',
    scope         String COMMENT 'Scope of a scoped namespace (appid, corp id), empty otherwise',
    mask          String COMMENT 'Masked form: 138****8000',
    state         String COMMENT 'member, shared or blocked',
    first_day     Date32 COMMENT 'First day on which it was seen',
    last_day      Date32 COMMENT 'Last day on which it was seen'
)
COMMENT 'Every identifier with the profile it belongs to, once that profile is computed'
AS
WITH members AS (
    SELECT workspace, profile_id, identifier_id, 'member' AS state
    FROM kintsugi_store.current_members
    WHERE (workspace, generation, identifier_id) NOT IN (
        SELECT workspace, generation, identifier_id FROM kintsugi_store.excluded_identifiers FINAL WHERE reason != '')
    UNION ALL
    SELECT workspace, identifier_id, identifier_id, reason
    FROM kintsugi_store.excluded_identifiers FINAL
    WHERE reason != ''
      AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
)
SELECT workspace, profile_id, identifier_id,
    max(namespace) AS namespace, max(scope) AS scope, max(mask) AS mask, any(state) AS state,
    minIf(day, day IS NOT NULL)::Date32 AS first_day, maxIf(day, day IS NOT NULL)::Date32 AS last_day
FROM (
    SELECT m.workspace AS workspace, m.profile_id AS profile_id, m.identifier_id AS identifier_id, m.state AS state,
        i.namespace AS namespace, i.scope AS scope, i.mask AS mask, CAST(NULL, 'Nullable(Date32)') AS day
    FROM kintsugi_store.identifiers AS i
    INNER JOIN members AS m ON i.workspace = m.workspace AND i.identifier_id = m.identifier_id
    UNION ALL
    SELECT m.workspace, m.profile_id, m.identifier_id, m.state, '', '', '', s.day
    FROM kintsugi_store.sightings AS s
    INNER JOIN members AS m ON s.workspace = m.workspace AND s.identifier_id = m.identifier_id
)
GROUP BY workspace, profile_id, identifier_id;

CREATE OR REPLACE VIEW kintsugi.profile_events (
    workspace   String               COMMENT 'Tenant',
    profile_id  String               COMMENT 'Profile the event counts for: that of its subject, once',
    event_id    String               COMMENT 'Keyed hash of the canonical body',
    type        String               COMMENT 'Segment type: track, identify, page, screen, group, alias',
    event       String               COMMENT 'What happened: Form Submitted, say; Page Viewed, Screen Viewed, Identified, Grouped or Aliased where the type says so already',
    message_id  String               COMMENT 'messageId as the client gave it',
    source      String               COMMENT 'Source that sent it',
    occurred_at DateTime64(6, 'UTC') COMMENT 'Event time',
    received_at DateTime64(6, 'UTC') COMMENT 'When the first copy reached the collector',
    day         Date32               COMMENT 'Calendar day in the time zone of the workspace',
    is_robot    UInt8                COMMENT '1 when the user agent names itself a robot',
    properties  String               COMMENT 'Properties as JSON text, without sensitive ones',
    context     String               COMMENT 'Parts of the context as JSON text',
    subject     String               COMMENT 'identifier_id of the strongest identifier that is neither blocked nor shared'
)
COMMENT 'Events, each at the profile it counts for'
AS
SELECT
    e.workspace AS workspace, h.profile_id AS profile_id, e.event_id AS event_id,
    any(e.type) AS type, any(e.event) AS event, any(e.message_id) AS message_id, any(e.source) AS source,
    min(e.occurred_at) AS occurred_at, min(e.received_at) AS received_at, min(e.day) AS day,
    any(e.is_robot) AS is_robot, any(e.properties) AS properties, any(e.context) AS context, any(h.subject) AS subject
FROM kintsugi_store.events AS e
INNER JOIN (
    SELECT hits.workspace AS workspace, hits.event_id AS event_id, m.profile_id AS profile_id, hits.identifier_id AS subject
    FROM kintsugi_store.current_hits AS hits
    INNER JOIN kintsugi_store.current_members AS m
        ON hits.workspace = m.workspace AND hits.identifier_id = m.identifier_id
    WHERE hits.rule = '*'
) AS h ON e.workspace = h.workspace AND e.event_id = h.event_id
GROUP BY workspace, profile_id, event_id;

CREATE OR REPLACE VIEW kintsugi.profile_hits (
    workspace   String               COMMENT 'Tenant',
    profile_id  String               COMMENT 'Profile of the subject of the event',
    rule        String               COMMENT 'Scoring rule that matched',
    event_id    String               COMMENT 'The event that matched',
    occurred_at DateTime64(6, 'UTC') COMMENT 'Event time',
    day         Date32               COMMENT 'Calendar day in the time zone of the workspace',
    raw_points  Float64              COMMENT 'Points of the hit before caps and decay'
)
COMMENT 'What points are made of: each event that a scoring rule matched, at the profile it counts for'
AS
SELECT h.workspace AS workspace, m.profile_id AS profile_id, h.rule AS rule, h.event_id AS event_id,
    min(h.occurred_at) AS occurred_at, min(h.day) AS day, any(h.amount) / 1000 AS raw_points
FROM kintsugi_store.current_hits AS h
INNER JOIN kintsugi_store.current_members AS m ON h.workspace = m.workspace AND h.identifier_id = m.identifier_id
WHERE h.rule != '*'
GROUP BY workspace, profile_id, rule, event_id;

CREATE OR REPLACE VIEW kintsugi.score_ledger (
    workspace  String  COMMENT 'Tenant',
    profile_id String  COMMENT 'Whose points they are; joins with profiles',
    score      String  COMMENT 'behaviour or identity',
    rule       String  COMMENT 'Scoring rule; inactivity: silence; floor, ceiling: what takes the sum into the bounds',
    points     Float64 COMMENT 'Points the rule contributes as of the date in force, all rows of a score add up to it',
    parts      Array(Tuple(day Date32, raw_points Float64, weight Float64)) COMMENT 'For a half-life rule, by day: points after caps, and the weight of the age of that day. Empty for other rules, see profile_hits',
    as_of      Date32  COMMENT 'Date in force',
    ruleset    String  COMMENT 'Generation in force'
)
COMMENT 'Points by profile and rule, with what they are made of'
AS
SELECT workspace, profile_id, line.1 AS score, line.2 AS rule, line.3 / 1000 AS points,
    arrayMap(w -> (w.day, w.amount / 1000, w.weight / 1073741824),
        arrayFilter(w -> line.1 = 'behaviour' AND w.rule = line.2, weighted)) AS parts,
    in_force_on AS as_of, generation AS ruleset
FROM (
    SELECT workspace, profile_id, weighted, in_force_on, generation, arrayJoin(arrayConcat(
        arrayMap(l -> ('behaviour', l.rule, l.points), behaviour_lines),
        arrayMap((r, p) -> ('identity', r, p), mapKeys(identity_points), mapValues(identity_points)))) AS line
    FROM kintsugi_store.current_profiles
);

CREATE OR REPLACE VIEW kintsugi.segment_members (
    workspace  String COMMENT 'Tenant',
    segment    String COMMENT 'Name that its file in the workspace gives',
    profile_id String COMMENT 'Profile that is in it on the date in force'
)
COMMENT 'Profiles by segment'
AS
SELECT workspace, arrayJoin(segments) AS segment, profile_id
FROM kintsugi_store.current_rows;

CREATE OR REPLACE VIEW kintsugi.profile_merges (
    workspace     String               COMMENT 'Tenant',
    changed_at    DateTime64(6, 'UTC') COMMENT 'When it was published',
    identifier_id String               COMMENT 'The identifier that moved',
    from_profile  String               COMMENT 'Profile before',
    to_profile    String               COMMENT 'Profile after',
    cause         String               COMMENT 'link, override, generation, expiry, sharing or date',
    ruleset       String               COMMENT 'Generation in which it happened'
)
COMMENT 'Journal of merges and splits as they were published: true to what was said at the time, at least once'
AS
SELECT workspace, changed_at, identifier_id, from_profile, to_profile, cause, generation AS ruleset
FROM kintsugi_store.identity_changes FINAL;

CREATE OR REPLACE VIEW kintsugi.refused_links (
    workspace String COMMENT 'Tenant',
    a         String COMMENT 'Smaller identifier_id',
    b         String COMMENT 'Greater identifier_id',
    reason    String COMMENT 'limit, with or never_link',
    blocker   String COMMENT 'The limit or the never-linked pair that stands against it'
)
COMMENT 'Links that the rules in force refuse, with the reason'
AS
SELECT workspace, a, b, reason, blocker
FROM kintsugi_store.refused_links FINAL
WHERE reason != ''
  AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL);

CREATE OR REPLACE VIEW kintsugi.events_without_subject (
    workspace   String               COMMENT 'Tenant',
    event_id    String               COMMENT 'Keyed hash of the canonical body',
    type        String               COMMENT 'Segment type',
    event       String               COMMENT 'What happened: Form Submitted, say; Page Viewed, Screen Viewed, Identified, Grouped or Aliased where the type says so already',
    source      String               COMMENT 'Source that sent it',
    occurred_at DateTime64(6, 'UTC') COMMENT 'Event time',
    is_robot    UInt8                COMMENT '1 when the user agent names itself a robot',
    identifiers Array(String)        COMMENT 'identifier_ids the event carries: all are blocked or shared'
)
COMMENT 'Events that count for nobody under the rules in force'
AS
SELECT workspace, event_id, type, event, source, occurred_at, is_robot, identifiers
FROM kintsugi_store.events FINAL
WHERE (workspace, event_id) NOT IN (SELECT workspace, event_id FROM kintsugi_store.current_hits WHERE rule = '*');

CREATE OR REPLACE VIEW kintsugi.conflicts (
    workspace  String        COMMENT 'Tenant',
    message_id String        COMMENT 'messageId that stands on different bodies',
    event_ids  Array(String) COMMENT 'The events, each counts',
    sources    Array(String) COMMENT 'Sources that sent them'
)
COMMENT 'One messageId with several events: an id that a client used twice'
AS
SELECT workspace, message_id, arraySort(groupUniqArray(event_id)) AS event_ids, arraySort(groupUniqArray(CAST(source, 'String'))) AS sources
FROM kintsugi_store.events
WHERE message_id != ''
GROUP BY workspace, message_id
HAVING length(event_ids) > 1;

CREATE OR REPLACE VIEW kintsugi.rejects (
    workspace   String               COMMENT 'Tenant',
    reject_id   String               COMMENT 'Keyed hash of code and raw bytes',
    source      String               COMMENT 'Source that sent it',
    code        String               COMMENT 'Error code',
    pointer     String               COMMENT 'JSON pointer to what is wrong',
    detail      String               COMMENT 'What is wrong, without personal data',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was first received'
)
COMMENT 'What could not become an event'
AS
SELECT workspace, reject_id, source, code, pointer, detail, received_at
FROM kintsugi_store.rejects FINAL;

CREATE OR REPLACE VIEW kintsugi.generations (
    workspace   String               COMMENT 'Tenant',
    generation  String               COMMENT 'Name of the derivation',
    opened_at   DateTime64(6, 'UTC') COMMENT 'When it was opened',
    is_in_force UInt8                COMMENT '1 when the views show it',
    as_of       Nullable(Date32)     COMMENT 'Date in force of its workspace, null for a generation that is not in force',
    ruleset     String               COMMENT 'Its ruleset as canonical JSON'
)
COMMENT 'Rulesets under which profiles were derived, and which one is in force'
AS
SELECT g.workspace AS workspace, g.generation AS generation, g.opened_at AS opened_at,
    f.generation != '' AS is_in_force, if(is_in_force, f.as_of, NULL) AS as_of, g.ruleset AS ruleset
FROM (SELECT * FROM kintsugi_store.generations FINAL) AS g
LEFT JOIN (SELECT * FROM kintsugi_store.in_force FINAL) AS f ON g.workspace = f.workspace AND g.generation = f.generation;
