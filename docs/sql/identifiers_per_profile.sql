-- How many identifiers of which kind people have.
SELECT namespace, held, count() AS people
FROM (
    SELECT profile_id, namespace, count() AS held
    FROM kintsugi.profile_identifiers
    WHERE workspace = 'demo' AND state = 'member'
    GROUP BY profile_id, namespace
)
GROUP BY namespace, held
ORDER BY namespace, held
