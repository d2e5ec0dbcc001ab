"""Golden records read from the store, by any identifier_id, many at a time.

Invariant: every statement is bound to one workspace and one generation, given by the caller's key and the
pointer; scores are those of the date in force, computed exactly as the public view `kintsugi.profiles` does.
Tables are read instead of that view because a point lookup is several times faster without its joins.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import msgspec

from scoring.bounds import UNBOUNDED, Bounds
from scoring.decay import decayed_total
from store.client import Store

POINTER_SECONDS = 1.0
"""How long the pointer (generation and date in force) may be remembered. From half of it on it is read again beside the
lookups, so that under steady traffic none waits for it."""

_POINTER = """
SELECT generation, as_of,
    (SELECT max(recorded_at) FROM kintsugi_store.progress WHERE workspace = {w:String}) AS evidence_through
FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}"""
_DERIVED_BY = """
SELECT weights, bounds FROM kintsugi_store.generations FINAL
WHERE workspace = {w:String} AND generation = {g:String}"""
_MAP = """
SELECT identifier_id, version, profile_id, state FROM kintsugi_store.identity_map
PREWHERE identifier_id IN {ids:Array(String)} WHERE workspace = {w:String} AND generation = {g:String}"""
_RECORDS = """
SELECT profile_id, version, is_tombstone, record FROM kintsugi_store.profile_rows
PREWHERE profile_id IN {ids:Array(String)} WHERE workspace = {w:String} AND generation = {g:String}"""
_IDENTIFIERS = """
SELECT identifier_id, namespace, scope, mask, sealed FROM kintsugi_store.identifiers
PREWHERE identifier_id IN {ids:Array(String)} WHERE workspace = {w:String}"""
# The ids alone in PREWHERE: other columns are then read of the parts that hold one of them, and FINAL, which would
# read all of them, is left to `_newest`. It is a third of the price of a lookup.


State = Literal["member", "shared", "blocked", "unknown"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InForce:
    """What the answers of a workspace rest on."""

    generation: str
    """Empty while nothing was ever derived."""
    as_of: date | None
    evidence_through: datetime | None
    """When a segment of the log was last recorded as done."""
    weights: Mapping[str, list[int]] = field(default_factory=dict)
    bounds: Bounds = UNBOUNDED


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier as it is stored: masked, and sealed."""

    identifier_id: str
    namespace: str
    scope: str
    mask: str
    sealed: str


class Record(msgspec.Struct, array_like=True, frozen=True):
    """The column `record` of profile_rows, field by field: a row as it is stored, points in thousandths.

    Times are µs and days are days since 1970.
    """

    members: list[str]
    held: list[tuple[str, str, str, str, str]]
    """Identifiers; of rows that are older than the column there are none, and theirs are asked for."""
    traits: dict[str, str]
    sealed_traits: dict[str, str]
    points: dict[str, int]
    decaying: list[tuple[str, int, int]]
    """(rule, day, amount)"""
    identity_points: dict[str, int]
    identity_grade: str
    robot: str
    stage: str
    tags: list[str]
    segments: list[str]
    first_channel: str
    last_channel: str
    owner: str
    first_seen_at: int
    last_seen_at: int
    event_count: int
    next_change_on: int | None

    @staticmethod
    def of(text: str) -> "Record":
        """The record behind the column's text."""
        return _decoder.decode(text)


