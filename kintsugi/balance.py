"""The conservation law: what the log accepted is in the store, as event or as reject, or still under way.

Invariant: nothing is believed that was counted on the way. The log is read again, every record says which events it
holds, and the store is asked for exactly those. Of what it lacks, the step that makes rows of records says whether it
is an event at all. Copies of one event count once; a part that was refused of an event that landed does not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from pipelines.messages import unpack
from pipelines.normalize import Normalize, keys_in
from schemas import log_record
from schemas.arrow import TABLES
from schemas.errors import Problem
from schemas.log_record import Events, Item
from store.client import Store

_AT_ONCE = 100_000
_IDS = {"events": "event_id", "rejects": "reject_id"}

Key = tuple[str, str]
"""Workspace and id."""


@dataclass
class Balance:
    """Distinct events and rejects of a stretch of the log, and where they are."""

    accepted: int = 0
    landed: int = 0
    rejected: int = 0
    in_flight: int = 0

    @property
    def difference(self) -> int:
        """What is nowhere although the job is past it: lost. 0, or there is a defect."""
        return self.accepted - self.landed - self.rejected - self.in_flight


def balance(lines: Iterable[bytes], store: Store, home: Path, since: int, before: int) -> Balance:
    """Where the records of `lines` (of the log) are that were received from `since` on (µs, UTC).

    The job must have finished everything received earlier than `before`; what came later and is not in the store is
    under way. Peak memory grows with the distinct records of the stretch. Raises as the store does.
    """
    stretch = _Stretch(store, Normalize(1, keys_in(home)), since, before)
    for line in lines:
        stretch.take(line.decode())
    stretch.count_events()
    stretch.count_rejects()
    return stretch.told


class _Stretch:
    """Records that are being counted."""

    def __init__(self, store: Store, normalize: Normalize, since: int, before: int) -> None:
        self.told = Balance()
        self._store = store
        self._normalize = normalize
        self._since = since
        self._before = before
        self._counted: set[Key] = set()
        self._open: dict[Key, tuple[Events, Item]] = {}
        """Events that the store was not asked for yet; of copies the first that was received."""
        self._rejects: dict[Key, int] = {}
        """When they were received."""

    def take(self, line: str) -> None:
        """A line of the log."""
        try:
            record = log_record.decode(line)
            ids = self._normalize.event_ids(record) if isinstance(record, Events) else ()
        except Problem:
            record, ids = None, ()  # the line as a whole is a reject
        if not isinstance(record, Events):
            self._refused(line)
            return
        if record.received_at < self._since:
            return
        for event_id, item in zip(ids, record.batch, strict=True):
            key = (record.workspace, event_id)
            known = self._open.get(key)
            if key not in self._counted and (known is None or record.received_at < known[0].received_at):
                self._open[key] = record, item
        if len(self._open) >= _AT_ONCE:
            self.count_events()

    def count_events(self) -> None:
        """Ask the store for the open events. What it lacks and is none becomes a reject."""
        lacking = _lacking(self._store, "events", list(self._open))
        for record, item in (self._open[key] for key in lacking):
            alone = msgspec.structs.replace(record, batch=[item])
            if self._refused(log_record.encode(alone).decode()):
                self.told.accepted += 1
                self.told.in_flight += record.received_at >= self._before
        self.told.accepted += len(self._open) - len(lacking)
        self.told.landed += len(self._open) - len(lacking)
        self._counted |= self._open.keys()
        self._open.clear()

    def _refused(self, line: str) -> bool:
        """Note the rejects of a line that holds an event at most; True when it does, and there is nothing to note."""
        for message in self._normalize.line(line):
            tables = unpack([message.body[1]]) if message.what == "batch" else {}
            if "events" in tables:
                return True
            for table in tables.values():
                times = table["received_at"].cast(pa.int64()).to_pylist()
                keys = zip(table["workspace"].to_pylist(), table["reject_id"].to_pylist(), strict=True)
                for key, at in zip(keys, times, strict=True):
                    if at >= self._since:
                        self._rejects[key] = min(at, self._rejects.get(key, at))
        return False

    def count_rejects(self) -> None:
        """Ask the store for the rejects."""
        lacking = _lacking(self._store, "rejects", list(self._rejects))
        self.told.accepted += len(self._rejects)
        self.told.rejected += len(self._rejects) - len(lacking)
        self.told.in_flight += sum(self._rejects[key] >= self._before for key in lacking)


def _lacking(store: Store, name: str, keys: list[Key]) -> list[Key]:
    """Those of the keys that the store does not hold."""
    column = _IDS[name]
    lacking: list[Key] = []
    fields = [pa.field("workspace", pa.string()), pa.field(column, TABLES[name].field(column).type)]
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*part, strict=True), fields, strict=True)
        ]
        asked = pa.Table.from_arrays(columns, schema=pa.schema(fields))
        found = store.query_rows(
            f"SELECT workspace, {column} FROM asked WHERE (workspace, {column}) NOT IN ("
            f"SELECT toString(workspace), {column} FROM kintsugi_store.{name}"
            f" WHERE (workspace, {column}) IN (SELECT workspace, {column} FROM asked))",
            external={"asked": asked},
        )
        lacking += [(str(workspace), str(id_)) for workspace, id_ in found]
    return lacking
