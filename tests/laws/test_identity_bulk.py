"""Laws of building at once: it equals the pure function, and a resolver goes on from it as if it had seen all."""

import functools
from collections.abc import Callable
from random import Random
from typing import Any

import networkx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity import bulk, incremental, packs, working_set
from identity.bulk import Bulk, Evidence, components
from identity.clusters import Assignment, Refusal, clusters
from identity.evidence import Link, Sighting
from identity.incremental import MemoryState, Resolver, State
from identity.rules import expiry_day, rank
from pipelines.local_job import DictState
from pipelines.state import Packed
from tests.identity_worlds import DAYS, World, worlds

STATES: list[Callable[[], State]] = [MemoryState, lambda: Packed(DictState(), "g:")]


def evidence(sightings: list[Sighting], links: list[Link], date: int) -> Evidence:
    """As the store gives it: one row for each identifier and pair, of days up to the date."""
    kinds = {s.identifier: s.kind for s in sightings if s.day <= date}
    ids, pairs = sorted(kinds), sorted({(a, b) for a, b, day in links if day <= date})
    since = [min(s.day for s in sightings if s.identifier == i) for i in ids]
    days = [[day for *pair, day in links if tuple(pair) == both and day <= date] for both in pairs]
    seen = {"identifier_id": texts(ids), "kind": texts([kinds[i] for i in ids]), "first": numbers(since)}
    linked = {"a": texts([a for a, _ in pairs]), "b": texts([b for _, b in pairs])}
    spans = {"first": numbers([min(some) for some in days]), "last": numbers([max(some) for some in days])}
    return Evidence.of(pa.table(seen), pa.table(linked | spans))


def texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.utf8())


def numbers(values: list[int]) -> pa.Array:
    return pa.array(values, pa.int32())


def assignment_rows(of: Assignment) -> dict[str, object]:
    """What the rows of an assignment say."""
    rows = {i: (p, of.excluded.get(i, "member")) for i, p in of.profile_of.items()}
    return {
        "map": {i: row for i, row in rows.items() if row != (i, "member")},
        "clusters": of.members, "excluded": of.excluded, "refused": of.refused,
    }  # fmt: skip


def bulk_rows(of: Bulk) -> dict[str, object]:
    """What the rows say that are written."""
    lists = {
        name: list(zip(*(column.to_pylist() for column in columns), strict=True))
        for name, columns in (
            ("map", of.identity_map), ("clusters", of.clusters), ("excluded", of.excluded),
            ("refused", of.refused_links),
        )
    }  # fmt: skip
    return {
        "map": {i: (profile, state) for i, profile, state in lists["map"]},
        "clusters": {profile: tuple(members) for profile, members in lists["clusters"]},
        "excluded": dict(lists["excluded"]),
        "refused": {(a, b): Refusal(reason, blocker) for a, b, reason, blocker in lists["refused"]},
    }


def make_small(parts: pytest.MonkeyPatch) -> None:
    """So that a small world has many packs, blocks, chunks and portions."""
    for module, name, size in (
        (bulk, "_BLOCK", 2), (incremental, "PACK", 3), (incremental, "DUE", 2),
        (packs, "CHUNK", 2), (working_set, "CHUNK", 2),
    ):  # fmt: skip
        parts.setattr(module, name, size)


