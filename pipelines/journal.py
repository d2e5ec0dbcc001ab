"""The journal of stages, segments and tags: what readers are told when a golden record changes.

Invariant: a change is published before the row that holds it is written, by comparing with the row that stands in the
store; so after a failure it may be told again and is never lost. Only the generation in force is told of.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.generations import Ruleset
from schemas import arrow
from store.client import Store

_BEFORE = """SELECT profile_id, argMax(stage, version) AS stage, argMax(segments, version) AS segments,
    argMax(tags, version) AS tags, argMax(members, version) AS members,
    argMax(is_tombstone, version) AS is_tombstone, max(version) AS follows
FROM kintsugi_store.profile_rows WHERE workspace = {w:String} AND generation = {g:String}
    AND profile_id IN (SELECT profile_id FROM wanted) GROUP BY profile_id"""
_SWITCHED = """
INSERT INTO kintsugi_store.profile_changes
    (workspace, generation, changed_at, profile_id, what, was, becomes, cause, as_of, version, follows)
SELECT {w:String}, {new:String}, fromUnixTimestamp64Micro({now:Int64}, 'UTC'), profile_id, change.1, change.2, change.3,
    'rule', toDate32({d:Int32}), {v:UInt64}, follows
FROM (
    SELECT profile_id, follows, arrayJoin(arrayConcat(
        if(one.1 = two.1, [], [('stage', one.1, two.1)]),
        arrayMap(s -> ('segment', s, ''), arrayFilter(s -> NOT has(two.2, s), one.2)),
        arrayMap(s -> ('segment', '', s), arrayFilter(s -> NOT has(one.2, s), two.2)),
        arrayMap(s -> ('tag', s, ''), arrayFilter(s -> NOT has(two.3, s), one.3)),
        arrayMap(s -> ('tag', '', s), arrayFilter(s -> NOT has(one.3, s), two.3)))) AS change
    FROM (
        SELECT profile_id,
            anyIf((CAST(stage, 'String'), segments, tags), generation = {old:String}) AS one,
            anyIf((CAST(stage, 'String'), segments, tags), generation = {new:String}) AS two,
            maxIf(version, generation = {old:String}) AS follows
        FROM kintsugi_store.profile_rows FINAL
        WHERE workspace = {w:String} AND generation IN ({old:String}, {new:String}) AND is_tombstone = 0
        GROUP BY profile_id
    )
)"""
"""What readers see change when another generation comes into force."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why rows are computed: the word for those whose members stay, and whose members other rows say moved."""

    word: str
    moved: frozenset[str] = frozenset()
    """Identifiers of which the resolver said that they moved."""
    touched: frozenset[str] = frozenset()
    """Identifiers that new events carry."""
    said: frozenset[str] = frozenset()
    """Identifiers of which people said something."""


def is_needed(ruleset: Ruleset) -> bool:
    """Whether rows of the ruleset hold anything that the journal tells of."""
    scoring = ruleset.scoring
    return bool(scoring.stages or scoring.tags or scoring.segments)


class Journal:
    """Publishes the changes of one generation."""

    def __init__(
        self, store: Store, workspace: str, generation: str, date: int, now: Callable[[], int], cause: Cause
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._generation = generation
        self._date = date
        self._now = now
        self._cause = cause

    def publish(self, rows: pa.Table, version: int) -> None:
        """Tell what these new rows (as PROFILE_ROWS) change; the store still holds those before them."""
        ids = rows["profile_id"]
        if not len(ids):
            return
        wanted = pa.table({"profile_id": ids})
        found = self._store.query_arrow(
            _BEFORE, {"w": self._workspace, "g": self._generation}, {"wanted": wanted}
        )
        before = {row["profile_id"]: row for row in found.to_pylist()}
        now = self._now()
        head = (self._workspace, self._generation, now)
        names = ("profile_id", "stage", "segments", "tags", "members", "is_tombstone")
        told = [
            (*head, row["profile_id"], *change, self._date, version, old["follows"] if old else 0)
            for row in rows.select(list(names)).to_pylist()
            for old in [before.get(row["profile_id"])]
            for change in self._changes(old, row)
        ]
        if told:
            self._store.insert_arrow("kintsugi_store.profile_changes", arrow.table("profile_changes", told))

    def _changes(
        self, before: dict[str, Any] | None, row: dict[str, Any]
    ) -> Iterator[tuple[str, str, str, str]]:
        """(what, was, becomes, cause) of one profile."""
        old = before or {"stage": "", "segments": [], "tags": [], "members": [], "is_tombstone": 1}
        cause = self._why(old, row)
        is_alive = not row["is_tombstone"]
        if is_alive and old["stage"] != row["stage"]:
            yield "stage", old["stage"], row["stage"], cause
        for what, name in (("segment", "segments"), ("tag", "tags")):
            for left in sorted(set(old[name]) - set(row[name])):
                yield what, left, "", cause
            for entered in sorted(set(row[name]) - set(old[name])):
                yield what, "", entered, cause

    def _why(self, old: dict[str, Any], row: dict[str, Any]) -> str:
        """Merge and split where members came or went, else the word of the cycle."""
        were, are = frozenset[str](old["members"]), frozenset[str](row["members"])
        if row["is_tombstone"]:
            return "merge"
        if were - are:
            return "split"
        if were and are - were and not (are - were) <= self._cause.touched:
            return "merge"
        if not were and not are & self._cause.touched and are & self._cause.moved:
            return "split"
        return "assertion" if are & self._cause.said else self._cause.word


def switched(
    store: Store, workspace: str, generations: Sequence[str], date: int, now: int, version: int
) -> None:
    """Tell what changes as the second of two generations comes into force in place of the first (or of none)."""
    old, new = generations
    asked = {"w": workspace, "old": old, "new": new, "d": date, "now": now, "v": version}
    store.execute(_SWITCHED, asked)
