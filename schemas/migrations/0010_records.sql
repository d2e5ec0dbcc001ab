-- The row as the query API reads it: one text instead of twenty columns, because what a lookup costs is its columns.
-- It says nothing that the row does not say, and is written with it. Times are microseconds and days since 1970.
ALTER TABLE kintsugi_store.profile_rows
    ADD COLUMN IF NOT EXISTS held Array(Tuple(identifier_id String, namespace String, scope String, mask String, sealed String)) EPHEMERAL COMMENT 'Identifiers of the profile as they stand in identifiers, for the record; not stored by itself',
    ADD COLUMN IF NOT EXISTS record String DEFAULT toJSONString((
        members, arrayMap(h -> (h.1, h.2, h.3, h.4, h.5), held), traits, sealed_traits, points,
        arrayMap(d -> (d.1, toInt32(d.2), d.3), decaying), identity_points, identity_grade, robot, stage, tags, segments,
        first_channel, last_channel, owner, toUnixTimestamp64Micro(first_seen_at), toUnixTimestamp64Micro(last_seen_at),
        event_count, toInt32(next_change_on)
    )) COMMENT 'The row for the query API, as a JSON array: see api/profiles.py';
