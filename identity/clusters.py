"""The clustering function: who is one person, as a pure function of evidence, rules and date.

Invariant: `clusters` depends on the sets of evidence only, never on their order or on duplicates. Since
limits are monotone, a link is accepted exactly when both its ends lie in one final cluster, and a refused
link stays refused however the clusters grow later in the order of ranks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from identity.evidence import Link, Override, Pair, Sighting, namespace_of, overrides_in_force
from identity.limits import Limits, Refusal, Vector
from identity.rules import IdentityRules, Rank, expiry_day, rank

__all__ = ["Assignment", "Group", "Refusal", "arrange", "clusters", "refusal_between"]


class Group(NamedTuple):
    """One cluster as `arrange` makes it."""

    members: list[str]
    counts: Vector
    bottleneck: Rank
    """Greatest rank of a link that joined two parts: with all links up to it, the cluster is whole."""
    nevers: frozenset[Pair]
    """(member, identifier it is never linked with)."""


def refusal_between(crossing: Iterable[Pair], x: Vector, y: Vector, limits: Limits) -> Refusal | None:
    """Why two clusters may not become one, or None when they may.

    `crossing`: never-linked pairs with one end in each; `x`, `y`: their counts. A never-link is named
    before a limit, the smallest pair first.
    """
    pair = min(crossing, default=None)
    if pair is not None:
        return Refusal("never_link", f"{pair[0]} {pair[1]}")
    return limits.broken(limits.joined(x, y))


class _Forest:
    """Disjoint sets of identifiers with what acceptance needs to know of each (union by size, path halving).

    References: R. E. Tarjan, "Efficiency of a good but not linear set union algorithm", JACM 22 (1975).
    """

    def __init__(self, units: Mapping[str, Vector], nevers: Iterable[Pair], limits: Limits) -> None:
        self._limits = limits
        self._parent = {identifier: identifier for identifier in units}
        self.members = {identifier: [identifier] for identifier in units}
        self.counts = dict(units)
        self.bottleneck: dict[str, Rank] = {}
        self.nevers: dict[str, set[Pair]] = {}
        for a, b in nevers:
            if a in units and b in units:
                self.nevers.setdefault(a, set()).add((a, b))
                self.nevers.setdefault(b, set()).add((b, a))

    def root(self, identifier: str) -> str:
        """The member that names the identifier's set."""
        parent = self._parent
        while parent[identifier] != identifier:
            parent[identifier] = identifier = parent[parent[identifier]]
        return identifier

    def never_linked(self, x: str, y: str) -> bool:
        """True when a never-linked pair lies across the sets with the roots `x` and `y`."""
        if x not in self.nevers or y not in self.nevers:
            return False
        few, other = (x, y) if len(self.nevers[x]) <= len(self.nevers[y]) else (y, x)
        return any(self.root(far) == other for _, far in self.nevers[few])

    def join(self, x: str, y: str, counts: Vector, at: Rank) -> None:
        """Make one set of those with the roots `x` and `y`."""
        if len(self.members[x]) < len(self.members[y]):
            x, y = y, x
        self._parent[y] = x
        self.members[x] += self.members.pop(y)
        self.counts[x] = counts
        self.bottleneck[x] = at
        if y in self.nevers:
            self.nevers.setdefault(x, set()).update(self.nevers.pop(y))

    def force(self, a: str, b: str) -> None:
        """Contract a forced pair, unless a never-link forbids it; the group counts once per namespace."""
        x, y = self.root(a), self.root(b)
        if x != y and not self.never_linked(x, y):
            once = tuple([max(m, n) for m, n in zip(self.counts[x], self.counts[y], strict=True)])
            self.join(x, y, once, ())

    def link(self, a: str, b: str, at: Rank) -> None:
        """Accept a link when the joined cluster keeps every limit and joins no never-linked pair."""
        x, y = self.root(a), self.root(b)
        if x == y or self.never_linked(x, y):
            return
        counts = self._limits.joined(self.counts[x], self.counts[y])
        if self._limits.broken(counts) is None:
            self.join(x, y, counts, at)


def arrange(
    units: Mapping[str, Vector],
    forces: Iterable[Pair],
    nevers: Iterable[Pair],
    links: Iterable[tuple[Rank, str, str]],
    limits: Limits,
) -> list[Group]:
    """Clusters of the identifiers in `units` (identifier → its counts), singletons included.

    `forces` newest first; `links` in the order of rank; `nevers` in any order, those that leave `units` are
    ignored. O(n α(n)) for n links, besides never-links.
    """
    forest = _Forest(units, nevers, limits)
    for a, b in forces:
        forest.force(a, b)
    for at, a, b in links:
        forest.link(a, b, at)
    return [
        Group(
            members,
            forest.counts[root],
            forest.bottleneck.get(root, ()),
            frozenset(forest.nevers.get(root, ())),
        )
        for root, members in forest.members.items()
    ]


@dataclass(frozen=True)
class Assignment:
    """Who is who on a date.

    `profile_of`: every sighted identifier → profile_id, those that do not cluster → themselves. `members`:
    profile_id → members ascending, of clusters of two and more. `excluded`: shared or blocked. `accepted`:
    links within clusters, by rank. `forced`: force-linked pairs that hold, newest first. `refused`: links
    and force-linked pairs between two clusters, with what stands against joining them.
    """

    profile_of: dict[str, str] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    accepted: tuple[Pair, ...] = ()
    forced: tuple[Pair, ...] = ()
    refused: dict[Pair, Refusal] = field(default_factory=dict)


