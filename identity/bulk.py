"""The assignment of all evidence at once: what `clusters` says without overrides, computed in columns.

Invariant: equal to the pure function, identifier by identifier. Limits are monotone, so a component of live links
that keeps every limit as a whole is one cluster: no part of it breaks one, and none of its links is refused. Only the
other components go through `arrange`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from identity.clusters import arrange, refusal_between
from identity.evidence import Pair
from identity.limits import Refusal
from identity.packs import Pack
from identity.rules import IdentityRules, KindFacts, Rank, expiry_day, weaker

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER = 1 << 40
"""A day that does not come."""
_BLOCK = 4_000
"""Packs that are made together."""


class Evidence(NamedTuple):
    """Evidence of days up to a date: n identifiers ascending, m pairs of places among them, each pair once."""

    ids: pa.StringArray
    kinds: list[str]
    kind: Ints
    """Place in `kinds`, shape (n)."""
    first_seen: Ints
    """Day, shape (n)."""
    a: Ints
    b: Ints
    first: Ints
    last: Ints
    """Days of the pair, shape (m)."""

    @staticmethod
    def of(sightings: pa.Table, links: pa.Table) -> "Evidence":
        """From (identifier_id, kind, first), ids ascending and each once, and (a, b, first, last), each pair once.

        A pair with an end that was not sighted is left out: its evidence is still on its way, whole.
        """
        ids = pa.concat_arrays([pa.array([], pa.utf8()), *sightings["identifier_id"].chunks])
        kind = sightings["kind"].combine_chunks().cast(pa.utf8()).dictionary_encode()
        a, b = (pc.index_in(links[end].combine_chunks(), ids) for end in "ab")
        known = pc.and_(pc.and_(a.is_valid(), b.is_valid()), pc.not_equal(a, b))
        columns = [a, b, links["first"].combine_chunks(), links["last"].combine_chunks()]
        return Evidence(
            ids,
            kind.dictionary.to_pylist(),
            _ints(kind.indices),
            _ints(sightings["first"].combine_chunks()),
            *(_ints(column.filter(known)) for column in columns),
        )


@dataclass(frozen=True)
class Bulk:
    """Who is who, and what a resolver must know to go on from there; places are those of the evidence."""

    evidence: Evidence
    facts: list[KindFacts]
    """Of each kind."""
    is_blocked: Bools
    is_shared: Bools
    counters: Ints
    """Distinct neighbours by counted namespace, shape (n, most counted by one kind)."""
    profile: Ints
    """Place of the founding identifier; its own where an identifier does not cluster."""
    counts: Ints
    """Of the cluster that an identifier founds, clipped; shape (n, limited namespaces)."""
    bottleneck: Ints
    """Pair of the greatest rank within the cluster of two and more that an identifier founds."""
    expires: Ints
    """First day on which a pair no longer counts; NEVER for those that count for ever."""
    is_live: Bools
    """Pairs of identifiers that cluster, not yet expired."""
    is_kept: Bools
    """Pairs that a resolver must know: those that may join, and those that are counted."""
    refused: dict[int, Refusal]
    """Pair → what stands against it."""

    # rows -------------------------------------------------------------------------------------------------

    @property
    def excluded(self) -> tuple[pa.Array, pa.Array]:
        """Identifiers that do not cluster, and why."""
        at = np.flatnonzero(self.is_blocked | self.is_shared)
        why = np.where(self.is_blocked[at], "blocked", "shared").astype(object)
        return self.evidence.ids.take(pa.array(at)), pa.array(why, pa.utf8())

    @property
    def identity_map(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Identifiers whose row says something, their profiles and states."""
        ids, excluded = self.evidence.ids, self.is_blocked | self.is_shared
        at = np.flatnonzero(excluded | (self.profile != np.arange(len(ids))))
        state = np.where(self.is_blocked[at], "blocked", np.where(self.is_shared[at], "shared", "member"))
        profile = ids.take(pa.array(self.profile[at]))
        return ids.take(pa.array(at)), profile, pa.array(state.astype(object), pa.utf8())

    @property
    def clusters(self) -> tuple[pa.Array, pa.Array]:
        """Profiles of two members and more, and their members ascending."""
        places, bounds = self._members()
        founders = np.flatnonzero(np.diff(bounds))
        starts = pa.array(bounds[np.append(founders, len(self.profile))], pa.int32())
        ids = self.evidence.ids
        return ids.take(pa.array(founders)), pa.ListArray.from_arrays(starts, ids.take(pa.array(places)))

    @property
    def refused_links(self) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
        """Ends of refused links, reasons and blockers."""
        pairs = np.fromiter(self.refused, np.int64, len(self.refused))
        ends = (self.evidence.ids.take(pa.array(end[pairs])) for end in (self.evidence.a, self.evidence.b))
        said = self.refused.values()
        return (
            *ends,
            pa.array([r.reason for r in said], pa.utf8()),
            pa.array([r.blocker for r in said], pa.utf8()),
        )

    def _members(self) -> tuple[Ints, Ints]:
        """Places of members of two and more by their founder, and where those of each place start."""
        places = np.flatnonzero(np.bincount(self.profile)[self.profile] > 1)
        return _grouped(len(self.profile), self.profile[places], places)

    # state ------------------------------------------------------------------------------------------------

    def packs(self, size: int) -> Iterator[Pack]:
        """What a resolver must know, in packs of `size` identifiers, ascending."""
        of, count = self.evidence, len(self.evidence.ids)
        near, near_at = self._neighbours()
        pairs, pairs_at = _grouped(count, of.a[self.is_kept], np.flatnonzero(self.is_kept))
        members, members_at = self._members()
        degrees, smaller_ends, sizes = np.diff(near_at), np.diff(pairs_at), np.diff(members_at)
        refused = np.fromiter(self.refused, np.int64, len(self.refused))
        contested = np.zeros(count, bool)
        contested[self.profile[np.append(of.a[refused], of.b[refused])]] = True
        named = np.flatnonzero(sizes | contested)
        bounds = np.append(np.arange(0, count, size), count)
        for block in range(0, len(bounds) - 1, _BLOCK):
            at = bounds[block : block + _BLOCK + 1]
            here, named_at = slice(at[0], at[-1]), np.searchsorted(named, at)
            pair = pairs[pairs_at[at[0]] : pairs_at[at[-1]]]
            found = named[named_at[0] : named_at[-1]]
            state = np.where(self.is_blocked[here], 1, np.where(self.is_shared[here], 2, 0))
            columns = (
                _cut(_texts(of.ids[here]), at),
                _cut([of.kinds[kind] for kind in of.kind[here].tolist()], at),
                _cut(of.first_seen[here].tolist(), at),
                _cut(self._names(self.profile[here]), at),
                _cut(state.tolist(), at),
                _cut(self.counters[here].ravel().tolist(), at * self.counters.shape[1]),
                _cut(degrees[here].tolist(), at),
                _cut(self._names(near[near_at[at[0]] : near_at[at[-1]]]), near_at[at]),
                _cut(smaller_ends[here].tolist(), at),
                _cut(self._names(of.b[pair]), pairs_at[at]),
                _cut(of.first[pair].tolist(), pairs_at[at]),
                _cut(of.last[pair].tolist(), pairs_at[at]),
                [self._refusals(found) for found in _cut(pair.tolist(), pairs_at[at])],
                _cut((found % size).tolist(), named_at),
                _cut(self.counts[found].ravel().tolist(), named_at * self.counts.shape[1]),
                _cut(self._bottlenecks(found, sizes[found]), named_at),
                _cut(contested[found].tolist(), named_at),
                _cut(sizes[found].tolist(), named_at),
                _cut(self._names(members[members_at[at[0]] : members_at[at[-1]]]), members_at[at]),
            )
            yield from itertools.starmap(Pack, zip(*columns, strict=True))

    def _neighbours(self) -> tuple[Ints, Ints]:
        """Places of those that cluster and were seen with another one that does, and where those of each start."""
        of, usable = self.evidence, ~(self.is_blocked | self.is_shared)
        both = usable[of.a] & usable[of.b]
        a, b = of.a[both], of.b[both]
        return _grouped(len(usable), np.append(a, b), np.append(b, a))

    def _names(self, places: Ints) -> list[str]:
        return _texts(self.evidence.ids.take(pa.array(places)))

    def _refusals(self, pairs: list[int]) -> dict[int, tuple[str, str]]:
        if not self.refused:
            return {}
        found = ((n, self.refused.get(pair)) for n, pair in enumerate(pairs))
        return {n: (refusal.reason, refusal.blocker) for n, refusal in found if refusal}

    def _bottlenecks(self, founders: Ints, sizes: Ints) -> list[Rank]:
        """Of the clusters of some founders; `()` where the size is 0, as the founder is alone."""
        ranks: list[Rank] = [()] * len(founders)
        joined = np.flatnonzero(sizes)
        pairs = self.bottleneck[founders[joined]]
        strength, day = _rank_of(self.evidence, self.facts, pairs)
        ends = self._names(self.evidence.a[pairs]), self._names(self.evidence.b[pairs])
        for at, rank in zip(
            joined.tolist(), zip(strength.tolist(), day.tolist(), *ends, strict=True), strict=True
        ):
            ranks[at] = rank
        return ranks

    def due(self) -> dict[int, list[Pair]]:
        """Pairs by the day on which they expire, of those that have not."""
        pairs = np.flatnonzero(self.is_live & (self.expires < NEVER))
        found: dict[int, list[Pair]] = {}
        ends = (self._names(end[pairs]) for end in (self.evidence.a, self.evidence.b))
        for day, *pair in zip(self.expires[pairs].tolist(), *ends, strict=True):
            found.setdefault(day, []).append((pair[0], pair[1]))
        return found


