"""Answers owed for any two identifiers: why they are one person, why not, how, and what hangs by one link.

Invariant: answers are made of the evidence that decided, and equal evidence gives equal answers. Each function
takes an assignment and links; a part of all links is enough when it holds every link of the profiles asked
about, for `why_not` also those between them.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import networkx as nx

from identity.clusters import Assignment
from identity.evidence import Link, Pair
from schemas.ids import ordered

_OBSTACLE = 1 << 32
"""Weight of an obstacle on a path; a step weighs 1, so obstacles are compared before steps."""


class Step(NamedTuple):
    """A pair that holds two identifiers together; the days of its link are None where it is forced only."""

    a: str
    b: str
    first_day: int | None
    last_day: int | None
    is_forced: bool


class Obstacle(NamedTuple):
    """What keeps two identifiers apart; of a pair, `a` comes first on the way asked about.

    | `reason`                | `a`–`b`                          | `blocker` |
    |-------------------------|----------------------------------|-----------|
    | unknown                 | the two asked about              | the one that was not seen |
    | blocked, shared         | its neighbours on the way        | the identifier that does not cluster |
    | limit, with, never_link | the refused pair                 | as in `Refusal` |
    | expired                 | the pair whose link has expired  | |
    | no_evidence             | the two asked about              | |
    """

    reason: str
    blocker: str
    a: str
    b: str


def why(a: str, b: str, assignment: Assignment, links: Iterable[Link], date: int) -> list[Step]:
    """The shortest path of accepted links from `a` to `b`, in that direction; empty when they are not one person.

    Of several shortest paths it always gives the same. O(links).
    """
    profile = assignment.profile_of.get(a)
    if profile is None or assignment.profile_of.get(b) != profile or a == b:
        return []
    graph = _graph(how(profile, assignment, links, date))
    path: list[str] = nx.shortest_path(graph, a, b)
    return [graph.edges[hop]["step"]._replace(a=hop[0], b=hop[1]) for hop in pairwise(path)]


def why_not(a: str, b: str, assignment: Assignment, links: Iterable[Link], date: int) -> list[Obstacle]:
    """What keeps `a` and `b` apart, in the order from `a` to `b`; empty when they are one person.

    The obstacles are those of the path of evidence from one to the other that has the fewest of them: refused
    pairs, identifiers that are shared or blocked, expired links. O(n log n) for n links.
    """
    of, excluded = assignment.profile_of, assignment.excluded
    if a in of and of[a] == of.get(b):
        return []
    unknown = [Obstacle("unknown", i, a, b) for i in dict.fromkeys((a, b)) if i not in of]
    if unknown:
        return unknown
    graph = nx.Graph()
    graph.add_nodes_from((a, b))
    pairs = {(x, y) for x, y, day in links if day <= date} | {*assignment.forced, *assignment.refused}
    for x, y in sorted(pairs):
        if x in of and y in of:
            ends = (x in excluded) + (y in excluded)
            graph.add_edge(x, y, weight=1 + _OBSTACLE * (ends if ends else 2 * (of[x] != of[y])))
    if not nx.has_path(graph, a, b):
        own = [Obstacle(excluded[i], i, a, b) for i in (a, b) if i in excluded]
        return own or [Obstacle("no_evidence", "", a, b)]
    return _obstacles(nx.dijkstra_path(graph, a, b), assignment)


def _obstacles(path: list[str], assignment: Assignment) -> list[Obstacle]:
    """Obstacles of a path, in its order."""
    of, excluded = assignment.profile_of, assignment.excluded
    found: list[Obstacle] = []
    for n, identifier in enumerate(path):
        if identifier in excluded:
            around = path[max(n - 1, 0)], path[min(n + 1, len(path) - 1)]
            found.append(Obstacle(excluded[identifier], identifier, *around))
        elif n and path[n - 1] not in excluded and of[path[n - 1]] != of[identifier]:
            refusal = assignment.refused.get(ordered(path[n - 1], identifier))
            found.append(Obstacle(*(refusal or ("expired", "")), path[n - 1], identifier))
    return found


def how(profile_id: str, assignment: Assignment, links: Iterable[Link], date: int) -> list[Step]:
    """What holds a profile together, in the order of time: accepted links by first day, then forced pairs."""
    members = set(assignment.members.get(profile_id, ()))
    accepted = {pair for pair in assignment.accepted if pair[0] in members}
    forced = {pair for pair in assignment.forced if pair[0] in members}
    days: dict[Pair, tuple[int, int]] = {}
    for a, b, day in links:
        if day <= date and (a, b) in accepted:
            first, last = days.get((a, b), (day, day))
            days[a, b] = (min(first, day), max(last, day))
    steps = [Step(*pair, first, last, pair in forced) for pair, (first, last) in days.items()]
    steps.sort(key=lambda step: (step.first_day, step.a, step.b))
    return steps + [Step(*pair, None, None, True) for pair in sorted(forced - days.keys())]


def bridges(profile_id: str, assignment: Assignment, links: Iterable[Link], date: int) -> list[Step]:
    """Pairs without which the profile's members are no longer all connected, in the order of `how`. O(links).

    References: R. E. Tarjan, "A note on finding the bridges of a graph", Inf. Process. Lett. 2 (1974).
    """
    steps = how(profile_id, assignment, links, date)
    cut = {ordered(a, b) for a, b in nx.bridges(_graph(steps))}
    return [step for step in steps if (step.a, step.b) in cut]


def _graph(steps: list[Step]) -> nx.Graph:
    """Graph of steps, built in one order whatever the order of the evidence."""
    graph = nx.Graph()
    for step in sorted(steps, key=lambda step: (step.a, step.b)):
        graph.add_edge(step.a, step.b, step=step)
    return graph
