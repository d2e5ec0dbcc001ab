-- Events and active people by calendar day of the workspace.
SELECT day, count() AS events, uniqExact(profile_id) AS people, countIf(type = 'identify') AS identified,
    uniqExactIf(profile_id, event = 'Form Submitted') AS left_a_form
FROM kintsugi.profile_events
WHERE workspace = 'demo' AND is_robot = 0
GROUP BY day
ORDER BY day
