"""Laws of the clustering function: it equals the oracle, and what it promises holds in every world."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.clusters import Assignment, clusters
from identity.evidence import namespace_of, overrides_in_force
from tests.identity_worlds import DAYS, World, worlds

dates = st.integers(0, DAYS) | st.integers(DAYS - 4, DAYS)


def assignment_of(world: World, date: int) -> Assignment:
    """What the function says."""
    return clusters(world.all_links, world.all_sightings, world.overrides, world.rules, date)


def groups_of(world: World, members: tuple[str, ...], forced: tuple[tuple[str, str], ...]) -> Counter[str]:
    """Identifiers of a cluster per namespace, a force-linked group counting once."""
    group = {i: {i} for i in members}
    for a, b in forced:
        if a in group and group[a] is not group[b]:
            group[a] |= group[b]
            for i in group[b]:
                group[i] = group[a]
    distinct = {id(g): {namespace_of(world.kinds[i]) for i in g} for g in group.values()}
    return Counter(namespace for g in distinct.values() for namespace in g)


@given(worlds, dates)
@settings(max_examples=300, deadline=None)
def test_it_equals_the_oracle(world: World, date: int) -> None:
    found, truth = assignment_of(world, date), world.truth(date)
    assert found.profile_of == truth.profile_of
    assert found.excluded == truth.excluded
    assert found.refused == truth.refused


@given(worlds, dates, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_neither_order_nor_duplicates_matter(world: World, date: int, random: Any) -> None:
    before = assignment_of(world, date)
    world.events += world.events[::2]
    world.overrides += world.overrides
    random.shuffle(world.events)
    random.shuffle(world.overrides)
    assert assignment_of(world, date) == before


@given(worlds, dates)
@settings(max_examples=150, deadline=None)
def test_every_cluster_keeps_every_limit(world: World, date: int) -> None:
    found = assignment_of(world, date)
    for members in found.members.values():
        count = groups_of(world, members, found.forced)
        for rule in world.rules.namespaces:
            assert count[rule.name] <= (rule.max_per_profile or len(members))
            if count[rule.name]:
                assert all(count[other] <= most for other, most in rule.limits_with.items())


@given(worlds, dates)
@settings(max_examples=150, deadline=None)
def test_excluded_identifiers_and_never_linked_pairs_stay_apart(world: World, date: int) -> None:
    found = assignment_of(world, date)
    _, nevers = overrides_in_force(world.overrides, date)
    for members in found.members.values():
        assert found.excluded.keys().isdisjoint(members)
        assert not any(a in members and b in members for a, b in nevers)
    assert not any(a in found.excluded or b in found.excluded for a, b in found.accepted)


@given(worlds, dates)
@settings(max_examples=100, deadline=None)
def test_a_shared_identifier_stays_shared_as_evidence_and_days_are_added(world: World, date: int) -> None:
    later = assignment_of(world, date)
    world.events = world.events[: len(world.events) // 2]
    earlier = assignment_of(world, max(0, date - 3))
    assert earlier.excluded.items() <= later.excluded.items()


def test_the_worlds_are_dense_enough_to_mean_something() -> None:
    seen: Counter[str] = Counter()

    @given(worlds, dates)
    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    def count(world: World, date: int) -> None:
        found = assignment_of(world, date)
        seen.update(found.excluded.values())
        seen.update(refusal.reason for refusal in found.refused.values())
        seen.update({"forced": len(found.forced), "cluster": len(found.members)})
        live = len(found.accepted) + len(found.refused)
        usable = {(a, b) for a, b, d in world.all_links if d <= date and not {a, b} & found.excluded.keys()}
        seen["expired"] += max(0, len(usable) - live)

    count()
    for what in ("shared", "blocked", "limit", "with", "never_link", "forced", "cluster", "expired"):
        assert seen[what] >= 20, (what, seen)
