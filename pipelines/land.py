"""Step `land`: evidence is stored, rule hits are derived from it, and only then is it told onwards.

Invariant: `resolve` and `score` hear of a link, an identifier or a trailer when the rows they stand for are durable.
Batches wait in Flink state, never in a Python attribute, and are flushed by number of events, by a timer, and before
every control record and trailer. Every insert is idempotent, so a replay after a failure changes nothing.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.generations import Ruleset, Words, heard, open_of
from pipelines.messages import Body, Message, by_workspace, unpack
from schemas import arrow, log_record
from schemas.ids import ranges
from scoring.compile import hits_select
from store.client import Store
from store.overrides import days_of

FLUSH_EVENTS = 20_000
FLUSH_AFTER_MS = 250
FILL_EVENTS = 1_000_000
"""Stored events that one statement derives hits from when a generation is opened."""
_DAY_US = 86_400_000_000
_TOLD = 20_000
"""Rows of either kind in one message onwards."""
_EVIDENCE = {"sightings": ["identifier_id", "kind", "day"], "links": ["a", "b", "day"]}

Columns = list[list[Any]]
"""Values of a part of a table, by column."""
_NONE: Columns = [[], [], []]

_decode = msgspec.json.Decoder(log_record.AnyRecord).decode
_INSERT_HITS = "INSERT INTO kintsugi_store.event_hits "


class Land:
    """What the step does, without Flink: the operator keeps the buffer and calls `store` and `control`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.words: dict[str, Words] = {}
        """What this slot heard of generations, by workspace; restored from state by the operator."""
        self._told_before: dict[str, Words] = {}

    def learn(self) -> None:
        """For a slot without state: what others heard before it existed (a job that goes on wider has new slots).

        Events are derived by it.
        """
        rows = self._store.query_rows(
            "SELECT body FROM kintsugi_store.control_records FINAL WHERE kind = 'generation'"
        )
        for (body,) in rows:
            record = _decode(str(body).encode())
            assert isinstance(record, log_record.Generation)
            self._told_before[record.workspace] = heard(self._told_before.get(record.workspace, {}), record)

    def _open(self, workspace: str) -> dict[str, str]:
        """Ruleset of each open generation, by the newest word on it."""
        words = dict(self._told_before.get(workspace, {}))
        for generation, said in self.words.get(workspace, {}).items():
            words[generation] = max(said, words.get(generation, said), key=lambda word: word[:2])
        return open_of(words)

    def flush(self, bodies: list[Body]) -> Iterator[Message]:
        """Insert the buffered batches, derive hits, then tell."""
        tables = unpack(bodies)
        derive = [
            partial(self._store.execute, _INSERT_HITS + hits, external={"batch": _named(rows, hits)})
            for workspace, rows in (by_workspace(tables["events"]) if "events" in tables else ())
            for generation, ruleset in self._open(workspace).items()
            for hits in [_hits(generation, ruleset, "batch")]
        ]
        self._store.insert_all({f"kintsugi_store.{name}": table for name, table in tables.items()}, *derive)
        yield from self._tell(tables)

    def _tell(self, tables: dict[str, pa.Table]) -> Iterator[Message]:
        parts: dict[str, dict[str, list[Columns]]] = {}
        for name, columns in _EVIDENCE.items():
            for workspace, rows in by_workspace(tables[name]) if name in tables else ():
                chosen = rows.select(columns).set_column(2, "day", rows["day"].cast(pa.int32()))
                parts.setdefault(workspace, {})[name] = [
                    [column.to_pylist() for column in chosen.slice(start, _TOLD).columns]
                    for start in range(0, chosen.num_rows, _TOLD)
                ]
        for workspace, found in parts.items():
            *first, last = found["sightings"]
            link, *rest = found.get("links", [_NONE])
            # every link comes with, or after, the sightings of its ends
            for sightings, links in [
                *((part, _NONE) for part in first),
                (last, link),
                *((_NONE, part) for part in rest),
            ]:
                yield Message(workspace, "evidence", (sightings, links))
        if "events" in tables:
            for workspace, rows in by_workspace(tables["events"]):
                ids = pc.unique(pc.list_flatten(rows["identifiers"])).to_pylist()
                yield Message(workspace, "touched", ids)

    def control(self, body: bytes, copy: str) -> Iterator[Message]:
        """Store a control record, act on it, pass it on; the buffer was flushed before."""
        record = _decode(body)
        assert isinstance(record, log_record.ControlRecord)
        kind = type(record).__struct_config__.tag
        row = (record.workspace, kind, record.at, record.id, body.decode())
        rows = {"kintsugi_store.control_records": arrow.table("control_records", [row])}
        if isinstance(record, log_record.Assertion):
            rows["kintsugi_store.assertions"] = assertion_table(record)
        self._store.insert_all(rows)
        if isinstance(record, log_record.Generation):
            self.words[record.workspace] = heard(self.words.get(record.workspace, {}), record)
        yield Message(record.workspace, "control", body, copy)


def fill(store: Store, workspace: str, generation: str, ruleset: str) -> None:
    """Derive the hits of all stored events: the statement of the stream, over history, in slices of ids."""
    count = store.query_rows(
        "SELECT count() FROM kintsugi_store.events WHERE workspace = {w:String}", {"w": workspace}
    )[0][0]
    source = (
        "(SELECT * FROM kintsugi_store.events WHERE workspace = {w:String}"
        " AND event_id >= {low:String} AND event_id < {high:String})"
    )
    hits = _INSERT_HITS + _hits(generation, ruleset, source)
    for low, high in ranges(count, FILL_EVENTS):
        store.execute(hits, {"w": workspace, "low": low, "high": high})


def _hits(generation: str, ruleset: str, source: str) -> str:
    """SELECT of the hits of a generation with this ruleset (canonical JSON)."""
    rules = Ruleset.from_json(ruleset)
    return hits_select(generation, rules.scoring, rules.identity, source)


def _named(rows: pa.Table, sql: str) -> pa.Table:
    """The columns that a statement can mean: few rules read the context, which is half of an event's bytes."""
    words = set(re.findall(r"\w+", sql))
    return rows.select([name for name in rows.column_names if name in words])


def assertion_table(record: log_record.Assertion) -> pa.Table:
    """The row of an assertion; one whose day is no date holds from the UTC day on which it was said."""
    try:
        day = days_of(record.day)
    except ValueError:
        day = record.at // _DAY_US
    row = (
        record.workspace,
        record.identifier,
        day,
        record.at,
        record.id,
        record.what,
        record.value,
        record.author,
    )
    return arrow.table("assertions", [row])


def trailer_messages(body: bytes, copy: str) -> Iterator[Message]:
    """A trailer goes on to every workspace that its segment holds."""
    record = _decode(body)
    assert isinstance(record, log_record.Trailer)
    for workspace in record.workspaces:
        yield Message(workspace, "trailer", record.segment, copy)
