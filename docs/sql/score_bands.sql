-- How many people stand in which band of the behaviour score, and how well they fit.
SELECT toInt32(floor(behaviour_score / 20) * 20) AS band_from, count() AS people,
    countIf(identity_score >= 30) AS that_fit, round(avg(event_count), 1) AS events_each
FROM kintsugi.profiles
WHERE workspace = 'demo'
GROUP BY band_from
ORDER BY band_from
