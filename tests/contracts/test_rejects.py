"""Rejects that are tried again: what became of each is on record, and follows from the log alone."""

import base64
import json
from pathlib import Path
from typing import Any

from kintsugi.ingest import retry
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord, Events, Raw, RejectItem
from store.client import Store
from tests.local_log import LocalLog
from tests.stores import running_store
from tests.worlds import RECEIVED_AT, World, lines

GOOD = {"type": "track", "event": "Form Submitted", "userId": "late", "messageId": "m1"}
"""Was refused once, say for a rule of admission that has been corrected since."""
BAD = {"type": "track", "event": "Form Submitted"}
ODD = {**GOOD, "messageId": "m2", "context": {"externalIds": [{"id": "1", "type": "no_such_namespace"}]}}
_ROWS = """
SELECT code, pointer, detail, source, received_at, event_id FROM kintsugi.rejects
WHERE workspace = {w:String} ORDER BY code
"""


def rows(store: Store, world: World) -> list[Any]:
    return [tuple(row) for row in store.query_rows(_ROWS, {"w": world.name})]


def refused(event: dict[str, Any], code: str) -> RejectItem:
    data = base64.b64encode(json.dumps(event).encode()).decode()
    return RejectItem(data, code, "/timestamp", "as it was")


def test_a_reject_that_became_an_event_names_it_and_is_not_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, "shop")
    raw = Raw(
        workspace="shop", source="web", received_at=RECEIVED_AT,
        items=[refused(GOOD, "bad_timestamp"), refused(BAD, "missing_identity")],
    )  # fmt: skip
    start: list[AnyRecord] = [world.opened("g1"), world.activated("g1"), raw, *world.events([ODD])]
    with running_store(tmp_path / "one") as store:
        log = LocalLog(LocalJob(store, tmp_path))
        log.append(start)
        told = retry(store, log, "shop", world.keys)
        assert (told.accepted, told.rejected) == (1, 1)
        (event_id,) = store.query_rows("SELECT event_id FROM kintsugi_store.events WHERE message_id = 'm1'")[
            0
        ]
        after = rows(store, world)
        assert [(row[0], row[-1]) for row in after] == [
            ("bad_timestamp", event_id), ("missing_identity", ""), ("unknown_namespace", ""),
        ]  # fmt: skip
        assert after[0][1:4] == ("/timestamp", "as it was", "web")
        (sent,) = [r for r in log.records if isinstance(r, Events) and r is not start[-1]]
        assert sent.source == "web"
        count = len(log.records)
        again = retry(store, log, "shop", world.keys)
        assert (again.accepted, again.rejected, len(log.records)) == (0, 1, count)
    with running_store(tmp_path / "other") as store:
        LocalJob(store, tmp_path).run(lines(log.records[::-1]))
        assert rows(store, world) == after
