-- A reject that was tried again and became an event says which, so that it is told apart from those that are open.
ALTER TABLE kintsugi_store.rejects
    ADD COLUMN IF NOT EXISTS event_id SimpleAggregateFunction(max, String) COMMENT 'Event that it became when it was tried again; empty while it is open';

CREATE OR REPLACE VIEW kintsugi.rejects (
    workspace   String               COMMENT 'Tenant',
    reject_id   String               COMMENT 'Keyed hash of code and raw bytes',
    source      String               COMMENT 'Source that sent it',
    code        String               COMMENT 'Error code',
    pointer     String               COMMENT 'JSON pointer to what is wrong',
    detail      String               COMMENT 'What is wrong, without personal data',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was first received',
    event_id    String               COMMENT 'Event that it became when it was tried again; empty while it is open'
)
COMMENT 'What could not become an event, and what became an event later'
AS
SELECT workspace, reject_id, source, code, pointer, detail, received_at, event_id
FROM kintsugi_store.rejects FINAL;
