-- Segments and how many people are in each, with their mean scores.
SELECT s.segment AS segment, count() AS people,
    round(avg(p.behaviour_score), 1) AS behaviour, round(avg(p.identity_score), 1) AS identity
FROM kintsugi.segment_members AS s
INNER JOIN kintsugi.profiles AS p ON p.workspace = s.workspace AND p.profile_id = s.profile_id
WHERE s.workspace = 'demo'
GROUP BY segment
ORDER BY people DESC, segment
