"""The conservation law: what the log accepted is in the store, as event or as reject, or still under way.

Invariant: nothing is believed that was counted on the way. The log is read again, the step that makes rows of records
says which ids they have, and the store is asked for exactly those; copies of one event count once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.messages import unpack
from pipelines.normalize import Normalize, keys_in
from schemas.arrow import TABLES
from store.client import Store

_AT_ONCE = 200_000
_IDS = {"events": "event_id", "rejects": "reject_id"}


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
    found: dict[str, dict[tuple[str, str], int]] = {"events": {}, "rejects": {}}
    normalize = Normalize(1, keys_in(home))
    bodies = (
        message.body[1]
        for line in lines
        for message in normalize.line(line.decode())
        if message.what == "batch"
    )
    for body in bodies:
        for name, table in unpack([body]).items():
            if name in _IDS:
                _note(table, _IDS[name], since, found[name])
    told = Balance()
    for name, received in found.items():
        stored = _stored(store, name, list(received))
        told.accepted += len(received)
        told.landed += len(stored) if name == "events" else 0
        told.rejected += len(stored) if name == "rejects" else 0
        told.in_flight += sum(at >= before for key, at in received.items() if key not in stored)
    return told


def _note(table: pa.Table, column: str, since: int, found: dict[tuple[str, str], int]) -> None:
    times = table["received_at"].cast(pa.int64()).to_pylist()
    keys = zip(table["workspace"].to_pylist(), table[column].to_pylist(), strict=True)
    for key, at in zip(keys, times, strict=True):
        if at >= since:
            found[key] = min(at, found.get(key, at))


def _stored(store: Store, name: str, keys: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the (workspace, id) that the store holds."""
    column = _IDS[name]
    there: set[tuple[str, str]] = set()
    fields = [pa.field("workspace", pa.string()), pa.field(column, TABLES[name].field(column).type)]
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*part, strict=True), fields, strict=True)
        ]
        asked = pa.Table.from_arrays(columns, schema=pa.schema(fields))
        there.update(
            (str(workspace), str(identifier))
            for workspace, identifier in store.query_rows(
                f"SELECT DISTINCT toString(workspace), {column} FROM kintsugi_store.{name}"
                f" WHERE (workspace, {column}) IN (SELECT workspace, {column} FROM asked)",
                external={"asked": asked},
            )
        )
    return there
