"""One batch of evidence: what it changes at once, and what it leaves to be settled at its end.

Invariant: the clean clusters are exact for all evidence but what waits to be settled. A cluster is *dirty*
when no fast path decides a link of it; whatever touches a dirty cluster makes the other end dirty too.
"""

from collections.abc import Iterable

from identity.changes import Cause, Changes, Move
from identity.evidence import Link, Override, Sighting
from identity.records import Cluster, Couple, Identifier, State, stored_refusal
from identity.region import Region
from identity.rules import IdentityRules, Rank
from identity.working_set import WorkingSet
from schemas.ids import ordered


class Batch:
    """One call's work on a working set."""

    def __init__(self, state: State, rules: IdentityRules, date: int, cause: Cause) -> None:
        self.set = WorkingSet(state, rules, date)
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

    def take_waiting(self, name: str, day: int, chunk: int) -> None:
        """Take up a portion of what waited for a day: pairs to look at (`due`) or evidence (`later`)."""
        items = self.set.waiting(name, day, chunk)
        if name == "due":
            for a, b, what in items:
                self._look_again(a, b, what)
            return
        sightings = [Sighting(id_, kind, day) for what, id_, kind, _ in items if what == "sighting"]
        self.take(sightings, [Link(a, b, day) for what, a, b, _ in items if what == "link"], ())

    def _look_again(self, a: str, b: str, what: str) -> None:
        """The day has come on which the pair may lose its `link` or its `override`."""
        couple = self.set.couple(a, b)
        if not couple.is_usable:
            return
        if what == "override":
            if self.set.verb(couple) == "none":
                self._changed_at_will(couple, "expiry")
        elif not self._await_expiry(couple) and not self.set.is_edge(couple):
            if couple.refusal:
                couple.refusal = None
            elif couple.x.profile == couple.y.profile:
                self._soil(couple.x.profile, "expiry", f"{a} {b}")

    def finish(self) -> Changes:
        """Settle what is dirty, write the state, tell what changed."""
        self._settle()
        changes = Changes(touched=self._touched)
        for identifier in self.set.identifiers.values():
            self._tell_identifier(identifier, changes)
        for pair, couple in self.set.couples.items():
            if couple.refusal != stored_refusal(couple.stored):
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
            couple = self.set.couple(*ordered(identifier.id, other))
            if couple.is_usable:
                self._changed_at_will(couple, "override")

    def _refound(self, identifier: Identifier) -> None:
        """A member was seen earlier than known: the cluster may now be named by it."""
        founder = self.set.identifier(identifier.profile)
        if founder.founding <= identifier.founding:
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
        couple.days = (day, day)
        x_overflows, y_overflows = x_counts and _count(x, y), y_counts and _count(y, x)
        if x_overflows:
            self._share(x)
        if y_overflows:
            self._share(y)
        if couple.is_usable and self._await_expiry(couple):
            self._insert(couple)

    def _counts(self, end: Identifier, far: Identifier) -> bool:
        """True when `far` is of a namespace that decides whether `end` is shared."""
        return not end.exclusion and far.facts.rule.name in end.facts.counted

    def _seen_again(self, couple: Couple, day: int) -> None:
        """A pair is seen on a day outside those known: its rank betters, or it comes back to life."""
        assert couple.days
        if not couple.is_usable:
            return
        was_live = self.set.is_live(couple)
        couple.days = (min(couple.days[0], day), max(couple.days[1], day))
        if not was_live:
            was_live = self._await_expiry(couple)
        if was_live:
            self._insert(couple)

    def _override(self, override: Override) -> None:
        """A steward's word; it changes something when it is the newest of its pair."""
        a, b = ordered(override.a, override.b)
        if a == b:
            return
        couple = self.set.couple(a, b)
        known = couple.override
        if known and (override.at, override.id) <= (known[1], known[2]):
            return
        if couple.record() is None and not (couple.x.exclusion or couple.y.exclusion):
            self.set.make_neighbours(couple.x, couple.y)
        before = self.set.verb(couple)
        couple.override = (override.verb, override.at, override.id, override.expires_on)
        if override.expires_on is not None and override.expires_on > self._date:
            self.set.wait("due", override.expires_on, (a, b, "override"))
        verb = self.set.verb(couple)
        # a force-link that is said again comes earlier among those that are contracted
        if couple.is_usable and (verb != before or verb == "force"):
            self._changed_at_will(couple, "override")

    def _changed_at_will(self, couple: Couple, cause: Cause) -> None:
        """An override of the pair began or ceased to hold."""
        if not self.set.is_edge(couple):
            couple.refusal = None
        for end in (couple.x, couple.y):
            self._soil(end.profile, cause, " ".join(couple.pair))

    def _share(self, identifier: Identifier) -> None:
        """An identifier has become shared, for good: it leaves its cluster and forgets its neighbours."""
        self._soil(identifier.profile, "sharing", identifier.id)
        self._causes[identifier.id] = ("sharing", identifier.id)
        identifier.exclusion = "shared"
        for other in self.set.neighbours(identifier):
            self._touched.add(other)
            couple, far = self.set.couple(*ordered(identifier.id, other)), self.set.identifier(other)
            couple.refusal = None
            if not self._counts(far, identifier):
                couple.days = None
        identifier.degree = 0
        identifier.fresh = []

    def _await_expiry(self, couple: Couple) -> bool:
        """Register the day on which a live link expires as things stand; False when it is not live."""
        expires = self.set.expiry(couple)
        if expires is None:
            return True
        if self._date < expires:
            self.set.wait("due", expires, (*couple.pair, "link"))
        return self._date < expires

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

    def _insert(self, couple: Couple) -> None:
        """A live link is new, or its rank is better: the fast paths."""
        if couple.x.profile == couple.y.profile:
            return
        evidence = " ".join(couple.pair)
        one, two = self.set.cluster(couple.x.profile), self.set.cluster(couple.y.profile)
        if one.profile not in self._dirty and two.profile not in self._dirty:
            refusal = self.set.refusal(one, two)
            at = self.set.rank(couple)
            if refusal is None and not self._disturbs(one, two):
                self._unite(one, two, at, evidence)
                return
            if refusal is not None and at > one.bottleneck and at > two.bottleneck:
                couple.refusal = refusal
                one.contested = two.contested = True
                return
        self._soil(one.profile, self._cause, evidence)
        self._soil(two.profile, self._cause, evidence)

    def _disturbs(self, one: Cluster, two: Cluster) -> bool:
        """True when their union may change the reason for which links of either are refused."""
        if not (one.contested or two.contested):
            return False
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

    def _settle(self) -> None:
        """Recompute what is dirty."""
        if not self._dirty:
            return
        anyhow = next(iter(self._dirty.values()))
        for identifier, profile in Region(self.set).settle(self._dirty).items():
            self._causes[identifier] = self._dirty.get(profile, anyhow)


def _count(end: Identifier, far: Identifier) -> bool:
    """Count a neighbour that decides whether `end` is shared; True when it now is."""
    place, most = end.facts.counted[far.facts.rule.name]
    counters = list(end.counters)
    counters[place] += 1
    end.counters = tuple(counters)
    return counters[place] > most
