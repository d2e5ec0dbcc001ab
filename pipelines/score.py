"""Step `score`: touched identifiers become golden records, in cycles; the pointer of what is in force is moved here.

Invariant: a profile row is a function of the stored evidence, the generation's ruleset and the date; it is computed
from the store alone, so repeating a cycle is harmless. `progress` names a segment only when all it touched is written.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pyarrow as pa

from pipelines.generations import Ruleset, heard, open_of
from pipelines.journal import Cause, Journal, is_needed, switched
from pipelines.messages import Message
from pipelines.moments import Judge
from pipelines.profiles import Profiles
from pipelines.resolve import Versions, days_of
from schemas import arrow, log_record
from schemas.ids import ranges
from scoring.decay import weights
from store.client import Store

CYCLE_MS = 200
CHUNK = 20_000
"""Identifiers whose profiles are computed together."""
PREPARE = 100_000
"""Most identifiers of one slice of a generation: members lie all over the tables, a statement reads much of them."""
AT_LEAST = 6
"""Slices of a generation, unless they would be smaller than a cycle's."""
AT_ONCE = 3
"""Slices that are worked on at once."""
_decode = msgspec.json.Decoder(log_record.AnyRecord).decode


class Score:
    """The step for one workspace, without Flink.

    `state` keys: `words` -> what was said of generations, `active`, `date`, `version`, and `told`: the generation that
    the journal follows.
    """

    def __init__(
        self, workspace: str, store: Store, state: Any, versions: Versions, *, now: Callable[[], int]
    ) -> None:
        self._workspace = workspace
        self._store = store
        self._state = state
        self._versions = versions
        self._judge = Judge(store)
        self._now = now
        self.must_reconcile = True

    @property
    def _open(self) -> dict[str, str]:
        """Generation -> ruleset of those that are derived."""
        return open_of(self._state.get("words") or {})

    @property
    def _date(self) -> int:
        return int(self._state.get("date") or 0)

    # cycles -----------------------------------------------------------------------------------------------

    def cycle(self, told: Iterable[tuple[str, Any]]) -> None:
        """Compute every profile that the messages touch, for every open generation."""
        everywhere: set[str] = set()
        said: set[str] = set()
        moved: dict[str, set[str]] = {}
        for what, body in told:
            if what == "touched":
                everywhere.update(body)
            elif what == "said":
                said.update(body)
            else:
                generation, ids = body
                moved.setdefault(generation, set()).update(ids)
        for generation, ruleset in self._open.items():
            ids = everywhere | said | moved.get(generation, set())
            if self.must_reconcile:
                ids |= self._newer(generation)
            cause = Cause(
                "event", frozenset(moved.get(generation, ())), frozenset(everywhere), frozenset(said)
            )
            self._compute(generation, ruleset, sorted(ids), cause)
        self.must_reconcile = False

    def _compute(self, generation: str, ruleset: str, ids: list[str], cause: Cause) -> None:
        """Compute the profiles of these identifiers."""
        if not ids:
            return
        journal = None
        if generation == self._state.get("told") and is_needed(Ruleset.from_json(ruleset)):
            journal = Journal(self._store, self._workspace, generation, self._date, self._now, cause)
        writer = self._writer(generation, ruleset)
        for start in range(0, len(ids), CHUNK):
            version = self._versions.next()
            writer.write(pa.array(ids[start : start + CHUNK], pa.utf8()), version, journal)
            self._state.put("version", version)

    def _writer(self, generation: str, ruleset: str) -> Profiles:
        rules = Ruleset.from_json(ruleset)
        return Profiles(self._store, self._workspace, generation, rules, self._date, judge=self._judge)

    def _newer(self, generation: str) -> set[str]:
        """Profiles that an attempt wrote after the state's own last version: a dead one may have been wrong."""
        return self._ids(
            "SELECT DISTINCT profile_id FROM kintsugi_store.profile_rows WHERE workspace = {w:String}"
            " AND generation = {g:String} AND version > {v:UInt64}",
            g=generation, v=int(self._state.get("version") or 0),
        )  # fmt: skip

    def _ids(self, sql: str, **parameters: Any) -> set[str]:
        return {row[0] for row in self._store.query_rows(sql, {"w": self._workspace, **parameters})}

    # control ----------------------------------------------------------------------------------------------

    def control(self, message: Message) -> None:
        """A trailer or a control record; the cycle before it is done."""
        if message.what == "trailer":
            self.record([message.body])
            return
        record = _decode(message.body)
        if isinstance(record, log_record.Date):
            self._new_date(days_of(record.date))
        elif isinstance(record, log_record.Generation):
            self._generation(record)

    def _new_date(self, date: int) -> None:
        """A day has begun: profiles that time alone changes are computed, then the date is in force."""
        if date <= self._date:
            return
        self._state.put("date", date)
        for generation, ruleset in self._open.items():
            due = self._ids(
                "SELECT profile_id FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String}"
                " AND generation = {g:String} AND next_change_on <= toDate32({d:Int32})",
                g=generation, d=date,
            )  # fmt: skip
            self._compute(generation, ruleset, sorted(due), Cause("time"))
        self._point()

    def _generation(self, record: log_record.Generation) -> None:
        before = self._open
        self._state.put("words", heard(self._state.get("words") or {}, record))
        if record.generation in self._open.keys() - before.keys():
            self._prepare(record)
        elif record.action == "activate":
            said = (record.at, record.id, record.generation)
            self._state.put("active", max(said, tuple(self._state.get("active") or ()), key=lambda s: s[:2]))
        self._point()

    def _prepare(self, record: log_record.Generation) -> None:
        """Compute every profile of a new generation, in slices by identifier."""
        scoring = Ruleset.from_json(record.ruleset).scoring
        derived = [list(part.items()) for part in (weights(scoring), scoring.bounds.as_map())]
        self._insert("generations", (self._workspace, record.generation, record.at, record.ruleset, *derived))
        writer, version = self._writer(record.generation, record.ruleset), self._versions.next()
        count = self._store.query_rows(
            "SELECT count() FROM kintsugi_store.identifiers WHERE workspace = {w:String}",
            {"w": self._workspace},
        )[0][0]

        def write(between: tuple[str, str]) -> None:
            found = self._store.query_arrow(
                "SELECT DISTINCT identifier_id FROM kintsugi_store.identifiers WHERE workspace = {w:String}"
                " AND identifier_id >= {low:String} AND identifier_id < {high:String}",
                {"w": self._workspace, "low": between[0], "high": between[1]},
            )
            if len(found):
                writer.write(found["identifier_id"].combine_chunks(), version, own=True)

        slices = ranges(count, min(PREPARE, max(CHUNK, count // AT_LEAST)))
        with ThreadPoolExecutor(AT_ONCE) as workers:  # while the store answers for some, others are computed
            for _ in workers.map(write, slices):
                pass
        self._state.put("version", version)

    def _point(self) -> None:
        """Put the newest activated generation and the date in force, once the generation is derived."""
        active = self._state.get("active")
        if not active or active[2] not in self._open or not self._date:
            return
        told = self._state.get("told") or ""
        if active[2] != told:
            version = self._versions.next()
            switched(self._store, self._workspace, (told, active[2]), self._date, self._now(), version)
            self._state.put("told", active[2])
        self._insert("in_force", (self._workspace, active[2], self._date, self._versions.next()))

    def record(self, segments: list[str]) -> None:
        """Say that the work of these segments is done; the cycle before it is."""
        self._insert("progress", *((self._workspace, segment, self._now()) for segment in segments))

    def _insert(self, table: str, *rows: tuple[Any, ...]) -> None:
        if rows:
            self._store.insert_arrow(f"kintsugi_store.{table}", arrow.table(table, list(rows)))
