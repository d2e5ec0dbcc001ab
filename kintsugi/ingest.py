"""Events from a file into the log, admitted as the collector admits them.

Invariant: every line becomes an event or a reject; on return all of them are durable.
"""

import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from api.intake import reject
from api.keys import AccessKeys, create_key, revoke_key
from kintsugi import connections, endpoints
from kintsugi.calendar import now_us
from kintsugi.ndjson import Line, events, lines
from kintsugi.progress import Progress
from kintsugi.send import send_events
from kintsugi.settings import Settings
from pipelines.log import Log, Overloaded
from schemas.admission import admit, read
from schemas.errors import Problem
from schemas.ids import event_ids
from schemas.log_record import MAX_BATCH, AnyRecord, Events, Item, Raw, RejectItem
from store.client import Store
from store.keyring import KeyGeneration

SOURCE = "ingest"
_IN_FLIGHT = 16


@dataclass
class Ingested:
    """What became of the lines."""

    accepted: int = 0
    rejected: int = 0
    first_reject: str = ""
    """Line number, code and detail of the first one."""

    def refuse(self, line: Line, problem: Problem) -> None:
        """Count a line that is no event."""
        self.rejected += 1
        self.first_reject = self.first_reject or f"line {line.number}: {problem}"


def into_log(settings: Settings, workspace: str, key_generation: int, source: str) -> Ingested:
    """Lines of a file (or `-`) straight into the log; with a directory as log the stack need not run."""
    said = endpoints.running(settings)
    with connections.log(settings, said) as log, Progress("events", unit="lines") as bar:
        return ingest(log, workspace, key_generation, lines(source), bar.at)


def via_http(settings: Settings, workspace: str, source: str) -> Ingested:
    """The same through the collector, with a write key that lives as long as this call."""
    said = endpoints.require_running(settings)
    told = Ingested()
    key = create_key(settings.home, workspace, "ingest", SOURCE)
    try:
        with Progress("events") as bar:
            sent = send_events(
                said.collector,
                key,
                events(lines(source), told.refuse),
                progress=lambda accepted, rejected: bar.at(accepted + rejected),
            )
    finally:
        revoke_key(settings.home, AccessKeys(settings.home).access(key, "ingest").id)
    told.accepted += sent.accepted
    told.rejected += sent.rejected
    return told


def ingest(
    log: Log,
    workspace: str,
    key_generation: int,
    found: Iterable[Line],
    progress: Callable[[int], None] = lambda _: None,
) -> Ingested:
    """Admit and append all lines; `progress` gets the number of lines that are durable.

    Waits where the log is overloaded. Raises LogUnavailable; what was durable by then stays.
    """
    told = Ingested()
    waiting: deque[tuple[int, Future[None]]] = deque()
    durable = 0
    for group in _groups(found):
        waiting.append((len(group), append_patiently(log, _records(workspace, key_generation, group, told))))
        while len(waiting) >= _IN_FLIGHT:
            durable += _settle(waiting)
            progress(durable)
    while waiting:
        durable += _settle(waiting)
        progress(durable)
    return told


def retry(store: Store, log: Log, workspace: str, keys: KeyGeneration) -> Ingested:
    """Admit the open rejects once more; one that is admitted now becomes an event and names it, the rest stays open.

    Identifiers that were left out of an event are no events, and not tried.
    """
    told = Ingested()
    rows = store.query_rows(
        "SELECT toString(any(source)), toString(any(code)), any(pointer), any(detail), any(sealed)"
        " FROM kintsugi_store.rejects WHERE workspace = {workspace:String}"
        " GROUP BY reject_id HAVING max(event_id) = '' AND any(code) NOT IN ('unknown_namespace', 'missing_scope')"
        " ORDER BY any(source), reject_id",
        {"workspace": workspace},
    )
    event_id = event_ids(keys.pepper, workspace)
    admitted: dict[str, list[tuple[Item, RejectItem]]] = {}
    for source, code, pointer, detail, sealed in rows:
        raw = keys.unseal(sealed)
        try:
            item = admit(read(raw))
        except Problem:
            told.rejected += 1
            continue
        kept = RejectItem(b64encode(raw).decode(), code, pointer, detail, event_id(bytes(item.e)))
        admitted.setdefault(source, []).append((item, kept))
    for source, pairs in admitted.items():
        for start in range(0, len(pairs), MAX_BATCH):
            items, kept_items = zip(*pairs[start : start + MAX_BATCH], strict=True)
            events_of = _record(workspace, keys.generation, list(items), source)
            rejects = Raw(
                workspace=workspace, source=source, received_at=events_of.received_at, items=list(kept_items)
            )
            append_patiently(log, [events_of, rejects]).result()
    told.accepted = sum(len(pairs) for pairs in admitted.values())
    return told


def _groups(found: Iterable[Line]) -> Iterator[list[Line]]:
    group: list[Line] = []
    for line in found:
        group.append(line)
        if len(group) == MAX_BATCH:
            yield group
            group = []
    if group:
        yield group


def _records(workspace: str, key_generation: int, group: list[Line], told: Ingested) -> list[AnyRecord]:
    items: list[Item] = []
    rejects: list[RejectItem] = []
    for line in group:
        try:
            if line.is_cut:
                raise Problem("event_too_large")
            items.append(admit(read(line.data)))
        except Problem as problem:
            rejects.append(reject(line.data, problem))
            told.refuse(line, problem)
    told.accepted += len(items)
    records: list[AnyRecord] = [_record(workspace, key_generation, items)] if items else []
    if rejects:
        records.append(Raw(workspace=workspace, source=SOURCE, received_at=now_us(), items=rejects))
    return records


def _record(workspace: str, key_generation: int, items: list[Item], source: str = SOURCE) -> Events:
    return Events(
        workspace=workspace, source=source, received_at=now_us(), key_generation=key_generation, batch=items
    )


def append_patiently(log: Log, records: list[AnyRecord]) -> "Future[None]":
    """`Log.append`, again and again while the log is overloaded."""
    while True:
        try:
            return log.append(records)
        except Overloaded as full:
            time.sleep(full.retry_after)


def _settle(waiting: "deque[tuple[int, Future[None]]]") -> int:
    count, future = waiting.popleft()
    future.result()
    return count
