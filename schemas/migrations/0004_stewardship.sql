-- What stewards work with: the journal with its evidence, overrides, a queue of what deserves a look, and the
-- evidence as it was known at a moment. Neighbours of an identifier are asked for from both ends of a link.
ALTER TABLE kintsugi_store.links ADD INDEX IF NOT EXISTS by_b b TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE kintsugi_store.identity_changes ADD COLUMN IF NOT EXISTS
    evidence Array(String) COMMENT 'identifier_ids that the cause is about: the ends of a link or override, or one identifier';

-- A row a move of one identifier. What was published at once lies together by version: where the founding identifier
-- of the profile before went along, that profile has ended; where the new profile is founded by one that went, it is new.
CREATE OR REPLACE VIEW kintsugi.profile_merges (
    workspace     String               COMMENT 'Tenant',
    changed_at    DateTime64(6, 'UTC') COMMENT 'When it was published',
    change        String               COMMENT 'merge: the profile before has ended. split: the profile after is new. rename: the same people under an earlier founding identifier. move: from one lasting profile to another',
    identifier_id String               COMMENT 'The identifier that moved',
    namespace     String               COMMENT 'Its namespace',
    mask          String               COMMENT 'Its masked form',
    from_profile  String               COMMENT 'Profile before',
    to_profile    String               COMMENT 'Profile after',
    cause         String               COMMENT 'link, override, generation (other rules), expiry, sharing or date',
    evidence      Array(String)        COMMENT 'identifier_ids that the cause is about: the ends of the link or override, the identifier that became shared. Empty for other rules',
    ruleset       String               COMMENT 'Generation in which it happened'
)
COMMENT 'Journal of merges and splits as they were published: true to what was said at the time, at least once'
AS
SELECT c.workspace AS workspace, c.changed_at AS changed_at,
    multiIf(c.has_ended AND c.is_new, 'rename', c.has_ended, 'merge', c.is_new, 'split', 'move') AS change,
    c.identifier_id AS identifier_id, i.namespace AS namespace, i.mask AS mask,
    c.from_profile AS from_profile, c.to_profile AS to_profile, c.cause AS cause, c.evidence AS evidence, c.generation AS ruleset
FROM (
    SELECT *,
        max(identifier_id = from_profile) OVER (PARTITION BY workspace, generation, version, from_profile, to_profile) AS has_ended,
        max(identifier_id = to_profile) OVER (PARTITION BY workspace, generation, version, from_profile, to_profile) AS is_new
    FROM kintsugi_store.identity_changes FINAL
) AS c
LEFT JOIN (
    SELECT workspace, identifier_id, any(namespace) AS namespace, any(mask) AS mask
    FROM kintsugi_store.identifiers GROUP BY workspace, identifier_id
) AS i ON c.workspace = i.workspace AND c.identifier_id = i.identifier_id;

CREATE OR REPLACE VIEW kintsugi.overrides (
    workspace    String                         COMMENT 'Tenant',
    override_id  String                         COMMENT 'What the API answered when it was said; withdrawing names it',
    verb         String                         COMMENT 'force: one person. never: never one person',
    a            String                         COMMENT 'Smaller identifier_id of the pair',
    b            String                         COMMENT 'Greater identifier_id of the pair',
    author       String                         COMMENT 'Who said it, as given',
    key_id       String                         COMMENT 'Public name of the access key that sent it; empty when it came another way',
    reason       String                         COMMENT 'Why',
    said_at      DateTime64(6, 'UTC')           COMMENT 'When it was said; the newest of a pair wins',
    expires_on   Nullable(Date32)               COMMENT 'From this day on it no longer holds; null: it lasts',
    state        String                         COMMENT 'in_force, expired, withdrawn, or superseded by a newer one of the pair',
    ended_at     Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was withdrawn or superseded',
    ended_by     String                         COMMENT 'Who withdrew or superseded it, as given',
    ended_key_id String                         COMMENT 'Public name of the access key that sent this',
    ended_reason String                         COMMENT 'Why it was withdrawn or superseded'
)
COMMENT 'Words of stewards on pairs of identifiers, with who said them and why; nothing is ever taken out'
AS
WITH (SELECT (groupArray(workspace), groupArray(as_of)) FROM kintsugi_store.in_force FINAL) AS dates
SELECT workspace, id AS override_id, verb, a, b, author, key_id, reason, at AS said_at,
    toDate32OrNull(expires) AS expires_on,
    multiIf(later = 'none', 'withdrawn', later != '', 'superseded',
            expires_on <= transform(CAST(workspace, 'String'), dates.1, dates.2, toDate32(0)), 'expired', 'in_force') AS state,
    if(later = '', NULL, later_at) AS ended_at, later_author AS ended_by, later_key AS ended_key_id, later_reason AS ended_reason