def assigned(evidence: Evidence, rules: IdentityRules, date: int) -> Bulk:
    """What all evidence says on `date`, without overrides. O(n log n) for n pieces of evidence."""
    facts = [rules.facts(kind) for kind in evidence.kinds]
    kind, a, b = evidence.kind, evidence.a, evidence.b
    listed = pc.is_in(evidence.ids, pa.array(sorted(rules.blocked_ids), pa.utf8()))
    is_blocked = np.array([f.is_blocked for f in facts], bool)[kind] | listed.to_numpy(zero_copy_only=False)
    place = _table(facts, lambda end, far: end.counted.get(far.rule.name, (None,))[0])
    most = np.full((len(facts), max((len(f.counted) for f in facts), default=0)), NEVER)
    for row, fact in enumerate(facts):
        for at, limit in fact.counted.values():
            most[row, at] = limit
    counters = _counters(evidence, place, most.shape[1], is_blocked)
    is_shared = (counters > most[kind]).any(axis=1)
    usable = ~(is_blocked | is_shared)
    both = usable[a] & usable[b]
    counted = (usable[a] & (place[kind[a], kind[b]] < NEVER)) | (
        usable[b] & (place[kind[b], kind[a]] < NEVER)
    )
    lives = _table(facts, lambda one, two: expiry_day(one, two, 0))
    expires = np.where(lives[kind[a], kind[b]] < NEVER, evidence.last + lives[kind[a], kind[b]], NEVER)
    is_live = both & (date < expires)
    pairs = np.flatnonzero(is_live)
    strength, day = _rank_of(evidence, facts, pairs)
    pairs = pairs[np.lexsort((b[pairs], a[pairs], day, strength))]

    cluster = _clusters(evidence, facts, rules, pairs)
    profile = _founders(cluster, evidence.first_seen, np.array([f.strength for f in facts], np.int64)[kind])
    counts = _counts(profile, facts, kind, rules)
    inside = profile[a[pairs]] == profile[b[pairs]]
    bottleneck = np.zeros(len(kind), np.int64)
    bottleneck[profile[a[pairs[inside]]]] = pairs[inside]  # the last of a cluster stays: the greatest rank
    refused = _refused(pairs[~inside], profile[a], profile[b], counts, rules)
    return Bulk(
        evidence, facts, is_blocked, is_shared, counters, profile, counts, bottleneck, expires, is_live,
        both | (counted & ~is_blocked[a] & ~is_blocked[b]), refused,
    )  # fmt: skip


