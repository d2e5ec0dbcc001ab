"""What the resolver keeps between batches, and the part of it that one batch works on.

Invariant: a batch reads and changes objects of its own; the state is written once, by `flush`, so a batch
that fails leaves nothing behind. No key holds a value that grows without bound, except the members of one
cluster, which are published as one row too.

| key            | value |
|----------------|-------|
| `date`         | day in force |
| `i:<id>`       | identifier: kind, first day, profile_id, exclusion, number of neighbours, counters |
| `n:<id>:<k>`   | its neighbours number k·CHUNK to (k+1)·CHUNK − 1; none once it is shared |
| `l:<a>:<b>`    | pair: first and last day of its link, its refusal, its override |
| `c:<profile>`  | cluster: counts, bottleneck, never-links, whether a refused link touches it |
| `m:<profile>`  | its members ascending, when there are two or more |
| `<list>:<day>` | number of chunks of what waits for a day, `<list>:<day>:<k>` the chunks |
"""

from collections.abc import Iterable, Iterator
from typing import Any

from identity.clusters import refusal_between
from identity.evidence import Pair, Verb
from identity.limits import Refusal
from identity.packs import CHUNK
from identity.records import Cluster, Couple, Identifier, State, stored_days
from identity.rules import IdentityRules, Rank, expiry_day, rank
from schemas.ids import ordered