FROM (
    SELECT workspace, id, at, JSONExtractString(body, 'verb') AS verb,
        least(JSONExtractString(body, 'a'), JSONExtractString(body, 'b')) AS a,
        greatest(JSONExtractString(body, 'a'), JSONExtractString(body, 'b')) AS b,
        JSONExtractString(body, 'author') AS author, JSONExtractString(body, 'key_id') AS key_id,
        JSONExtractString(body, 'reason') AS reason,
        JSONExtractString(body, 'expires_on') AS expires,
        any(verb) OVER next AS later, any(at) OVER next AS later_at,
        any(author) OVER next AS later_author, any(key_id) OVER next AS later_key, any(reason) OVER next AS later_reason
    FROM kintsugi_store.control_records FINAL
    WHERE kind = 'override'
    WINDOW next AS (PARTITION BY workspace, a, b ORDER BY at, id ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING)
)
WHERE verb != 'none';

CREATE OR REPLACE VIEW kintsugi.refused_merges (
    workspace  String        COMMENT 'Tenant',
    profile_a  String        COMMENT 'Smaller profile_id',
    profile_b  String        COMMENT 'Greater profile_id',
    reason     String        COMMENT 'limit, with or never_link',
    blockers   Array(String) COMMENT 'The limits, or the never-linked pairs, that stand against it',
    link_count UInt64        COMMENT 'Refused pairs between the two',
    last_day   Nullable(Date32) COMMENT 'Last day on which such a pair was seen; null when it was forced only'
)
COMMENT 'Pairs of profiles that evidence would join and the rules in force do not: candidates for a merge, or for leaving alone'
AS
SELECT workspace, least(one, two) AS profile_a, greatest(one, two) AS profile_b, reason,
    arraySort(groupUniqArray(blocker)) AS blockers, uniqExact(pair) AS link_count, max(day) AS last_day
FROM (
    SELECT r.workspace AS workspace, r.reason AS reason, r.blocker AS blocker, (r.a, r.b) AS pair,
        if(x.profile_id = '', r.a, x.profile_id) AS one, if(y.profile_id = '', r.b, y.profile_id) AS two,
        if(l.a = '', NULL, l.last_day) AS day
    FROM kintsugi.refused_links AS r
    LEFT JOIN (
        SELECT workspace, identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
        WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
          AND (workspace, identifier_id) IN (SELECT workspace, a FROM kintsugi.refused_links)
    ) AS x ON r.workspace = x.workspace AND r.a = x.identifier_id
    LEFT JOIN (
        SELECT workspace, identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
        WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
          AND (workspace, identifier_id) IN (SELECT workspace, b FROM kintsugi.refused_links)
    ) AS y ON r.workspace = y.workspace AND r.b = y.identifier_id
    LEFT JOIN (
        SELECT workspace, a, b, max(day) AS last_day FROM kintsugi_store.links
        WHERE (workspace, a, b) IN (SELECT workspace, a, b FROM kintsugi.refused_links)
        GROUP BY workspace, a, b
    ) AS l ON r.workspace = l.workspace AND r.a = l.a AND r.b = l.b
)
GROUP BY workspace, profile_a, profile_b, reason;