def components(count: int, a: Ints, b: Ints) -> Ints:
    """Smallest place of each one's component, for `count` places and edges a–b.

    >>> components(5, np.array([3, 1]), np.array([1, 4])).tolist()
    [0, 1, 2, 1, 1]

    Hooking of roots and pointer jumping (Y. Shiloach, U. Vishkin, "An O(log n) parallel connectivity algorithm",
    J. Algorithms 3, 1982).
    """
    root = np.arange(count)
    while True:
        x, y = root[a], root[b]
        apart = x != y
        if not apart.any():
            return root
        a, b, x, y = a[apart], b[apart], x[apart], y[apart]
        np.minimum.at(root, np.maximum(x, y), np.minimum(x, y))
        while not np.array_equal(root, above := root[root]):
            root = above


def _texts(values: pa.Array) -> list[str]:
    texts: list[str] = values.to_numpy(zero_copy_only=False).tolist()  # several times as fast as `to_pylist`
    return texts


def _ints(values: pa.Array) -> Ints:
    return np.asarray(values.to_numpy(), np.int64)


def _table(facts: list[KindFacts], value: Any) -> Ints:
    """Of each two kinds; NEVER for None."""
    rows = [[NEVER if (said := value(one, two)) is None else said for two in facts] for one in facts]
    return np.array(rows, np.int64).reshape(len(facts), len(facts))


