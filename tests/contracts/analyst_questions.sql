-- One question a line; each is answered. Words that look dangerous are harmless as data, aliases and comments.
SELECT 1
select 1;
(SELECT 1)
SELECT count() FROM profiles
SELECT * FROM kintsugi.profiles LIMIT 10
SELECT stage, count() AS n FROM kintsugi.profiles GROUP BY stage ORDER BY n DESC LIMIT 5 BY stage
SELECT profile_id, traits['city'], behaviour_score::Int64 FROM profiles WHERE has(mapKeys(identifiers), 'phone')
SELECT workspace, uniqExactIf(profile_id, event = 'Page Viewed') FROM profile_events GROUP BY ALL WITH TOTALS
SELECT toStartOfWeek(occurred_at), countIf(event LIKE '%View%') FROM profile_events GROUP BY 1 ORDER BY 1
WITH hot AS (SELECT profile_id FROM profiles WHERE behaviour_score > 60) SELECT count() FROM profile_hits WHERE profile_id IN (SELECT profile_id FROM hot)
SELECT profile_id, rule, sum(points) OVER (PARTITION BY profile_id ORDER BY points DESC) FROM score_ledger
SELECT windowFunnel(86400)(occurred_at, event = 'A', event = 'B') FROM (SELECT profile_id, occurred_at::DateTime AS occurred_at, event FROM profile_events) GROUP BY profile_id
SELECT quantile(0.95)(behaviour_score), argMax(profile_id, behaviour_score), groupArray(10)(stage) FROM profiles
SELECT JSONExtractString(properties, 'url'), domain(JSONExtractString(properties, 'url')) FROM profile_events
SELECT p.profile_id, count(e.event_id) FROM profiles AS p LEFT JOIN profile_events AS e USING (workspace, profile_id) GROUP BY p.profile_id
SELECT arrayJoin(tags) AS tag, uniq(profile_id) FROM profiles GROUP BY tag
SELECT * EXCEPT (traits) FROM profiles
SELECT COLUMNS('score') FROM profiles
SELECT CASE WHEN behaviour_score > 60 THEN 'hot' ELSE 'cold' END FROM profiles
SELECT code, count() FROM rejects WHERE received_at > now() - INTERVAL 7 DAY GROUP BY code
SELECT number, dateDiff('day', today(), today() + number) FROM numbers(10) FORMAT JSONEachRow
SELECT 'INTO OUTFILE ''x'' APPLY file(1)' AS text, `text` FROM (SELECT 1) AS settings
SELECT 'it\'s file(1)', "text" FROM (SELECT 1 AS text)
SELECT 1 AS url, 2 AS format, 3 AS view, 4 AS input, 5 AS merge, 6 AS cluster, 7 AS database, 8 AS user
SELECT arrayMap(x -> x + 1, [1]), arrayFilter((x, y) -> y, [1, 2], [0, 1]), arraySort(x -> -x, [1, 2])
SELECT 1 /* INTO OUTFILE 'x' */ -- file('x')
SELECT map('a', 1)['a'], tuple(1, 2).1, [1, 2][1], NOT 1, 1 BETWEEN 0 AND 2, NULL IS NULL
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r
SELECT DISTINCT ON (stage) stage, profile_id FROM profiles
SELECT stage, count() FROM profiles GROUP BY GROUPING SETS ((stage), ()) HAVING grouping(stage) >= 0
SELECT 1 WHERE 'a' IN ('a', 'b') AND (1, 2) IN ((1, 2))
SELECT version(), currentDatabase(), timezone(), currentUser()
SELECT name, comment FROM system.columns WHERE database = 'kintsugi' AND table = 'profiles'
SELECT name, value, readonly FROM system.settings LIMIT 3
SHOW TABLES
SHOW TABLES FROM kintsugi
SHOW FULL TABLES FROM kintsugi LIKE '%profile%'
SHOW DATABASES
DESCRIBE TABLE kintsugi.profiles
DESC profiles
EXISTS TABLE kintsugi.profiles
SELECT a, b, min(day) FROM kintsugi.links_as_known(tenant = 'demo', known_before = now64(6, 'UTC')) GROUP BY a, b
SELECT count() FROM `kintsugi`.sightings_as_known(tenant = 'demo', known_before = '2026-11-28 00:00:00')
