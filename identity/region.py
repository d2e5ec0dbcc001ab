"""Regions: clusters whose links no fast path decides, computed anew with as few others as can be.

Invariant: what lies outside the region stays as it was, exactly. The rim holds every cluster that a link
reaches from the region; when a cluster of the rim comes out as it went in, its parts came together by the
same links in the same order as before, so nothing beyond it noticed (docs/decisions/incremental-identity.md).
"""

from collections.abc import Iterable

from identity.clusters import Group, arrange
from identity.evidence import Pair
from identity.records import Cluster, Couple
from identity.rules import Rank
from identity.working_set import WorkingSet
from schemas.ids import ordered


class Region:
    """The recomputation of some clusters of a working set."""

    def __init__(self, working: WorkingSet) -> None:
        self._set = working
        self._edges: dict[str, list[Couple]] = {}

    def settle(self, profiles: Iterable[str]) -> dict[str, str]:
        """Recompute these clusters, and every cluster that changes with them.

        Returns the members of the region with the profile each had. O(n log n) for n links of the region and
        its rim, as often as the rim moves.
        """
        region = dict.fromkeys(profiles)
        while True:
            inner = self._usable(region)
            rim = self._rim(region, inner)
            groups = self._arrange(dict.fromkeys([*inner, *self._usable(rim)]))
            kept = {frozenset(group.members) for group in groups}
            moved = [p for p in rim if frozenset(self._set.members(self._set.cluster(p))) not in kept]
            if not moved:
                break
            region.update(dict.fromkeys(moved))
        before = {i: self._set.identifier(i).profile for i in inner}
        self._replace(region, [group for group in groups if group.members[0] in before])
        self._refuse(inner)
        return before

    def _usable(self, profiles: Iterable[str]) -> list[str]:
        """Members of clusters that still cluster."""
        return [
            member
            for profile in profiles
            for member in self._set.members(self._set.cluster(profile))
            if self._set.identifier(member).is_usable
        ]

    def _rim(self, region: dict[str, None], inner: list[str]) -> list[str]:
        """Clusters outside the region that a pair of its members reaches."""
        reached = dict.fromkeys(
            end.profile
            for identifier in inner
            for couple in self._couples_at(identifier)
            for end in (couple.x, couple.y)
        )
        return [profile for profile in reached if profile not in region]

    def _couples_at(self, identifier: str) -> list[Couple]:
        """Pairs of the identifier with others that cluster: live links, force-links and never-links."""
        found = self._edges.get(identifier)
        if found is None:
            found = self._edges[identifier] = []
            for other in self._set.neighbours(self._set.identifier(identifier)):
                if self._set.identifier(other).is_usable:
                    couple = self._set.couple(*ordered(identifier, other))
                    if self._set.is_edge(couple) or self._set.verb(couple) == "never":
                        found.append(couple)
        return found

    def _arrange(self, nodes: dict[str, None]) -> list[Group]:
        """The pure function over some identifiers and the pairs among them."""
        forces: list[tuple[int, str, Pair]] = []
        nevers: list[Pair] = []
        links: list[tuple[Rank, str, str]] = []
        for identifier in nodes:
            for couple in self._couples_at(identifier):
                a, b = couple.pair
                if a != identifier or b not in nodes:
                    continue
                verb = self._set.verb(couple)
                if verb == "force":
                    assert couple.override
                    forces.append((couple.override[1], couple.override[2], (a, b)))
                elif verb == "never":
                    nevers.append((a, b))
                if self._set.is_live(couple):
                    links.append((self._set.rank(couple), a, b))
        units = {identifier: self._set.identifier(identifier).facts.unit for identifier in nodes}
        forced = [pair for _, _, pair in sorted(forces, reverse=True)]
        return arrange(units, forced, nevers, sorted(links), self._set.rules.limits)

    def _replace(self, region: Iterable[str], groups: list[Group]) -> None:
        """Put the new clusters in the place of the region's; what no longer clusters is its own profile."""
        for profile in region:
            for member in self._set.members(self._set.cluster(profile)):
                identifier = self._set.identifier(member)
                if not identifier.is_usable:
                    identifier.profile = member
        new: list[Cluster] = []
        for group in groups:
            profile = min(self._set.identifier(member).founding for member in group.members)[2]
            cluster = Cluster(profile, group.counts, None)
            cluster.members, cluster.bottleneck = group.members, group.bottleneck
            cluster.nevers = tuple(sorted(group.nevers))
            new.append(cluster)
        self._set.replace(region, new)
        for cluster in new:
            for member in self._set.members(cluster):
                self._set.identifier(member).profile = cluster.profile

    def _refuse(self, inner: list[str]) -> None:
        """Say anew which pairs of the region are refused, and why."""
        for identifier in inner:
            for couple in self._couples_at(identifier):
                one = self._set.cluster(couple.x.profile)
                two = self._set.cluster(couple.y.profile)
                couple.refusal = None
                if one is not two and self._set.is_edge(couple):
                    couple.refusal = self._set.refusal(one, two)
                    one.contested = two.contested = True
