"""Laws of the resolver: whatever the order, the batches and the days, it equals the pure function."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity import working_set
from identity.clusters import Assignment, Refusal, clusters
from identity.evidence import Override, Sighting
from identity.incremental import Changes, IdentityRow, MemoryState, Resolver
from tests.identity_worlds import DAYS, World, make_override, make_world, worlds

CHUNK = 2
"""So that an identifier has several chunks of neighbours."""


class Published:
    """The rows as a reader of all changes has them."""

    def __init__(self) -> None:
        self.identifiers: dict[str, IdentityRow] = {}
        self.clusters: dict[str, tuple[str, ...]] = {}
        self.excluded: dict[str, str] = {}
        self.refused: dict[tuple[str, str], Refusal] = {}

    def take(self, changes: Changes, *, is_one_step: bool = True) -> None:
        """Apply what changed; in one step every row told must differ from the one before."""
        for identifier, row in changes.identifiers.items():
            before = self.identifiers.get(identifier, IdentityRow(identifier, "member"))
            assert row != before or not is_one_step
        at: dict[str, str] = {}
        for move in changes.moves:
            assert (
                at.get(move.identifier, self.profile(move.identifier)) == move.from_profile != move.to_profile
            )
            at[move.identifier] = move.to_profile
        self.identifiers |= changes.identifiers
        self.clusters |= changes.clusters
        self.excluded |= changes.excluded
        for pair, refusal in changes.refused.items():
            assert self.refused.pop(pair, None) != refusal or not is_one_step
            if refusal:
                self.refused[pair] = refusal

    def profile(self, identifier: str) -> str:
        """Profile of an identifier; itself without a row."""
        row = self.identifiers.get(identifier)
        return row.profile_id if row else identifier

    def must_equal(self, expected: Assignment) -> None:
        """Compare with what the pure function says."""
        for identifier, profile in expected.profile_of.items():
            row = self.identifiers.get(identifier, IdentityRow(identifier, "member"))
            assert row == IdentityRow(profile, expected.excluded.get(identifier, "member"))
        assert {p: m for p, m in self.clusters.items() if m} == expected.members
        assert self.excluded == expected.excluded
        assert self.refused == expected.refused


def run(world: World, random: Random, last: int) -> None:
    """Give a world to a resolver in some order, in batches, while days pass up to `last`."""
    events = world.events + random.sample(world.events, len(world.events) // 3)
    random.shuffle(events)
    overrides = random.sample(world.overrides, len(world.overrides)) + world.overrides[:1]
    state, published, date = MemoryState(), Published(), random.randint(0, last)
    resolver = Resolver(state, world.rules, date)
    told: list[tuple[int, tuple[str, ...]]] = []
    said: list[Override] = []
    while events or overrides or date < last:
        size = random.choice((1, 1, 2, 8))
        some, events = events[:size], events[size:]
        words = [overrides.pop() for _ in range(min(len(overrides), random.choice((0, 0, 1))))]
        told += some
        said += words
        if random.random() < 0.2:
            resolver = Resolver(state, world.rules, 0)
        sightings = [s for event in some for s in world.sightings(*event)]
        links = [link for event in some for link in world.links(*event)]
        published.take(resolver.add(sightings, links, words))
        assert resolver.add(sightings, links, words) == Changes()
        if date < last and (not events or random.random() < 0.3):
            date = min(last, date + random.choice((1, 1, 3)))
            published.take(resolver.advance(date), is_one_step=False)
        all_sightings = [s for event in told for s in world.sightings(*event)]
        all_links = [link for event in told for link in world.links(*event)]
        expected = clusters(all_links, all_sightings, said, world.rules, date)
        published.must_equal(expected)
        for identifier in expected.profile_of:
            assert resolver.current(identifier).profile_id == expected.profile_of[identifier]
            assert resolver.members(identifier) == expected.members.get(identifier, ())
        neighbours_are_kept_once(state)
        pairs_are_kept_while_they_matter(state, world)
    truth = world.truth(date)
    assert all(published.profile(i) == profile for i, profile in truth.profile_of.items())
    assert published.refused == truth.refused


def neighbours_are_kept_once(state: MemoryState) -> None:
    """As many as the identifier's record says, none when it is shared, in chunks of which all but the last are full."""
    for key, record in state.values.items():
        if key.startswith("i:"):
            starts = range(0, record[4], CHUNK)
            chunks = [state.values[f"n:{key[2:]}:{k}"] for k in range(len(starts))]
            assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK] * (len(chunks) - 1)
            assert len({other for chunk in chunks for other in chunk}) == sum(map(len, chunks)) == record[4]
            assert sum(other.startswith(f"n:{key[2:]}:") for other in state.values) == len(chunks)
            assert record[3] != "shared" or not chunks


def pairs_are_kept_while_they_matter(state: MemoryState, world: World) -> None:
    """A pair of one that clusters and one that does not is only kept where it is counted, or somebody spoke of it."""
    for key, record in state.values.items():
        if key.startswith("l:") and not record[3:]:
            ends = key.split(":")[1:]
            usable = [i for i in ends if not state.values[f"i:{i}"][3]]
            if len(usable) == 1:
                one, other = (
                    world.rules.facts(world.kinds[i]) for i in sorted(ends, key=lambda i: i not in usable)
                )
                assert other.rule.name in one.counted


@given(worlds, st.randoms(use_true_random=True), st.integers(0, DAYS))
@settings(max_examples=250, deadline=None)
def test_every_order_batching_and_passing_of_days_equals_the_pure_function(
    world: World, random: Random, last: int
) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(working_set, "CHUNK", CHUNK)
        run(world, random, last)


@given(st.randoms(use_true_random=True))
@settings(max_examples=100, deadline=None)
def test_of_all_that_stewards_say_of_a_few_identifiers_the_newest_words_hold(random: Random) -> None:
    """`check` compares with the pure function after every word."""
    world = make_world(random, 6)
    resolver = Resolver(MemoryState(), world.rules, DAYS, check=True)
    resolver.add([Sighting(i, kind, 0) for i, kind in world.kinds.items()])
    resolver.add(world.all_sightings, world.all_links)
    disputed = random.sample(sorted(world.kinds), 4)
    for n in range(15):
        resolver.add(overrides=[make_override(random, disputed, f"o{n}")])
