-- Merges and splits that were published in the last seven days, by cause.
SELECT toDate(changed_at) AS day, change, cause, count() AS identifiers, uniqExact(to_profile) AS profiles
FROM kintsugi.profile_merges
WHERE workspace = 'demo' AND changed_at >= now() - INTERVAL 7 DAY
GROUP BY day, change, cause
ORDER BY day DESC, identifiers DESC, change, cause
