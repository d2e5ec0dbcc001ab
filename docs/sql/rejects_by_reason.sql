-- What could not become an event and is still open, by source and reason, with one example to look at.
SELECT source, code, pointer, count() AS rejects, max(received_at) AS last_at, any(detail) AS example
FROM kintsugi.rejects
WHERE workspace = 'demo' AND event_id = ''
GROUP BY source, code, pointer
ORDER BY rejects DESC, code, pointer