CREATE OR REPLACE VIEW kintsugi.profiles_near_limits (
    workspace  String COMMENT 'Tenant',
    profile_id String COMMENT 'Who will be refused the next one; joins with profiles',
    namespace  String COMMENT 'Namespace with a limit',
    held       UInt64 COMMENT 'Identifiers of it in the profile; force-links may have brought in more than the limit',
    most       UInt64 COMMENT 'max_per_profile'
)
COMMENT 'Profiles that hold at least two and 80 % of what max_per_profile allows: the next one is refused'
AS
SELECT h.workspace AS workspace, h.profile_id AS profile_id, h.namespace AS namespace, h.held AS held, n.most AS most
FROM (
    SELECT m.workspace AS workspace, m.profile_id AS profile_id, i.namespace AS namespace, uniqExact(m.identifier_id) AS held
    FROM kintsugi_store.identifiers AS i
    INNER JOIN (
        SELECT workspace, profile_id, arrayJoin(members) AS identifier_id FROM kintsugi_store.clusters FINAL
        WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
    ) AS m ON i.workspace = m.workspace AND i.identifier_id = m.identifier_id
    GROUP BY workspace, profile_id, namespace
    HAVING held > 1
) AS h
INNER JOIN (
    SELECT workspace, JSONExtractString(rule, 'name') AS namespace, JSONExtractUInt(rule, 'max_per_profile') AS most
    FROM (
        SELECT workspace, arrayJoin(JSONExtractArrayRaw(ruleset, 'identity', 'namespaces')) AS rule
        FROM kintsugi_store.generations FINAL
        WHERE (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
    )
    WHERE most > 0
) AS n ON h.workspace = n.workspace AND h.namespace = n.namespace
WHERE h.held * 5 >= n.most * 4;

CREATE OR REPLACE VIEW kintsugi.shared_identifiers (
    workspace        String                         COMMENT 'Tenant',
    identifier_id    String                         COMMENT 'Identifier seen with more people than the rules in force allow for one',
    namespace        String                         COMMENT 'Its namespace',
    mask             String                         COMMENT 'Its masked form',
    neighbour_count  UInt64                         COMMENT 'Distinct identifiers seen with it',
    last_day         Nullable(Date32)               COMMENT 'Last day on which it was seen with another',
    became_shared_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When that was published, where it left or broke up a profile by it; else null'
)
COMMENT 'Shop phones, kiosks, shared tablets: identifiers that do not cluster because too many people use them'
AS
SELECT s.workspace AS workspace, s.identifier_id AS identifier_id, any(i.namespace) AS namespace, any(i.mask) AS mask,
    any(l.neighbours) AS neighbour_count, if(neighbour_count = 0, NULL, any(l.last_day)) AS last_day,
    if(any(j.identifier_id) = '', NULL, any(j.changed_at)) AS became_shared_at
FROM (
    SELECT workspace, identifier_id FROM kintsugi_store.excluded_identifiers FINAL
    WHERE reason = 'shared'
      AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
) AS s
INNER JOIN (SELECT workspace, identifier_id, namespace, mask FROM kintsugi_store.identifiers) AS i
    ON s.workspace = i.workspace AND s.identifier_id = i.identifier_id
LEFT JOIN (
    SELECT workspace, id, uniqExact(other) AS neighbours, max(day) AS last_day
    FROM (SELECT workspace, a AS id, b AS other, day FROM kintsugi_store.links
          UNION ALL SELECT workspace, b, a, day FROM kintsugi_store.links)
    WHERE (workspace, id) IN (SELECT workspace, identifier_id FROM kintsugi_store.excluded_identifiers FINAL WHERE reason = 'shared')
    GROUP BY workspace, id
) AS l ON s.workspace = l.workspace AND s.identifier_id = l.id
LEFT JOIN (
    SELECT workspace, evidence[1] AS identifier_id, min(changed_at) AS changed_at
    FROM kintsugi_store.identity_changes
    WHERE cause = 'sharing'
      AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)
    GROUP BY workspace, identifier_id
) AS j ON s.workspace = j.workspace AND s.identifier_id = j.identifier_id
GROUP BY workspace, identifier_id;

CREATE OR REPLACE VIEW kintsugi.links_as_known
COMMENT 'Pairs of identifiers seen together, as known before a moment: links_as_known(tenant = ..., known_before = ...) gives a, b, day, known_at'
AS
SELECT a, b, day, min(received_at) AS known_at
FROM kintsugi_store.links
WHERE workspace = {tenant:String} AND received_at < {known_before:DateTime64(6, 'UTC')}
GROUP BY a, b, day;

CREATE OR REPLACE VIEW kintsugi.sightings_as_known
COMMENT 'Days on which identifiers were seen, as known before a moment: sightings_as_known(tenant = ..., known_before = ...) gives identifier_id, namespace, day, known_at'
AS
SELECT identifier_id, any(splitByChar('|', CAST(kind, 'String'))[1]) AS namespace, day, min(received_at) AS known_at
FROM kintsugi_store.sightings
WHERE workspace = {tenant:String} AND received_at < {known_before:DateTime64(6, 'UTC')}
GROUP BY identifier_id, day;
