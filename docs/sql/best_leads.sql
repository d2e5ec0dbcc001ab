-- Whom to call first: both scores, what they are made of, and how to reach the person.
SELECT profile_id, behaviour_score, identity_score, stage, owner, last_channel, toDate(last_seen_at) AS last_seen_on,
    arraySlice(arrayReverseSort(x -> x.2, arrayZip(mapKeys(behaviour_points), mapValues(behaviour_points))), 1, 3) AS why,
    identifiers['phone'] AS phones
FROM kintsugi.profiles
WHERE workspace = 'demo' AND identity_score > 0
ORDER BY behaviour_score + identity_score DESC, profile_id
LIMIT 20