_decoder = msgspec.json.Decoder(Record, strict=False)  # some servers put 64-bit integers between quotes


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One golden record, on the date in force; points and scores in thousandths."""

    profile_id: str
    identifiers: tuple[Identifier, ...]
    traits: dict[str, str]
    sealed_traits: dict[str, str]
    behaviour_points: dict[str, int]
    identity_points: dict[str, int]
    identity_grade: str
    robot: str
    """Robots filter by which nothing counts that the profile did."""
    stage: str
    tags: list[str]
    segments: list[str]
    first_channel: str
    last_channel: str
    owner: str
    first_seen_at: datetime
    last_seen_at: datetime
    event_count: int
    next_change_on: date | None
    version: int


@dataclass(frozen=True, slots=True)
class Found:
    """What an identifier_id leads to."""

    state: State
    profile_id: str
    in_force: InForce
    profile: ProfileRow | None = None


_Row = tuple[int, Record]
"""Version and record of a row."""


class ProfileReader:
    """Reads profiles. Thread-safe; every method blocks and raises StoreUnavailable or StoreRefused."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pointers: dict[str, tuple[float, InForce]] = {}
        self._ahead: dict[str, Future[InForce]] = {}
        self._threads = ThreadPoolExecutor(1, "pointer")

    def in_force(self, workspace: str) -> InForce:
        """Generation and date in force, at most `POINTER_SECONDS` old."""
        with self._lock:
            read_at, known = self._pointers.get(workspace, (float("-inf"), None))
            age = time.monotonic() - read_at
            if known is not None and age < POINTER_SECONDS:
                ahead = self._ahead.get(workspace)
                if age > POINTER_SECONDS / 2 and (ahead is None or ahead.done()):
                    self._ahead[workspace] = self._threads.submit(self._read_pointer, workspace, known)
                return known
        return self._read_pointer(workspace, known)

    def _read_pointer(self, workspace: str, known: InForce | None) -> InForce:
        now = time.monotonic()
        rows = self._store.query_rows(_POINTER, {"w": workspace})
        current = self._pointed(workspace, rows[0], known) if rows else InForce("", None, None)
        with self._lock:
            newest, _ = self._pointers.get(workspace, (float("-inf"), None))
            if now > newest:  # of two reads at once the later counts, whichever ends first
                self._pointers[workspace] = (now, current)
        return current

    def find(self, workspace: str, ids: Iterable[str], *, are_profiles: bool = False) -> dict[str, Found]:
        """What each identifier_id leads to; a profile_id is one, also that of a profile that was merged away.

        Two statements, whatever the number of ids, and a third where an id or a member is known to neither; one more
        round where a merge fell between them. With `are_profiles` the records are looked for first, and where all
        are there one statement suffices.
        """
        ids = list(ids)
        in_force = self.in_force(workspace)
        rows = self._rows(workspace, in_force, ids) if are_profiles else {}
        mapped, more = self._resolve(workspace, in_force, [i for i in ids if i not in rows])
        rows |= more
        missing = [i for i in ids if i in mapped and mapped[i][1] == "member" and mapped[i][0] not in rows]
        if missing:
            again, more = self._resolve(workspace, in_force, missing)
            mapped, rows = mapped | again, rows | more
        known = {held[0]: Identifier(*held) for _, record in rows.values() for held in record.held}
        members = {member for _, record in rows.values() for member in record.members}
        strangers = members.union(i for i in ids if i not in mapped and i not in rows) - known.keys()
        known |= self._identifiers(workspace, sorted(strangers))
        profiles = {key: _profile(key, *row, known, in_force) for key, row in rows.items()}
        found = {}
        for i in ids:
            own: tuple[str, State] = (i, "member")
            profile_id, state = mapped.get(i, own)
            is_known = i in known or i in mapped or profile_id in profiles
            profile = profiles.get(profile_id) if state == "member" else None
            found[i] = Found(state if is_known else "unknown", profile_id, in_force, profile)
        return found

    def oldest_date(self) -> date | None:
        """Oldest date in force of all workspaces: behind today when a daily record did not come through."""
        rows = self._store.query_rows("SELECT min(as_of), count() FROM kintsugi_store.in_force FINAL")
        return rows[0][0] if rows[0][1] else None

    def _pointed(self, workspace: str, row: tuple[Any, ...], known: InForce | None) -> InForce:
        generation, as_of, through = row
        if known is not None and known.generation == generation:
            weights, bounds = known.weights, known.bounds
        else:
            opened = self._store.query_rows(_DERIVED_BY, {"w": workspace, "g": generation})
            weights, limits = (dict(part) for part in opened[0]) if opened else ({}, {})
            bounds = Bounds(**limits)
        moment = through if through and through.timestamp() > 0 else None
        return InForce(generation, as_of, moment, weights, bounds)

    def _resolve(
        self, workspace: str, in_force: InForce, ids: list[str]
    ) -> tuple[dict[str, tuple[str, State]], dict[str, _Row]]:
        """(identifier_id -> (profile_id, state)), (profile_id -> its row)."""
        if not ids:
            return {}, {}
        answers = self._store.query_rows(_MAP, {"w": workspace, "g": in_force.generation, "ids": ids})
        mapped = {identifier: (profile, state) for identifier, _, profile, state in _newest(answers)}
        targets = sorted({mapped[i][0] if i in mapped else i for i in ids})
        return mapped, self._rows(workspace, in_force, targets)

    def _rows(self, workspace: str, in_force: InForce, profile_ids: list[str]) -> dict[str, _Row]:
        bound = {"w": workspace, "g": in_force.generation, "ids": profile_ids}
        return {
            profile_id: (version, Record.of(record))
            for profile_id, version, is_tombstone, record in _newest(self._store.query_rows(_RECORDS, bound))
            if not is_tombstone
        }

    def _identifiers(self, workspace: str, ids: list[str]) -> dict[str, Identifier]:
        rows = self._store.query_rows(_IDENTIFIERS, {"w": workspace, "ids": ids}) if ids else []
        return {row[0]: Identifier(*row) for row in rows}


def _newest(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """Of rows (id, version, ...) the one with the greatest version of each id, as FINAL would keep it."""
    return {row[0]: row for row in sorted(rows, key=lambda row: row[1])}.values()


def _profile(
    profile_id: str, version: int, record: Record, known: Mapping[str, Identifier], in_force: InForce
) -> ProfileRow:
    identifiers = [known[member] for member in record.members if member in known]
    points = record.points | _half_life_points(record, in_force)
    return ProfileRow(
        profile_id=profile_id,
        identifiers=tuple(sorted(identifiers, key=lambda i: (i.namespace, i.scope, i.identifier_id))),
        behaviour_points=points | in_force.bounds.line(sum(points.values())),
        first_seen_at=_EPOCH + timedelta(microseconds=record.first_seen_at),
        last_seen_at=_EPOCH + timedelta(microseconds=record.last_seen_at),
        next_change_on=None if record.next_change_on is None else _day(record.next_change_on),
        version=version,
        **{name: getattr(record, name) for name in _AS_STORED},
    )


_AS_STORED = (
    "traits", "sealed_traits", "identity_points", "identity_grade", "robot", "stage", "tags", "segments",
    "first_channel", "last_channel", "owner", "event_count",
)  # fmt: skip


def _half_life_points(record: Record, in_force: InForce) -> dict[str, int]:
    """Points by half-life rule in thousandths on the date in force; parts of later days do not count yet."""
    parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for rule, day, amount in record.decaying:
        assert in_force.as_of is not None
        age = (in_force.as_of - _day(day)).days
        parts[rule].extend([(amount, age)] if age >= 0 else [])
    return {rule: decayed_total(of_rule, in_force.weights.get(rule, ())) for rule, of_rule in parts.items()}


def _day(number: int) -> date:
    return _EPOCH.date() + timedelta(number)
