"""The resolver: keeps the assignment of `clusters` while evidence arrives, touching only what can change.

Invariant: after every call the state says what the pure function says of all evidence given so far, on the
date in force. Four facts carry that (proofs: docs/decisions/incremental-identity.md):

- a link inside one cluster is accepted and changes nothing, whatever its rank, and so does a better rank of
  an accepted link; evidence only ever betters ranks;
- a link whose two clusters together keep all limits is a plain union;
- a link whose union breaks a limit, ranked after everything that joined either cluster, is refused;
- all else is *dirty*: once per batch the dirty clusters, with a rim of the clusters next to them over refused
  links, go through `arrange`; while a cluster of the rim changes, it joins them and the rim moves outward.

Dirty clusters stay as they are until the end of the batch, and what touches one makes the other end dirty
too, so at any moment the clean ones are exact for the evidence without what is yet to be settled.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from identity.clusters import Assignment, Group, arrange, clusters, refusal_between
from identity.evidence import Link, Override, Pair, Sighting, namespace_of
from identity.limits import Refusal
from identity.rules import IdentityRules, Rank, expiry_day, rank
from identity.working_set import (
    Cluster,
    Couple,
    Identifier,
    IdentityRow,
    MemoryState,
    State,
    WorkingSet,
)
from schemas.ids import ordered

__all__ = ["Changes", "IdentityRow", "MemoryState", "Move", "Resolver", "State"]

Cause = Literal["link", "override", "expiry", "sharing", "date"]


class Move(NamedTuple):
    """An identifier went from one profile to another, as the journal tells it."""

    identifier: str
    from_profile: str
    to_profile: str
    cause: str
    evidence: str
    """The identifiers concerned, separated by a space."""


@dataclass
class Changes:
    """What one call changed, row by row; all empty when nothing did.

    `clusters`: profile_id → members ascending, of two and more; () where there is none any more: the profile
    joined another, or its founding identifier is left alone (`current` tells which). `refused`: None where a
    link is refused no longer. `touched`: identifiers seen with one that became shared; their rows may stand,
    but events may now count for them.
    """

    identifiers: dict[str, IdentityRow] = field(default_factory=dict)
    clusters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    refused: dict[Pair, Refusal | None] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


class Resolver:
    """Incremental `clusters` over a key-value state that belongs to one workspace and one ruleset.

    `date` is the date in force of a new state; a state in use keeps its own. With `check` every call compares
    the state with the pure function (for tests; needs a new state).
    """

    def __init__(self, state: State, rules: IdentityRules, date: int, *, check: bool = False) -> None:
        self._state = state
        self._rules = rules
        self._checked = _Check() if check else None
        known = state.get("date")
        assert known is None or not check, "a checked resolver needs a new state"
        if known is None:
            state.put("date", date)
        self.date: int = date if known is None else known

    def add(
        self,
        sightings: Iterable[Sighting] = (),
        links: Iterable[Link] = (),
        overrides: Iterable[Override] = (),
    ) -> Changes:
        """Take evidence in, in any order, as often as it comes; what lies after the date in force waits.

        Raises ValueError for a link whose end was never sighted, neither in this call nor in an earlier one;
        nothing is written then. O(1) per piece of evidence, besides clusters that change.
        """
        if self._checked:
            sightings, links, overrides = list(sightings), list(links), list(overrides)
            self._checked.sightings.extend(sightings)
            self._checked.links.extend(links)
            self._checked.overrides.extend(overrides)
        batch = _Batch(self._state, self._rules, self.date, "link")
        batch.take(sightings, links, overrides)
        return self._finish(batch)

    def advance(self, date: int) -> Changes:
        """Move the date in force to `date`; an earlier one changes nothing, as the greatest is in force."""
        if date <= self.date:
            return Changes()
        batch = _Batch(self._state, self._rules, date, "date")
        days = range(self.date + 1, date + 1)
        for day in days:
            for a, b, what in batch.set.due("due", day):
                batch.look_again(a, b, what)
        waiting = [item for day in days for item in batch.set.due("later", day)]
        batch.take(
            [Sighting(i[1], i[2], int(i[3])) for i in waiting if i[0] == "sighting"],
            [Link(i[1], i[2], int(i[3])) for i in waiting if i[0] == "link"],
            (),
        )
        self.date = date
        return self._finish(batch)

    def current(self, identifier: str) -> IdentityRow:
        """What the row of the identifier says; itself as a member when nothing is known of it."""
        return Identifier(identifier, self._state.get("i:" + identifier), self._rules).row

    def members(self, profile_id: str) -> tuple[str, ...]:
        """What the row of the cluster says: members ascending, () when they are fewer than two."""
        members: tuple[str, ...] | None = self._state.get("m:" + profile_id)
        return members or ()

    def refusal(self, a: str, b: str) -> Refusal | None:
        """Why the pair is refused; None when it is not."""
        return Couple(a, b, self._state.get(f"l:{a}:{b}")).refusal

    def _finish(self, batch: "_Batch") -> Changes:
        changes = batch.finish()
        self._state.put("date", self.date)
        if self._checked:
            self._checked.compare(self)
        return changes


class _Batch:
    """One call's work on a working set."""

    def __init__(self, state: State, rules: IdentityRules, date: int, cause: Cause) -> None:
        self.set = WorkingSet(state, rules)
        self._rules = rules
        self._limits = rules.limits
        self._date = date
        self._cause: Cause = cause
        self._dirty: dict[str, tuple[Cause, str]] = {}
        self._causes: dict[str, tuple[Cause, str]] = {}
        self._touched: set[str] = set()

    def take(
        self, sightings: Iterable[Sighting], links: Iterable[Link], overrides: Iterable[Override]
    ) -> None:
        """Take evidence in; sightings first, as a link needs to know its ends."""
        date, working = self._date, self.set
        for identifier, kind, day in sightings:
            if day > date:
                working.wait("later", day, ("sighting", identifier, kind, str(day)), once=True)
                continue
            since = working.sighted_since(identifier)
            if since is None or day < since:
                self._sight(working.identifier(identifier), kind, day)
        for a, b, day in links:
            if day > date:
                working.wait("later", day, ("link", a, b, str(day)), once=True)
                continue
            days = working.days(a, b)
            if days is None:
                self._first_link(a, b, day)
            elif not days[0] <= day <= days[1]:
                self._seen_again(working.couple(a, b), day)
        for override in overrides:
            self._override(override)

    def look_again(self, a: str, b: str, what: str) -> None:
        """The day has come on which the pair may lose its `link` or its `override`."""
        couple, x, y = self.set.couple(a, b), self.set.identifier(a), self.set.identifier(b)
        if not (x.is_usable and y.is_usable):
            return
        if what == "override":
            if self._verb(couple) == "none":
                self._changed_at_will(couple, x, y, "expiry")
        elif not self._await_expiry(couple, x, y) and not self._is_edge(couple, x, y):
            if couple.refusal:
                couple.refusal = None
            elif x.profile == y.profile:
                self._soil(x.profile, "expiry", f"{a} {b}")

    def finish(self) -> Changes:
        """Settle what is dirty, write the state, tell what changed."""
        self._settle()
        changes = Changes(touched=self._touched)
        for identifier in self.set.identifiers.values():
            self._tell_identifier(identifier, changes)
        for pair, couple in self.set.couples.items():
            before = Couple(*pair, couple.stored).refusal if couple.stored else None
            if couple.refusal != before:
                changes.refused[pair] = couple.refusal
        for profile, before_members in self.set.published.items():
            members = self.set.published_members(profile)
            if members is not None and members != before_members:
                changes.clusters[profile] = members
        self.set.flush()
        return changes

    def _tell_identifier(self, identifier: Identifier, changes: Changes) -> None:
        """Add what changed of one identifier."""
        id_, stored = identifier.id, identifier.stored
        was_profile, was_excluded = (stored[2], stored[3]) if stored else (id_, "")
        if identifier.exclusion != was_excluded:
            changes.excluded[id_] = identifier.exclusion
        elif identifier.profile == was_profile:
            return
        changes.identifiers[id_] = identifier.row
        if identifier.profile != was_profile:
            cause, evidence = self._causes.get(id_, (self._cause, id_))
            changes.moves.append(Move(id_, was_profile, identifier.profile, cause, evidence))
            if was_profile == id_ and identifier.profile != id_:
                changes.clusters[id_] = ()

    # evidence

    def _sight(self, identifier: Identifier, kind: str, day: int) -> None:
        """An identifier is seen for the first time, or earlier than known."""
        is_new = identifier.first_day is None
        identifier.first_day = day
        if not is_new:
            if identifier.is_usable and identifier.profile not in self._dirty:
                self._refound(identifier)
            return
        identifier.kind = kind
        identifier.facts = self._rules.facts(kind)
        identifier.counters = (0,) * len(identifier.facts.counted)
        if self._rules.is_blocked(identifier.id, kind):
            identifier.exclusion = "blocked"
            return
        for other in list(self.set.neighbours(identifier)):
            couple, far = self.set.couple(*ordered(identifier.id, other)), self.set.identifier(other)
            if far.is_usable and self._verb(couple) != "none":
                self._changed_at_will(couple, identifier, far, "override")

    def _refound(self, identifier: Identifier) -> None:
        """A member was seen earlier than known: the cluster may now be named by it."""
        founder = self.set.identifier(identifier.profile)
        if founder is identifier or founder.founding < identifier.founding:
            return
        cluster = self.set.cluster(founder.id)
        renamed = Cluster(identifier.id, cluster.counts, None)
        renamed.bottleneck, renamed.nevers, renamed.contested = (
            cluster.bottleneck,
            cluster.nevers,
            cluster.contested,
        )
        renamed.members = list(self.set.members(cluster))
        self.set.replace([founder.id], [renamed])
        self._name(renamed.members, identifier.id, (self._cause, identifier.id))

    def _first_link(self, a: str, b: str, day: int) -> None:
        """A pair is seen together for the first time: it may make an end shared, or join two clusters."""
        if a == b:
            return
        x, y = self.set.identifier(a), self.set.identifier(b)
        if x.first_day is None or y.first_day is None:
            raise ValueError(f"link {a} {b} on day {day}: an end was never sighted")
        if x.exclusion == "blocked" or y.exclusion == "blocked":
            return
        x_counts, y_counts = self._counts(x, y), self._counts(y, x)
        if not (x_counts or y_counts or (x.is_usable and y.is_usable)):
            return
        couple = self.set.couple(a, b)
        if couple.record() is None and x.is_usable and y.is_usable:
            self.set.make_neighbours(x, y)
        couple.first = couple.last = day
        overflowing = [
            end for end, far, counts in ((x, y, x_counts), (y, x, y_counts)) if counts and _count(end, far)
        ]
        for end in overflowing:
            self._share(end)
        if x.is_usable and y.is_usable and self._await_expiry(couple, x, y):
            self._insert(couple, x, y)

    def _counts(self, end: Identifier, far: Identifier) -> bool:
        """True when `far` is of a namespace that decides whether `end` is shared."""
        return not end.exclusion and namespace_of(far.kind) in end.facts.counted

    def _seen_again(self, couple: Couple, day: int) -> None:
        """A pair is seen on a day outside those known: its rank betters, or it comes back to life."""
        x, y = self.set.identifier(couple.a), self.set.identifier(couple.b)
        assert couple.first is not None
        assert couple.last is not None
        if not (x.is_usable and y.is_usable):
            return
        was_live = self._is_live(couple, x, y)
        couple.first, couple.last = min(couple.first, day), max(couple.last, day)
        if not was_live:
            was_live = self._await_expiry(couple, x, y)
        if was_live:
            self._insert(couple, x, y)

    def _override(self, override: Override) -> None:
        """A steward's word; it changes something when it is the newest of its pair."""
        a, b = ordered(override.a, override.b)
        couple, x, y = self.set.couple(a, b), self.set.identifier(a), self.set.identifier(b)
        known = couple.override
        if a == b or (known and (override.at, override.id) <= (known[1], known[2])):
            return
        if couple.record() is None and not (x.exclusion or y.exclusion):
            self.set.make_neighbours(x, y)
        before = self._verb(couple)
        couple.override = (override.verb, override.at, override.id, override.expires_on)
        if override.expires_on is not None and override.expires_on > self._date:
            self.set.wait("due", override.expires_on, (a, b, "override"))
        if x.is_usable and y.is_usable and self._verb(couple) != before:
            self._changed_at_will(couple, x, y, "override")

    def _changed_at_will(self, couple: Couple, x: Identifier, y: Identifier, cause: Cause) -> None:
        """An override of the pair began or ceased to hold."""
        if not self._is_edge(couple, x, y):
            couple.refusal = None
        for end in (x, y):
            self._soil(end.profile, cause, f"{couple.a} {couple.b}")

    def _share(self, identifier: Identifier) -> None:
        """An identifier has become shared, for good: it leaves its cluster and forgets its neighbours."""
        self._soil(identifier.profile, "sharing", identifier.id)
        self.set.members(self.set.cluster(identifier.profile))
        self._causes[identifier.id] = ("sharing", identifier.id)
        identifier.exclusion = "shared"
        for other in self.set.neighbours(identifier):
            self._touched.add(other)
            couple, far = self.set.couple(*ordered(identifier.id, other)), self.set.identifier(other)
            couple.refusal = None
            if not self._counts(far, identifier):
                couple.first = couple.last = None
        identifier.degree = 0
        identifier.fresh = []

    # what a pair says

    def _verb(self, couple: Couple) -> str:
        """Verb of the override that holds for the pair; `none` without one."""
        if couple.override is None:
            return "none"
        verb, _, _, expires_on = couple.override
        return verb if expires_on is None or self._date < expires_on else "none"

    def _is_live(self, couple: Couple, x: Identifier, y: Identifier) -> bool:
        """True when the pair has a link that has not expired."""
        if couple.last is None:
            return False
        expires = expiry_day(x.facts, y.facts, couple.last)
        return expires is None or self._date < expires

    def _await_expiry(self, couple: Couple, x: Identifier, y: Identifier) -> bool:
        """Register the day on which a live link expires as things stand; False when it is not live."""
        assert couple.last is not None
        expires = expiry_day(x.facts, y.facts, couple.last)
        if expires is None:
            return True
        if self._date < expires:
            self.set.wait("due", expires, (couple.a, couple.b, "link"))
        return self._date < expires

    def _is_edge(self, couple: Couple, x: Identifier, y: Identifier) -> bool:
        """True when something speaks for joining the pair: a live link or a force-link."""
        return self._verb(couple) == "force" or self._is_live(couple, x, y)

    def _rank(self, couple: Couple, x: Identifier, y: Identifier) -> Rank:
        assert couple.first is not None
        assert couple.last is not None
        return rank(couple.a, couple.b, x.facts, y.facts, couple.first, couple.last)

    # clusters

    def _soil(self, profile: str, cause: Cause, evidence: str) -> None:
        """Leave a cluster to `_settle`."""
        self._dirty.setdefault(profile, (cause, evidence))

    def _name(self, members: Iterable[str], profile: str, why: tuple[Cause, str]) -> None:
        """Let members belong to a profile."""
        for member in members:
            identifier = self.set.identifier(member)
            if identifier.profile != profile:
                identifier.profile = profile
                self._causes[member] = why

    def _insert(self, couple: Couple, x: Identifier, y: Identifier) -> None:
        """A live link is new, or its rank is better: the fast paths."""
        if x.profile == y.profile:
            return
        evidence = f"{couple.a} {couple.b}"
        one, two = self.set.cluster(x.profile), self.set.cluster(y.profile)
        if one.profile not in self._dirty and two.profile not in self._dirty:
            refusal = self._refusal(one, two)
            at = self._rank(couple, x, y)
            if refusal is None and not self._disturbs(one, two):
                self._unite(one, two, at, evidence)
                return
            if refusal is not None and at > one.bottleneck and at > two.bottleneck:
                couple.refusal = refusal
                one.contested = two.contested = True
                return
        self._soil(one.profile, self._cause, evidence)
        self._soil(two.profile, self._cause, evidence)

    def _refusal(self, one: Cluster, two: Cluster) -> Refusal | None:
        """What stands against joining two clusters."""
        crossing = (
            ordered(member, far)
            for member, far in one.nevers
            if two.nevers and self.set.identifier(far).profile == two.profile
        )
        return refusal_between(crossing, one.counts, two.counts, self._limits)

    def _disturbs(self, one: Cluster, two: Cluster) -> bool:
        """True when their union may change the reason for which links of either are refused."""
        counts = self._limits.joined(one.counts, two.counts)
        return (one.contested and (counts != one.counts or bool(two.nevers))) or (
            two.contested and (counts != two.counts or bool(one.nevers))
        )

    def _unite(self, one: Cluster, two: Cluster, at: Rank, evidence: str) -> None:
        """Plain union: the cluster with the smaller founding takes the other in."""
        if self.set.identifier(two.profile).founding < self.set.identifier(one.profile).founding:
            one, two = two, one
        members = self.set.members(two)
        self.set.members(one).extend(members)
        one.counts = self._limits.joined(one.counts, two.counts)
        one.bottleneck = max(one.bottleneck, two.bottleneck, at)
        one.nevers += two.nevers
        one.contested = one.contested or two.contested
        self.set.replace([two.profile], [])
        self._name(members, one.profile, (self._cause, evidence))

    # regions

    def _settle(self) -> None:
        """Recompute the dirty clusters and every cluster that changes with them."""
        region = dict.fromkeys(self._dirty)
        edges: dict[str, list[Couple]] = {}
        while region:
            inner = self._usable(region)
            rim = dict.fromkeys(
                self.set.identifier(end).profile
                for i in inner
                for couple in self._couples_at(i, edges)
                for end in (couple.a, couple.b)
            )
            rim = {profile: None for profile in rim if profile not in region}
            nodes = dict.fromkeys([*inner, *self._usable(rim)])
            groups = self._arrange(nodes, edges)
            kept = {frozenset(group.members) for group in groups}
            moved = [p for p in rim if frozenset(self.set.members(self.set.cluster(p))) not in kept]
            if not moved:
                self._commit(region, rim, inner, groups, edges)
                return
            region.update(dict.fromkeys(moved))

    def _usable(self, profiles: Iterable[str]) -> list[str]:
        """Members of clusters that still cluster."""
        return [
            member
            for profile in profiles
            for member in self.set.members(self.set.cluster(profile))
            if self.set.identifier(member).is_usable
        ]

    def _couples_at(self, identifier: str, cache: dict[str, list[Couple]]) -> list[Couple]:
        """Pairs of the identifier with others that cluster: live links, force-links and never-links."""
        if identifier not in cache:
            end = self.set.identifier(identifier)
            found: list[Couple] = []
            for other in self.set.neighbours(end):
                far = self.set.identifier(other)
                if far.is_usable:
                    couple = self.set.couple(*ordered(identifier, other))
                    if self._verb(couple) == "never" or self._is_edge(couple, end, far):
                        found.append(couple)
            cache[identifier] = found
        return cache[identifier]

    def _arrange(self, nodes: dict[str, None], edges: dict[str, list[Couple]]) -> list[Group]:
        """The pure function over some identifiers and the pairs among them."""
        forces: list[tuple[int, str, Pair]] = []
        nevers: list[Pair] = []
        links: list[tuple[Rank, str, str]] = []
        for identifier in nodes:
            for couple in self._couples_at(identifier, edges):
                if couple.a != identifier or couple.b not in nodes:
                    continue
                x, y = self.set.identifier(couple.a), self.set.identifier(couple.b)
                verb = self._verb(couple)
                if verb == "force":
                    assert couple.override
                    forces.append((couple.override[1], couple.override[2], (couple.a, couple.b)))
                elif verb == "never":
                    nevers.append((couple.a, couple.b))
                if self._is_live(couple, x, y):
                    links.append((self._rank(couple, x, y), couple.a, couple.b))
        units = {identifier: self.set.identifier(identifier).facts.unit for identifier in nodes}
        forced = [pair for _, _, pair in sorted(forces, reverse=True)]
        return arrange(units, forced, nevers, sorted(links), self._limits)

    def _commit(
        self,
        region: dict[str, None],
        rim: dict[str, None],
        inner: list[str],
        groups: list[Group],
        edges: dict[str, list[Couple]],
    ) -> None:
        """Put the region's new clusters in the place of the old ones, and say anew what is refused there."""
        own = set(inner)
        why = {i: self._why(self.set.identifier(i).profile) for i in inner}
        for profile in region:
            for member in self.set.members(self.set.cluster(profile)):
                identifier = self.set.identifier(member)
                if not identifier.is_usable:
                    identifier.profile = member
        new: list[Cluster] = []
        for group in groups:
            if group.members[0] in own:
                profile = min(self.set.identifier(i).founding for i in group.members)[2]
                cluster = Cluster(profile, group.counts, None)
                cluster.members = group.members
                cluster.bottleneck, cluster.nevers = group.bottleneck, tuple(sorted(group.nevers))
                new.append(cluster)
                for member in group.members:
                    self._name([member], profile, why[member])
        self.set.replace(region, new)
        for i in inner:
            for couple in edges[i]:
                x, y = self.set.identifier(couple.a), self.set.identifier(couple.b)
                couple.refusal = None
                if x.profile != y.profile and self._is_edge(couple, x, y):
                    one, two = self.set.cluster(x.profile), self.set.cluster(y.profile)
                    couple.refusal = self._refusal(one, two)
                    one.contested = two.contested = True

    def _why(self, profile: str) -> tuple[Cause, str]:
        """What made a cluster dirty, or the clusters from which the change came."""
        return self._dirty.get(profile) or next(iter(self._dirty.values()))