@pytest.mark.parametrize("new_state", STATES, ids=["memory", "packed"])
@given(world=worlds, random=st.randoms(use_true_random=True), date=st.integers(0, DAYS))
@settings(max_examples=150, deadline=None)
def test_a_resolver_goes_on_from_what_was_built(
    new_state: Callable[[], State], world: World, random: Random, date: int
) -> None:
    """`check` compares with the pure function after every call."""
    with pytest.MonkeyPatch.context() as small:
        make_small(small)
        told = random.randint(0, len(world.events))
        sightings = [s for event in world.events[:told] for s in world.sightings(*event)]
        links = [link for event in world.events[:told] for link in world.links(*event)]
        resolver = Resolver(new_state(), world.rules, date, check=True)
        built = resolver.build(evidence(sightings, links, date))
        assert bulk_rows(built) == assignment_rows(clusters(links, sightings, [], world.rules, date))
        resolver.add([s for s in sightings if s.day > date], [link for link in links if link.day > date])
        resolver.add(overrides=world.overrides)
        for event in world.events[told:] + random.sample(world.events, len(world.events) // 4):
            resolver.add(world.sightings(*event), world.links(*event))
            if random.random() < 0.1:
                resolver.advance(resolver.date + random.choice((1, 3)))
        resolver.advance(DAYS + 4)


def expected_state(world: World, sightings: list[Sighting], links: list[Link], date: int) -> dict[str, Any]:
    """What identity/working_set.py says that a state holds, without overrides; neighbours as a set for each."""
    of, rules = clusters(links, sightings, [], world.rules, date), world.rules
    facts = {i: rules.facts(world.kinds[i]) for i in of.profile_of}
    width = max((len(f.counted) for f in facts.values()), default=0)
    first = {i: min(s.day for s in sightings if s.identifier == i) for i in facts}
    days: dict[tuple[str, str], list[int]] = {}
    for a, b, day in links:
        if day <= date:
            days.setdefault((a, b), []).append(day)
    state: dict[str, Any] = {"date": date}
    near: dict[str, set[str]] = {i: set() for i in facts}
    counters = {i: [0] * width for i in facts}
    for (a, b), seen in days.items():
        is_kept = not {a, b} & of.excluded.keys()
        for one, other in ((a, b), (b, a)):
            namespace = facts[other].rule.name
            if "blocked" not in (of.excluded.get(a), of.excluded.get(b)) and namespace in facts[one].counted:
                counters[one][facts[one].counted[namespace][0]] += 1
                is_kept = is_kept or one not in of.excluded
        if is_kept:
            refusal = of.refused.get((a, b))
            state[f"l:{a}:{b}"] = (min(seen), max(seen), *((tuple(refusal), None) if refusal else ()))
        if not {a, b} & of.excluded.keys():
            near[a].add(b)
            near[b].add(a)
            expires = expiry_day(facts[a], facts[b], max(seen))
            if expires is not None and expires > date:
                state.setdefault(f"due:{expires}", set()).add((a, b, "link"))
    contested = {of.profile_of[end] for pair in of.refused for end in pair}
    for i, profile in of.profile_of.items():
        state[f"i:{i}"] = (
            world.kinds[i], first[i], profile, of.excluded.get(i, ""), len(near[i]), tuple(counters[i])
        )  # fmt: skip
        state[f"n:{i}"] = near[i]
        if profile == i and (i in of.members or i in contested):
            inside = [pair for pair in of.accepted if of.profile_of[pair[0]] == i]
            ranks = [rank(*p, facts[p[0]], facts[p[1]], min(days[p]), max(days[p])) for p in inside]
            counts = functools.reduce(rules.limits.joined, (facts[m].unit for m in of.members.get(i, (i,))))
            state[f"c:{i}"] = (counts, max(ranks, default=()), (), i in contested)
            state |= {f"m:{i}": of.members[i]} if i in of.members else {}
    return state


@given(world=worlds, date=st.integers(0, DAYS + 4))
@settings(max_examples=100, deadline=None)
def test_what_was_built_is_what_a_resolver_keeps(world: World, date: int) -> None:
    sightings, links = world.all_sightings, world.all_links
    memory, packed = MemoryState(), Packed(DictState(), "g:")
    with pytest.MonkeyPatch.context() as small:
        make_small(small)
        for state in (memory, packed):
            Resolver(state, world.rules, date).build(evidence(sightings, links, date))
        assert all(packed.get(key) == value for key, value in memory.values.items())
    found: dict[str, Any] = {f"n:{i}": set() for i in {s.identifier for s in sightings if s.day <= date}}
    for key, value in memory.values.items():
        letter, _, rest = key.partition(":")
        if letter in ("n", "due") and ":" in rest:
            assert len(value) <= 2
            kept = found.setdefault(key.rpartition(":")[0], set())
            assert kept.isdisjoint(value)
            kept |= set(value)
        elif letter == "due":
            assert all(f"{key}:{k}" in memory.values for k in range(value))
            assert f"{key}:{value}" not in memory.values
        else:
            found[key] = value
    assert found == expected_state(world, sightings, links, date)


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60))
def test_components_are_those_of_the_graph(count: int, edges: list[tuple[int, int]]) -> None:
    edges = [(a, b) for a, b in edges if a < count and b < count]
    graph = networkx.Graph(edges)
    graph.add_nodes_from(range(count))
    expected = {at: min(part) for part in networkx.connected_components(graph) for at in part}
    ends = np.array(edges, np.int64).reshape(-1, 2).T
    assert dict(enumerate(components(count, *ends).tolist())) == expected


def test_a_link_whose_end_was_not_sighted_yet_is_left_for_later() -> None:
    given = evidence(
        [Sighting("a", "user", 1), Sighting("b", "phone", 1)], [Link("a", "b", 1), Link("a", "c", 1)], 2
    )
    assert (given.ids.to_pylist(), given.a.tolist(), given.b.tolist()) == (["a", "b"], [0], [1])
