-- What checks of the data found, run by run. A journal: true to what was found at the time, and lost by a replay.
CREATE TABLE IF NOT EXISTS kintsugi_store.quality_results (
    workspace   LowCardinality(String) COMMENT 'Tenant',
    ran_at      DateTime64(6, 'UTC')   COMMENT 'When the run began; its rows share it',
    suite       LowCardinality(String) COMMENT 'events, identities, links, profiles or score_facts',
    expectation LowCardinality(String) COMMENT 'Name of the expectation, unique in its suite',
    says        String                 COMMENT 'What is true of good data, in a sentence',
    is_met      UInt8                  COMMENT '1 when it was found true',
    expected    String                 COMMENT 'Bound of a figure, or 0 rows where no row may break it',
    observed    Nullable(Float64)      COMMENT 'The figure, or how many rows break it; null when it could not be asked',
    error       String                 COMMENT 'Why it could not be asked; empty when it could'
) ENGINE = ReplacingMergeTree ORDER BY (workspace, ran_at, suite, expectation)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Results of the checks of the data';

CREATE OR REPLACE VIEW kintsugi.quality_results (
    workspace   String               COMMENT 'Tenant',
    ran_at      DateTime64(6, 'UTC') COMMENT 'When the run began; its rows share it',
    suite       String               COMMENT 'events, identities, links, profiles or score_facts',
    expectation String               COMMENT 'Name of the expectation, unique in its suite',
    says        String               COMMENT 'What is true of good data, in a sentence',
    is_met      UInt8                COMMENT '1 when it was found true',
    expected    String               COMMENT 'Bound of a figure, or 0 rows where no row may break it',
    observed    Nullable(Float64)    COMMENT 'The figure, or how many rows break it; null when it could not be asked',
    error       String               COMMENT 'Why it could not be asked; empty when it could'
)
COMMENT 'What `kintsugi quality` found, run by run: figures over time, and since when an expectation is broken'
AS
SELECT workspace, ran_at, suite, expectation, says, is_met, expected, observed, error
FROM kintsugi_store.quality_results FINAL;
