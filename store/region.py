"""A region of the evidence: what the store holds around some identifiers, small enough for the pure function.

Invariant: `assignment` says of a region what `identity.clusters.clusters` says of all evidence. Of the present
(`take`), a region is a union of whole clusters as the resolver stored them: links between final clusters were
refused, and a refused link leaves no trace on what is accepted, so the links that leave the region can be left
out. Of the past (`flood`), a region is a whole component of the evidence known then, and what lies outside
touches nothing in it. Which identifiers do not cluster is read (present) or counted (past) from all their
links, and told to the function as blocked, since within the region it could not count them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from identity.clusters import Assignment, clusters
from identity.evidence import Link, Override, Pair, Sighting, namespace_of
from identity.rules import IdentityRules
from schemas.errors import Problem
from schemas.ids import ordered
from store.client import Store
from store.overrides import overrides_of

MOST = 20_000
"""Identifiers in a region."""

_IDS = pa.schema([pa.field("id", pa.string(), nullable=False)])
_IN_FORCE = """
SELECT i.generation, toInt32(i.as_of), g.ruleset FROM kintsugi_store.in_force AS i FINAL
INNER JOIN (SELECT * FROM kintsugi_store.generations FINAL WHERE workspace = {w:String}) AS g
    ON g.generation = i.generation