def clusters(
    links: Iterable[Link],
    sightings: Iterable[Sighting],
    overrides: Iterable[Override],
    rules: IdentityRules,
    date: int,
) -> Assignment:
    """Assignment on `date` by the evidence of days up to it (docs: the clustering function).

    1. blocked and 2. shared identifiers do not cluster; 3. force-links are contracted, newest first; 4.
    live links are tried by rank; 5. a cluster is named by its founding member. O(n log n) for n pieces of
    evidence.
    """
    kinds, first_seen = _seen(sightings, date)
    days = _days_of_links(links, date)
    excluded = _excluded(kinds, days, rules)
    units = {i: rules.facts(kind).unit for i, kind in kinds.items() if i not in excluded}
    forces, nevers = overrides_in_force(overrides, date)
    forces = [pair for pair in forces if pair[0] in units and pair[1] in units]
    live = _live_links(days, kinds, units, rules, date)
    groups = arrange(units, forces, nevers, live, rules.limits)

    founding = {i: (first_seen[i], rules.facts(kinds[i]).strength, i) for i in units}
    named = {min(founding[i] for i in group.members)[2]: group for group in groups}
    profile_of = {i: i for i in excluded} | {i: p for p, group in named.items() for i in group.members}
    pairs = [(a, b) for _, a, b in live]
    return Assignment(
        profile_of,
        {p: tuple(sorted(group.members)) for p, group in named.items() if len(group.members) > 1},
        excluded,
        tuple((a, b) for a, b in pairs if profile_of[a] == profile_of[b]),
        tuple((a, b) for a, b in forces if profile_of[a] == profile_of[b]),
        _refused([*pairs, *forces], profile_of, named, rules.limits),
    )


def _seen(sightings: Iterable[Sighting], date: int) -> tuple[dict[str, str], dict[str, int]]:
    """Kind and first day of every identifier sighted up to `date`."""
    kinds: dict[str, str] = {}
    first_seen: dict[str, int] = {}
    for identifier, kind, day in sightings:
        if day <= date and day < first_seen.get(identifier, date + 1):
            kinds[identifier] = kind
            first_seen[identifier] = day
    return kinds, first_seen


def _days_of_links(links: Iterable[Link], date: int) -> dict[Pair, tuple[int, int]]:
    """First and last day up to `date` of every pair seen together."""
    days: dict[Pair, tuple[int, int]] = {}
    for a, b, day in links:
        if day <= date and a != b:
            first, last = days.get((a, b), (day, day))
            days[a, b] = (min(first, day), max(last, day))
    return days


def _excluded(kinds: Mapping[str, str], pairs: Iterable[Pair], rules: IdentityRules) -> dict[str, str]:
    """Identifiers that do not cluster, with `blocked` or `shared`.

    Distinct unblocked neighbours count, over expired links and shared neighbours too; so a shared identifier
    never ceases to be one as evidence and days are added.
    """
    excluded = {i: "blocked" for i, kind in kinds.items() if rules.is_blocked(i, kind)}
    neighbours: dict[tuple[str, str], int] = {}
    for a, b in pairs:
        if a in excluded or b in excluded:
            continue
        for one, other in ((a, b), (b, a)):
            namespace = namespace_of(kinds[other])
            if namespace in rules.facts(kinds[one]).rule.shared_above:
                neighbours[one, namespace] = neighbours.get((one, namespace), 0) + 1
    for (identifier, namespace), number in neighbours.items():
        if number > rules.facts(kinds[identifier]).rule.shared_above[namespace]:
            excluded[identifier] = "shared"
    return excluded


def _live_links(
    days: Mapping[Pair, tuple[int, int]],
    kinds: Mapping[str, str],
    units: Mapping[str, Vector],
    rules: IdentityRules,
    date: int,
) -> list[tuple[Rank, str, str]]:
    """Links between identifiers that cluster, not yet expired on `date`, by rank."""
    live: list[tuple[Rank, str, str]] = []
    for (a, b), (first, last) in days.items():
        if a in units and b in units:
            facts_a, facts_b = rules.facts(kinds[a]), rules.facts(kinds[b])
            expires = expiry_day(facts_a, facts_b, last)
            if expires is None or date < expires:
                live.append((rank(a, b, facts_a, facts_b, first, last), a, b))
    return sorted(live)


def _refused(
    pairs: Sequence[Pair], profile_of: Mapping[str, str], groups: Mapping[str, Group], limits: Limits
) -> dict[Pair, Refusal]:
    """For each pair across two clusters, what stands against joining these two."""
    refused: dict[Pair, Refusal] = {}
    for a, b in pairs:
        if profile_of[a] != profile_of[b]:
            x, y = groups[profile_of[a]], groups[profile_of[b]]
            crossing = [min((m, far), (far, m)) for m, far in x.nevers if profile_of[far] == profile_of[b]]
            refusal = refusal_between(crossing, x.counts, y.counts, limits)
            assert refusal is not None, "a pair across two clusters is always refused"
            refused[a, b] = refusal
    return refused
