"""Golden records read from the store, by any identifier_id, many at a time.

Invariant: every statement is bound to one workspace and one generation, given by the caller's key and the
pointer; scores are those of the date in force, computed exactly as the public view `kintsugi.profiles` does.
Tables are read instead of that view because a point lookup is several times faster without its joins.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from scoring.bounds import UNBOUNDED, Bounds
from scoring.decay import decayed_total
from store.client import Store

POINTER_SECONDS = 1.0
"""How long the pointer (generation and date in force) may be remembered."""

_POINTER = """
SELECT generation, as_of,
    (SELECT max(recorded_at) FROM kintsugi_store.progress WHERE workspace = {w:String}) AS evidence_through
FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}"""
_DERIVED_BY = """
SELECT weights, bounds FROM kintsugi_store.generations FINAL
WHERE workspace = {w:String} AND generation = {g:String}"""
_MAP = """
SELECT identifier_id, profile_id, state FROM kintsugi_store.identity_map FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND identifier_id IN {ids:Array(String)}"""
_ROWS = """
SELECT profile_id, members, traits, sealed_traits, points, decaying.rule AS rules, decaying.day AS days,
    decaying.amount AS amounts, identity_points, identity_grade, robot, stage, tags, segments, first_channel,
    last_channel, owner, first_seen_at, last_seen_at, event_count, next_change_on, version
FROM kintsugi_store.profile_rows FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND profile_id IN {ids:Array(String)}
    AND is_tombstone = 0"""
_IDENTIFIERS = """
SELECT DISTINCT ON (identifier_id) identifier_id, namespace, scope, mask, sealed
FROM kintsugi_store.identifiers
WHERE workspace = {w:String} AND identifier_id IN {ids:Array(String)}"""


State = Literal["member", "shared", "blocked", "unknown"]


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


class ProfileReader:
    """Reads profiles. Thread-safe; every method blocks and raises StoreUnavailable or StoreRefused."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pointers: dict[str, tuple[float, InForce]] = {}

    def in_force(self, workspace: str) -> InForce:
        """Generation and date in force, at most `POINTER_SECONDS` old."""
        now = time.monotonic()
        with self._lock:
            read_at, known = self._pointers.get(workspace, (float("-inf"), None))
        if known is not None and now - read_at < POINTER_SECONDS:
            return known
        rows = self._store.query_rows(_POINTER, {"w": workspace})
        current = self._pointed(workspace, rows[0], known) if rows else InForce("", None, None)
        with self._lock:
            self._pointers[workspace] = (now, current)
        return current

    def find(self, workspace: str, ids: Iterable[str], *, are_profiles: bool = False) -> dict[str, Found]:
        """What each identifier_id leads to; a profile_id is one, also that of a profile that was merged away.

        Three statements, whatever the number of ids; one more round where a merge fell between them. With
        `are_profiles` the records are looked for first, and where all are there two statements suffice.
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
        wanted = {member for row in rows.values() for member in row["members"]}.union(ids)
        known = self._identifiers(workspace, sorted(wanted))
        profiles = {key: _profile(row, known, in_force) for key, row in rows.items()}
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
    ) -> tuple[dict[str, tuple[str, State]], dict[str, dict[str, Any]]]:
        """(identifier_id -> (profile_id, state)), (profile_id -> row of the table)."""
        if not ids:
            return {}, {}
        answers = self._store.query_rows(_MAP, {"w": workspace, "g": in_force.generation, "ids": ids})
        mapped = {identifier: (profile, state) for identifier, profile, state in answers}
        targets = sorted({mapped[i][0] if i in mapped else i for i in ids})
        return mapped, self._rows(workspace, in_force, targets)

    def _rows(self, workspace: str, in_force: InForce, profile_ids: list[str]) -> dict[str, dict[str, Any]]:
        bound = {"w": workspace, "g": in_force.generation, "ids": profile_ids}
        return {row["profile_id"]: row for row in self._store.query_arrow(_ROWS, bound).to_pylist()}

    def _identifiers(self, workspace: str, ids: list[str]) -> dict[str, Identifier]:
        rows = self._store.query_rows(_IDENTIFIERS, {"w": workspace, "ids": ids})
        return {row[0]: Identifier(*row) for row in rows}


def _profile(row: dict[str, Any], known: Mapping[str, Identifier], in_force: InForce) -> ProfileRow:
    identifiers = [known[member] for member in row["members"] if member in known]
    points = dict(row["points"]) | half_life_points(row, in_force)
    return ProfileRow(
        profile_id=row["profile_id"],
        identifiers=tuple(sorted(identifiers, key=lambda i: (i.namespace, i.scope, i.identifier_id))),
        traits=dict(row["traits"]),
        sealed_traits=dict(row["sealed_traits"]),
        behaviour_points=points | in_force.bounds.line(sum(points.values())),
        identity_points=dict(row["identity_points"]),
        **{name: row[name] for name in _AS_STORED},
    )


_AS_STORED = (
    "identity_grade", "robot", "stage", "tags", "segments", "first_channel", "last_channel", "owner", "first_seen_at",
    "last_seen_at", "event_count", "next_change_on", "version",
)  # fmt: skip


def half_life_points(row: Mapping[str, Any], in_force: InForce) -> dict[str, int]:
    """Points by half-life rule in thousandths on the date in force; parts of later days do not count yet."""
    parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for rule, day, amount in zip(row["rules"], row["days"], row["amounts"], strict=True):
        assert in_force.as_of is not None
        age = (in_force.as_of - day).days
        parts[rule].extend([(amount, age)] if age >= 0 else [])
    return {rule: decayed_total(of_rule, in_force.weights.get(rule, ())) for rule, of_rule in parts.items()}
