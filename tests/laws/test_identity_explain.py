"""Laws of the answers about any two identifiers of any world: they are true, and the shortest."""

from itertools import pairwise, permutations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.clusters import Assignment, clusters
from identity.evidence import Pair
from identity.explain import bridges, how, why, why_not
from schemas.ids import ordered
from tests.identity_worlds import DAYS, World, worlds


def ways(world: World, found: Assignment, date: int) -> nx.DiGraph:
    """All that was ever seen or forced together; the weight of a step is 1 for each obstacle that it meets first."""
    graph = nx.DiGraph()
    graph.add_nodes_from(found.profile_of)
    pairs = {(a, b) for a, b, day in world.all_links if day <= date} | {*found.forced, *found.refused}
    for one, two in pairs | {(b, a) for a, b in pairs}:
        if one in found.profile_of and two in found.profile_of:
            across = found.profile_of[one] != found.profile_of[two] and one not in found.excluded
            graph.add_edge(one, two, weight=int(two in found.excluded or across))
    return graph


@given(worlds, st.integers(0, DAYS))
@settings(max_examples=60, deadline=None)
def test_why_and_why_not_are_true_and_the_shortest(world: World, date: int) -> None:
    found = clusters(world.all_links, world.all_sightings, world.overrides, world.rules, date)
    of, excluded, graph = found.profile_of, found.excluded, ways(world, found, date)
    held = nx.Graph([*found.accepted, *found.forced])
    for a, b in permutations(sorted(world.kinds), 2):
        path = why(a, b, found, world.all_links, date)
        obstacles = why_not(a, b, found, world.all_links, date)
        if a in of and of[a] == of.get(b):
            assert not obstacles
            assert (path[0].a, path[-1].b) == (a, b)
            assert all(one.b == two.a for one, two in pairwise(path))
            assert all(held.has_edge(step.a, step.b) for step in path)
            assert len(path) == nx.shortest_path_length(held, a, b)
            continue
        assert not path
        if a not in of or b not in of:
            assert [(o.reason, o.blocker) for o in obstacles] == [
                ("unknown", i) for i in (a, b) if i not in of
            ]
        elif not nx.has_path(graph, a, b):
            own = [(excluded[i], i) for i in (a, b) if i in excluded]
            assert [(o.reason, o.blocker) for o in obstacles] == (own or [("no_evidence", "")])
        else:
            assert len(obstacles) == nx.dijkstra_path_length(graph, a, b) + (a in excluded)
            for o in obstacles:
                if o.blocker in excluded:
                    assert o.reason == excluded[o.blocker]
                    assert o.a == o.blocker == a or graph.has_edge(o.a, o.blocker)
                    assert o.b == o.blocker == b or graph.has_edge(o.blocker, o.b)
                else:
                    assert graph.has_edge(o.a, o.b)
                    assert (o.reason, o.blocker) == found.refused.get(ordered(o.a, o.b), ("expired", ""))


def are_apart(a: str, b: str, pairs: set[Pair]) -> bool:
    """True when these pairs do not connect the two."""
    graph = nx.Graph(pairs)
    graph.add_nodes_from((a, b))
    return not nx.has_path(graph, a, b)


@given(worlds, st.integers(0, DAYS))
@settings(max_examples=60, deadline=None)
def test_how_tells_all_that_holds_a_profile_and_bridges_what_it_hangs_by(world: World, date: int) -> None:
    found = clusters(world.all_links, world.all_sightings, world.overrides, world.rules, date)
    days: dict[Pair, list[int]] = {}
    for a, b, day in world.all_links:
        if day <= date and (a, b) in found.accepted:
            days.setdefault((a, b), []).append(day)
    for profile, members in found.members.items():
        steps = how(profile, found, world.all_links, date)
        pairs = {pair for pair in (*found.accepted, *found.forced) if pair[0] in members}
        assert {(step.a, step.b) for step in steps} == pairs
        assert len(steps) == len(pairs)
        for step in steps:
            seen = days.get((step.a, step.b))
            assert (step.first_day, step.last_day) == ((min(seen), max(seen)) if seen else (None, None))
            assert step.is_forced == ((step.a, step.b) in found.forced)
        first_days = [step.first_day for step in steps if step.first_day is not None]
        assert first_days == sorted(first_days) == [step.first_day for step in steps[: len(first_days)]]
        hanging = {pair for pair in pairs if are_apart(*pair, pairs - {pair})}
        assert {(step.a, step.b) for step in bridges(profile, found, world.all_links, date)} == hanging