WHERE i.workspace = {w:String}"""
_KNOWN = (
    "workspace = {w:String} AND day <= toDate32({d:Int32})"
    " AND received_at < fromUnixTimestamp64Micro({k:Int64}, 'UTC')"
)
_SIGHTINGS = f"""
SELECT identifier_id, any(kind), toInt32(min(day)) FROM kintsugi_store.sightings
WHERE {_KNOWN} AND identifier_id IN (SELECT id FROM ids) GROUP BY identifier_id"""
_LINKS = f"""
SELECT a, b, toInt32(min(day)), toInt32(max(day)) FROM (
    SELECT a, b, day FROM kintsugi_store.links WHERE {_KNOWN} AND a IN (SELECT id FROM ids)
    UNION ALL
    SELECT a, b, day FROM kintsugi_store.links WHERE {_KNOWN} AND b IN (SELECT id FROM ids)
) GROUP BY a, b"""
_ENDS = f"""
    SELECT a AS id, b AS other FROM kintsugi_store.links WHERE {_KNOWN} AND a IN (SELECT id FROM ids)
    UNION ALL
    SELECT b AS id, a AS other FROM kintsugi_store.links WHERE {_KNOWN} AND b IN (SELECT id FROM ids)"""
_NEIGHBOURS = f"""
SELECT e.id, k.kind, uniqExact(e.other) FROM ({_ENDS}) AS e
INNER JOIN (
    SELECT identifier_id, any(kind) AS kind FROM kintsugi_store.identifiers
    WHERE workspace = {{w:String}} AND identifier_id IN (SELECT other FROM ({_ENDS}))
        AND identifier_id NOT IN (SELECT id FROM blocked)
    GROUP BY identifier_id
) AS k ON e.other = k.identifier_id
GROUP BY e.id, k.kind"""
_MAP = """
SELECT identifier_id, profile_id, state FROM kintsugi_store.identity_map FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND identifier_id IN (SELECT id FROM ids)"""
_CLUSTERS = """
SELECT profile_id, members FROM kintsugi_store.clusters FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND profile_id IN (SELECT id FROM ids)"""


@dataclass(frozen=True)
class Basis:
    """What an answer rests on: rules and date in force, overrides, and the moment before which all was known."""

    workspace: str
    generation: str
    rules: IdentityRules
    date: int
    """Days since 1970-01-01."""
    overrides: tuple[Override, ...]
    known_before: int
    """µs since 1970, UTC; exclusive."""


_ALWAYS = 1 << 52
"""A moment (in 2112) before which everything is known."""


def basis(store: Store, workspace: str, *, date: int | None = None, known_before: int | None = None) -> Basis:
    """What is in force in the workspace; `date` and `known_before` for a view of the past.

    Raises Problem `unknown_workspace` when nothing is in force yet.
    """
    rows = store.query_rows(_IN_FORCE, {"w": workspace})
    if not rows:
        raise Problem("unknown_workspace", "No ruleset is in force in this workspace yet.")
    generation, in_force_on, ruleset = rows[0]
    return Basis(
        workspace,
        generation,
        _rules(ruleset),
        in_force_on if date is None else date,
        tuple(overrides_of(store, workspace, known_before)),
        _ALWAYS if known_before is None else known_before,
    )


@lru_cache(maxsize=64)
def _rules(ruleset: str) -> IdentityRules:
    return IdentityRules.from_json(json.dumps(json.loads(ruleset)["identity"]))


class Region:
    """A growing region. Its methods block, and raise StoreUnavailable, StoreRefused, and Problem
    `region_too_large` beyond MOST identifiers.
    """

    def __init__(self, store: Store, basis: Basis) -> None:
        self.basis = basis
        self.kinds: dict[str, str] = {}
        """Kind of every sighted identifier of the region."""
        self.excluded: dict[str, str] = {}
        """Identifiers of the region that do not cluster: shared or blocked."""
        self._first_day: dict[str, int] = {}
        self._days: dict[Pair, tuple[int, int]] = {}
        self._store = store
        self._partners: dict[str, set[str]] = {}
        for override in basis.overrides:
            self._partners.setdefault(override.a, set()).add(override.b)
            self._partners.setdefault(override.b, set()).add(override.a)

    @property
    def links(self) -> list[Link]:
        """Links among the identifiers of the region: the first and the last day of each pair."""
        return [
            Link(a, b, day)
            for (a, b), days in self._days.items()
            if a in self.kinds and b in self.kinds
            for day in sorted(set(days))
        ]

    def first_day(self, identifier: str) -> int:
        """First day on which an identifier of the region was seen."""
        return self._first_day[identifier]

    def take(self, ids: Iterable[str]) -> set[str]:
        """Add the stored clusters of these identifiers, whole; their members that were not there before."""
        wanted = [i for i in dict.fromkeys(ids) if i not in self.kinds]
        mapped = {i: (profile, state) for i, profile, state in self._ask(_MAP, wanted)}
        excluded = {i: state for i, (_, state) in mapped.items() if state != "member"}
        self.excluded |= excluded
        profiles = [mapped.get(i, (i, ""))[0] for i in wanted if i not in excluded]
        members = {*profiles, *wanted}.union(*(m for _, m in self._ask(_CLUSTERS, sorted(set(profiles)))))
        members -= self.kinds.keys()
        self._sight(members)
        self._link(members - excluded.keys())
        return members & self.kinds.keys()

    def outside(self, ids: Iterable[str]) -> set[str]:
        """Identifiers beyond the region that a link or an override joins to one of these members."""
        chosen = set(ids) - self.excluded.keys()
        ends = {end for pair in self._days if not chosen.isdisjoint(pair) for end in pair}
        return ends.union(*(self._partners.get(i, ()) for i in chosen)) - self.kinds.keys()

    def flood(self, start: str) -> None:
        """Add all that links and overrides connect with an identifier, counting who is shared."""
        frontier = {start}
        while frontier:
            self._sight(frontier)
            seen = frontier & self.kinds.keys()
            self.excluded |= self._exclusions(seen)
            self._link(seen - self.excluded.keys())
            frontier = self.outside(seen)

    def assignment(self, more: Iterable[Override] = ()) -> Assignment:
        """Who is who in the region, as things are or with more overrides said."""
        of = self.basis
        rules = replace(of.rules, blocked_ids=of.rules.blocked_ids | self.excluded.keys())
        sightings = [Sighting(i, kind, self._first_day[i]) for i, kind in self.kinds.items()]
        found = clusters(self.links, sightings, [*of.overrides, *more], rules, of.date)
        return replace(found, excluded={i: self.excluded.get(i, why) for i, why in found.excluded.items()})

    def _sight(self, ids: Iterable[str]) -> None:
        for identifier, kind, day in self._ask(_SIGHTINGS, ids):
            self.kinds[identifier], self._first_day[identifier] = kind, day
        if len(self.kinds) > MOST:
            raise Problem("region_too_large", f"More than {MOST:,} identifiers hang together with these.")

    def _link(self, ids: Iterable[str]) -> None:
        self._days.update({ordered(a, b): (first, last) for a, b, first, last in self._ask(_LINKS, ids)})

    def _exclusions(self, ids: set[str]) -> Mapping[str, str]:
        """Which of these identifiers are blocked or shared, by all their links."""
        rules = self.basis.rules
        found = {i: "blocked" for i in ids if rules.is_blocked(i, self.kinds[i])}
        counts: dict[tuple[str, str], int] = {}
        for i, kind, number in self._ask(_NEIGHBOURS, ids - found.keys()):
            if not rules.facts(kind).is_blocked:
                key = i, namespace_of(kind)
                counts[key] = counts.get(key, 0) + number
        for (i, namespace), number in counts.items():
            if number > rules.facts(self.kinds[i]).rule.shared_above.get(namespace, number):
                found[i] = "shared"
        return found

    def _ask(self, sql: str, ids: Iterable[str]) -> list[tuple[Any, ...]]:
        sent = sorted(ids)
        if not sent:
            return []
        tables = {"ids": pa.table({"id": sent}, schema=_IDS)}
        if "FROM blocked" in sql:
            tables["blocked"] = pa.table({"id": sorted(self.basis.rules.blocked_ids)}, schema=_IDS)
        of = self.basis
        asked = {"w": of.workspace, "g": of.generation, "d": of.date, "k": of.known_before}
        return self._store.query_rows(sql, asked, tables)


def changed_by(store: Store, basis: Basis, more: Iterable[Override]) -> tuple[Region, Assignment, Assignment]:
    """What further overrides would change: (region, who is who in it now, who is who then).

    The region is the clusters of the overridden pairs, and grows by the clusters next to those that change
    until the outermost stay as they are; what lies beyond stays as it is, too.
    """
    more = list(more)
    region = Region(store, basis)
    inner = grown = region.take(end for override in more for end in (override.a, override.b))
    while True:
        region.take(region.outside(grown))
        before, after = region.assignment(), region.assignment(more)
        rim = region.kinds.keys() - inner
        grown = {i for i in rim if _members(before, i) != _members(after, i)}
        if not grown:
            return region, before, after
        inner = inner | grown


def _members(assignment: Assignment, identifier: str) -> tuple[str, ...]:
    profile = assignment.profile_of[identifier]
    return assignment.members.get(profile, (profile,))
