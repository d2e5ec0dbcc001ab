-- Its rows are in event_hits.
DROP TABLE IF EXISTS kintsugi_store.rule_hits;
