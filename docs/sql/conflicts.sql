-- Message ids that stand on different events: a client that reuses them.
SELECT message_id, length(event_ids) AS events, sources
FROM kintsugi.conflicts
WHERE workspace = 'demo'
ORDER BY events DESC, message_id
LIMIT 50
