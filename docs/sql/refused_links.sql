-- Pairs seen together that the rules keep apart, by what stands against them.
SELECT reason, blocker, count() AS pairs
FROM kintsugi.refused_links
WHERE workspace = 'demo'
GROUP BY reason, blocker
ORDER BY pairs DESC, blocker