def _count(end: Identifier, far: Identifier) -> bool:
    """Count a neighbour that decides whether `end` is shared; True when it now is."""
    place, most = end.facts.counted[namespace_of(far.kind)]
    counters = list(end.counters)
    counters[place] += 1
    end.counters = tuple(counters)
    return counters[place] > most


class _Check:
    """All evidence given to a resolver, to compare it with the pure function."""

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.links: list[Link] = []
        self.overrides: list[Override] = []

    def compare(self, resolver: Resolver) -> None:
        """Raise AssertionError where the state differs from the pure function."""
        rules: Any = resolver._rules
        expected: Assignment = clusters(self.links, self.sightings, self.overrides, rules, resolver.date)
        for identifier, profile in expected.profile_of.items():
            row = IdentityRow(profile, expected.excluded.get(identifier, "member"))
            assert resolver.current(identifier) == row, (identifier, resolver.current(identifier), row)
            members = expected.members.get(identifier, ())
            assert resolver.members(identifier) == members, (
                identifier,
                resolver.members(identifier),
                members,
            )
        pairs = {(a, b) for a, b, _ in self.links} | {ordered(o.a, o.b) for o in self.overrides}
        for pair in pairs:
            refusal = expected.refused.get(pair)
            assert resolver.refusal(*pair) == refusal, (pair, resolver.refusal(*pair), refusal)
