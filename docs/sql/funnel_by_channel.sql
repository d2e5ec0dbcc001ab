-- How far people get, by the channel that brought them.
SELECT first_channel AS channel, count() AS seen,
    countIf(has(mapKeys(identifiers), 'phone') OR has(mapKeys(identifiers), 'email')) AS reachable,
    countIf(behaviour_score >= 30) AS interested,
    countIf(behaviour_score >= 60 AND identity_score >= 30) AS ready,
    round(100 * ready / seen, 1) AS ready_percent
FROM kintsugi.profiles
WHERE workspace = 'demo' AND first_channel != ''
GROUP BY channel
ORDER BY seen DESC, channel
LIMIT 20