class WorkingSet:
    """The objects of one batch, loaded when first asked for, and what they say on `date`."""

    def __init__(self, state: State, rules: IdentityRules, date: int) -> None:
        self._state = state
        self.rules = rules
        self.date = date
        self.identifiers: dict[str, Identifier] = {}
        self.couples: dict[Pair, Couple] = {}
        self.clusters: dict[str, Cluster | None] = {}
        """None: there was one at the start or meanwhile, and there is none now."""
        self.published: dict[str, tuple[str, ...]] = {}
        """Members at the start, of clusters whose members were asked for; () below two."""
        self._waiting: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
        self._recorded: set[str] = set()
        """Profiles whose cluster has a record in the state."""
        self._marks: dict[str, bool] = {}
        self._taken: list[str] = []

    def identifier(self, id_: str) -> Identifier:
        """The identifier, a new one when it is not known."""
        found = self.identifiers.get(id_)
        if found is None:
            found = self.identifiers[id_] = Identifier(id_, self._state.get("i:" + id_), self.rules)
        return found

    def sighted_since(self, id_: str) -> int | None:
        """First day of the identifier, without loading it."""
        found = self.identifiers.get(id_)
        if found is not None:
            return found.first_day
        stored = self._state.get("i:" + id_)
        return stored[1] if stored else None

    def couple(self, a: str, b: str) -> Couple:
        """The pair, a new one when it is not known; `a` is the smaller id."""
        found = self.couples.get((a, b))
        if found is None:
            stored = self._stored_pair(a, b)
            found = self.couples[a, b] = Couple(self.identifier(a), self.identifier(b), stored)
        return found

    def days(self, a: str, b: str) -> tuple[int, int] | None:
        """First and last day of a link, without loading it; None when it was not seen."""
        found = self.couples.get((a, b))
        return stored_days(self._stored_pair(a, b)) if found is None else found.days

    def _stored_pair(self, a: str, b: str) -> tuple[Any, ...] | None:
        """What the state says of a pair. Most pairs are new because an end is, and then it need not be asked.

        Of an end without a record it may hold a word on the pair with an excluded identifier, which means nothing.
        """
        for end in (a, b):
            found = self.identifiers.get(end)
            if found is not None and found.stored is None:
                return None
        stored: tuple[Any, ...] | None = self._state.get(f"l:{a}:{b}")
        return stored

    def neighbours(self, identifier: Identifier) -> Iterator[str]:
        """Identifiers with which it shares a known pair, unless it is shared or was when the pair came."""
        for start in range(0, identifier.degree - len(identifier.fresh), CHUNK):
            yield from self._chunk(identifier.id, start)
        yield from identifier.fresh

    def _chunk(self, id_: str, start: int) -> tuple[str, ...]:
        """The stored neighbours from the one with this number on."""
        chunk: tuple[str, ...] | None = self._state.get(f"n:{id_}:{start // CHUNK}")
        assert chunk, f"neighbours {start} of {id_} are missing"
        return chunk

    def make_neighbours(self, a: Identifier, b: Identifier) -> None:
        """Note a new pair at both its ends."""
        for one, other in ((a, b), (b, a)):
            one.fresh.append(other.id)
            one.degree += 1

    def cluster(self, profile: str) -> Cluster:
        """The cluster with this profile_id, which its founding identifier names."""
        found = self.clusters.get(profile)
        if found is None:
            founder = self.identifier(profile)
            stored = self._state.get("c:" + profile) if founder.stored else None
            if stored:
                self._recorded.add(profile)
            found = self.clusters[profile] = Cluster(profile, founder.facts.unit, stored)
        return found

    def members(self, cluster: Cluster) -> list[str]:
        """Members of the cluster, loaded when first asked for."""
        if cluster.members is None:
            stored = self._state.get("m:" + cluster.profile) if cluster.stored else None
            cluster.members = list(stored) if stored else [cluster.profile]
            self.published.setdefault(cluster.profile, stored or ())
        return cluster.members

    def replace(self, gone: Iterable[str], new: Iterable[Cluster]) -> None:
        """Put new clusters, with their members, in the place of others whose members were asked for."""
        for profile in gone:
            self.clusters[profile] = None
        for cluster in new:
            if cluster.profile not in self.published:
                self.published[cluster.profile] = ()
            self.clusters[cluster.profile] = cluster

    def verb(self, couple: Couple) -> Verb:
        """Verb of the override that holds for the pair; `none` without one."""
        if couple.override is None:
            return "none"
        verb, _, _, expires_on = couple.override
        return verb if expires_on is None or self.date < expires_on else "none"

    def is_live(self, couple: Couple) -> bool:
        """True when the pair has a link that has not expired."""
        if couple.days is None:
            return False
        expires = self.expiry(couple)
        return expires is None or self.date < expires

    def expiry(self, couple: Couple) -> int | None:
        """First day on which the pair's link no longer counts, None when it never expires."""
        assert couple.days
        return expiry_day(couple.x.facts, couple.y.facts, couple.days[1])

    def is_edge(self, couple: Couple) -> bool:
        """True when something speaks for joining the pair: a live link or a force-link."""
        return self.verb(couple) == "force" or self.is_live(couple)

    def rank(self, couple: Couple) -> Rank:
        """Rank of the pair's link."""
        assert couple.days
        x, y = couple.x, couple.y
        return rank(x.id, y.id, x.facts, y.facts, *couple.days)

    def refusal(self, one: Cluster, two: Cluster) -> Refusal | None:
        """What stands against joining two clusters."""
        crossing: Iterable[Pair] = ()
        if one.nevers and two.nevers:
            crossing = [
                ordered(member, far)
                for member, far in one.nevers
                if self.identifier(far).profile == two.profile
            ]
        return refusal_between(crossing, one.counts, two.counts, self.rules.limits)

    def wait(self, name: str, day: int, item: tuple[Any, ...], *, once: bool = False) -> None:
        """Keep an item for a day; with `once` not again while it waits."""
        if once:
            mark = f"{name}:{day}:{':'.join(item)}"
            if mark in self._marks or self._state.get(mark):
                return
            self._marks[mark] = True
        self._waiting.setdefault((name, day), []).append(item)

    def waiting(self, name: str, day: int, chunk: int) -> tuple[Any, ...]:
        """Take out a chunk of what waits for a day."""
        key = f"{name}:{day}"
        items: tuple[Any, ...] = self._state.get(f"{key}:{chunk}") or ()
        self._taken.append(f"{key}:{chunk}")
        if name == "later":
            self._marks.update((f"{key}:{':'.join(item)}", False) for item in items)
        return items

    def flush(self) -> None:
        """Write what changed."""
        put, delete = self._state.put, self._state.delete
        for key in self._taken:
            delete(key)
        for (name, day), items in self._waiting.items():
            chunks = self._state.get(f"{name}:{day}") or 0
            put(f"{name}:{day}:{chunks}", tuple(items))
            put(f"{name}:{day}", chunks + 1)
        for mark, holds in self._marks.items():
            put(mark, holds) if holds else delete(mark)
        for identifier in self.identifiers.values():
            self._flush_identifier(identifier)
        for (a, b), couple in self.couples.items():
            record = couple.record()
            if record is None:
                if couple.stored is not None:
                    delete(f"l:{a}:{b}")
            elif record != couple.stored:
                put(f"l:{a}:{b}", record)
        for profile, cluster in self.clusters.items():
            self._flush_cluster(profile, cluster)

    def _flush_identifier(self, identifier: Identifier) -> None:
        """Write an identifier, and its new neighbours behind the old ones."""
        record = identifier.record()
        if record == identifier.stored:
            return
        self._state.put("i:" + identifier.id, record)
        had = identifier.stored[4] if identifier.stored else 0
        if identifier.degree == 0:
            for start in range(0, had, CHUNK):
                self._state.delete(f"n:{identifier.id}:{start // CHUNK}")
        fresh = identifier.fresh
        while fresh:
            k, used = divmod(had, CHUNK)
            before = self._chunk(identifier.id, had) if used else ()
            self._state.put(f"n:{identifier.id}:{k}", (*before, *fresh[: CHUNK - used]))
            had += min(len(fresh), CHUNK - used)
            fresh = fresh[CHUNK - used :]

    def _flush_cluster(self, profile: str, cluster: Cluster | None) -> None:
        """Write a cluster; one that is alone and has nothing to say needs no record."""
        published = self.published.get(profile)
        members = self.published_members(profile)
        if cluster is None or (members == () and not cluster.contested and not cluster.nevers):
            if profile in self._recorded:
                self._state.delete("c:" + profile)
        elif cluster.record() != cluster.stored:
            self._state.put("c:" + profile, cluster.record())
        if members != published:
            if members:
                self._state.put("m:" + profile, members)
            else:
                self._state.delete("m:" + profile)

    def published_members(self, profile: str) -> tuple[str, ...] | None:
        """What the row of a cluster says now: members ascending, () below two, None where nobody asked."""
        cluster = self.clusters.get(profile)
        if cluster is None:
            return ()
        if cluster.members is None:
            return None
        return tuple(sorted(cluster.members)) if len(cluster.members) > 1 else ()