def _counters(evidence: Evidence, place: Ints, width: int, is_blocked: Bools) -> Ints:
    """Distinct unblocked neighbours of each identifier by counted namespace."""
    among = ~(is_blocked[evidence.a] | is_blocked[evidence.b])
    a, b = evidence.a[among], evidence.b[among]
    end, far = np.append(a, b), np.append(b, a)
    at = place[evidence.kind[end], evidence.kind[far]]
    flat = np.bincount(end[at < NEVER] * width + at[at < NEVER], minlength=len(is_blocked) * width)
    return flat.reshape(len(is_blocked), width)


def _rank_of(evidence: Evidence, facts: list[KindFacts], pairs: Ints) -> tuple[Ints, Ints]:
    """Strength and day by which these pairs are ranked (`identity.rules.rank`)."""
    ends = evidence.kind[evidence.a[pairs]], evidence.kind[evidence.b[pairs]]
    strength = _table(facts, lambda one, two: weaker(one, two).strength)[ends]
    is_latest = _table(facts, lambda one, two: weaker(one, two).rule.keep == "latest")[ends]
    return strength, np.where(is_latest, -evidence.last[pairs], evidence.first[pairs])


def _clusters(evidence: Evidence, facts: list[KindFacts], rules: IdentityRules, pairs: Ints) -> Ints:
    """One member's place as the name of each one's cluster; `pairs` are the live ones by rank."""
    a, b = evidence.a[pairs], evidence.b[pairs]
    cluster = components(len(evidence.ids), a, b)
    breaks = rules.limits.breaks(_counts(cluster, facts, evidence.kind, rules))[cluster]
    nodes = np.flatnonzero(breaks)
    if not len(nodes):
        return cluster
    names = _texts(evidence.ids.take(pa.array(nodes)))
    place = dict(zip(names, nodes.tolist(), strict=True))
    ends = (_texts(evidence.ids.take(pa.array(end[breaks[a]]))) for end in (a, b))
    units = {name: facts[k].unit for name, k in zip(names, evidence.kind[nodes].tolist(), strict=True)}
    for group in arrange(units, [], [], zip(itertools.repeat(()), *ends), rules.limits):
        places = [place[name] for name in group.members]
        cluster[places] = places[0]
    return cluster


def _founders(cluster: Ints, first_seen: Ints, strength: Ints) -> Ints:
    """Place of the member of each one's cluster that was first seen, then is the strongest, then has the least id."""
    order = np.lexsort((strength, first_seen))[::-1]
    founder = np.zeros(len(order), np.int64)
    founder[cluster[order]] = order  # the last of a cluster stays
    return founder[cluster]


def _counts(cluster: Ints, facts: list[KindFacts], kind: Ints, rules: IdentityRules) -> Ints:
    """Counts of each cluster at the place that names it."""
    units = np.array([f.unit for f in facts], np.int64).reshape(len(facts), len(rules.limits.zero))
    counts = np.zeros((len(kind), units.shape[1]), np.int64)
    for name in range(units.shape[1]):
        counts[:, name] = np.bincount(cluster, units[kind, name], len(kind))
    return np.minimum(counts, np.array(rules.limits.caps, np.int64))


def _refused(pairs: Ints, one: Ints, two: Ints, counts: Ints, rules: IdentityRules) -> dict[int, Refusal]:
    """What stands against each of these pairs, which lie between the clusters founded by `one` and `two`."""
    known: dict[tuple[Any, ...], Refusal | None] = {}
    refused: dict[int, Refusal] = {}
    for pair in pairs.tolist():
        both = tuple(counts[one[pair]].tolist()), tuple(counts[two[pair]].tolist())
        if both not in known:
            known[both] = refusal_between([], *both, rules.limits)
        refusal = known[both]
        assert refusal is not None, "a pair across two clusters is always refused"
        refused[pair] = refusal
    return refused


def _grouped(count: int, key: Ints, value: Ints) -> tuple[Ints, Ints]:
    """Values in the order of their keys, and where those of each of `count` keys start."""
    order = np.argsort(key, kind="stable")
    return value[order], np.append(0, np.cumsum(np.bincount(key, minlength=count)))


def _cut(column: list[Any], bounds: Ints) -> list[list[Any]]:
    """The parts of a column that begins at the first of the bounds."""
    at = (bounds - bounds[0]).tolist()
    return [column[start:end] for start, end in itertools.pairwise(at)]
