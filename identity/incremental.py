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

from identity.batch import Batch
from identity.bulk import Bulk, Evidence, assigned
from identity.changes import Changes, Move
from identity.clusters import clusters
from identity.evidence import Link, Override, Sighting
from identity.limits import Refusal
from identity.packs import PACK
from identity.records import Identifier, IdentityRow, MemoryState, State, stored_refusal
from identity.rules import IdentityRules
from schemas.ids import ordered

DUE = 1000
"""Pairs in one portion of those that expire on a day."""

__all__ = ["Changes", "IdentityRow", "MemoryState", "Move", "Resolver", "State"]


class Resolver:
    """Incremental `clusters` over a key-value state that belongs to one workspace and one ruleset.

    `date` is the date in force of a new state; a state in use keeps its own. With `check` every call compares
    the state with the pure function (for tests; needs a new state).
    """

    def __init__(self, state: State, rules: IdentityRules, date: int, *, check: bool = False) -> None:
        self._state = state
        self.rules = rules
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
        batch = Batch(self._state, self.rules, self.date, "link")
        batch.take(sightings, links, overrides)
        changes = batch.finish()
        if self._checked:
            self._checked.compare(self)
        return changes

    def build(self, evidence: Evidence) -> Bulk:
        """Take all evidence up to the date in force at once, into a new state; the rest follows by `add`.

        O(n log n) for n pieces of evidence; the state is written in the order of identifiers.
        """
        if self._checked:
            self._checked.take(evidence)
        bulk = assigned(evidence, self.rules, self.date)
        self._state.fill(bulk.packs(PACK))
        for day, pairs in bulk.due().items():
            portions = range(0, len(pairs), DUE)
            for k, start in enumerate(portions):
                self._state.put(
                    f"due:{day}:{k}", tuple((a, b, "link") for a, b in pairs[start : start + DUE])
                )
            self._state.put(f"due:{day}", len(portions))
        if self._checked:
            self._checked.compare(self)
        return bulk

    def advance(self, date: int) -> Changes:
        """Move the date in force to `date`; an earlier one changes nothing, as the greatest is in force.

        Works through what waits for the days between in the portions in which it came, so that memory follows
        the size of a batch. O(1) for a day on which nothing waits.
        """
        changes = Changes()
        days = range(self.date + 1, date + 1)
        for name in ("due", "later"):
            for day in days:
                for chunk in range(self._state.get(f"{name}:{day}") or 0):
                    batch = Batch(self._state, self.rules, date, "date")
                    batch.take_waiting(name, day, chunk)
                    changes.append(batch.finish())
                self._state.delete(f"{name}:{day}")
        self.date = max(self.date, date)
        self._state.put("date", self.date)
        if self._checked:
            self._checked.compare(self)
        return changes

    def current(self, identifier: str) -> IdentityRow:
        """What the row of the identifier says; itself as a member when nothing is known of it."""
        return Identifier(identifier, self._state.get("i:" + identifier), self.rules).row

    def members(self, profile_id: str) -> tuple[str, ...]:
        """What the row of the cluster says: members ascending, () when they are fewer than two."""
        members: tuple[str, ...] | None = self._state.get("m:" + profile_id)
        return members or ()

    def refusal(self, a: str, b: str) -> Refusal | None:
        """Why the pair is refused; None when it is not."""
        return stored_refusal(self._state.get(f"l:{a}:{b}"))


class _Check:
    """All evidence given to a resolver, to compare it with the pure function."""

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.links: list[Link] = []
        self.overrides: list[Override] = []

    def take(self, evidence: Evidence) -> None:
        """Note evidence given all at once."""
        names = evidence.ids.to_pylist()
        kinds = [evidence.kinds[kind] for kind in evidence.kind]
        self.sightings += map(Sighting, names, kinds, evidence.first_seen.tolist())
        for days in (evidence.first, evidence.last):
            ends = ([names[at] for at in end] for end in (evidence.a, evidence.b))
            self.links += map(Link, *ends, days.tolist())

    def compare(self, resolver: Resolver) -> None:
        """Raise AssertionError where the state differs from the pure function."""
        expected = clusters(self.links, self.sightings, self.overrides, resolver.rules, resolver.date)
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
