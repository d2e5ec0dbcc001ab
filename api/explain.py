"""Why two identifiers are one person, why not, how a profile came together, and who somebody was on a day.

Invariant: every answer is made by the pure functions of `identity` from the evidence in the store, a region of
it at a time; so it explains what the resolver did, under the rules and on the date in force.
"""

from datetime import date, datetime, time, timedelta
from typing import Annotated, TypedDict, cast
from zoneinfo import ZoneInfo

import networkx as nx
from fastapi import Depends, FastAPI, Path, Query

from api.evidence import Describer, day_of
from api.explained import (
    AsKnownAnswer,
    Bridge,
    BridgesAnswer,
    GraphAnswer,
    HowAnswer,
    Node,
    ObstacleAnswer,
    PairRequest,
    Reason,
    State,
    WhyAnswer,
    WhyNotAnswer,
)  # fmt: skip
from api.guard import checked_id, needs
from api.identifiers import SecretsOf
from api.keys import Access, AccessKeys
from api.problems import may
from identity import explain
from identity.clusters import Assignment
from identity.evidence import Pair
from identity.explain import Obstacle, Step
from schemas.errors import Problem
from schemas.ids import ordered
from store.client import Store
from store.overrides import days_of
from store.region import Basis, Region, basis

REACH = 2_000
"""Identifiers around two that are looked at for what keeps them apart."""


class Explainer:
    """Answers for one workspace. Every method blocks; Problem `region_too_large`, `unknown_profile`, and what
    `store.region.basis` raises.
    """

    def __init__(self, store: Store, workspace: str) -> None:
        self._store = store
        self._workspace = workspace
        self._describe = Describer(store, workspace)

    def why(self, a: str, b: str) -> WhyAnswer:
        """Why the two are one person."""
        region = self._region(a, b)
        found = region.assignment()
        steps = explain.why(a, b, found, region.links, region.basis.date)
        profile = found.profile_of.get(a)
        are_one = profile is not None and profile == found.profile_of.get(b)
        return WhyAnswer(
            are_one=are_one,
            profile_id=profile if are_one else None,
            steps=self._describe.steps(steps),
            **_rests_on(region.basis),
        )

    def why_not(self, a: str, b: str) -> WhyNotAnswer:
        """What keeps the two apart."""
        region = self._region(a, b)
        ring = set(region.kinds)
        while True:
            found = region.assignment()
            obstacles = explain.why_not(a, b, found, region.links, region.basis.date)
            if not obstacles or obstacles[0].reason != "no_evidence" or len(region.kinds) > REACH:
                break
            ring = region.take(region.outside(ring))
            if not ring:
                break
        return WhyNotAnswer(
            are_one=not obstacles, obstacles=self._obstacles(obstacles, region), **_rests_on(region.basis)
        )

    def how(self, identifier: str) -> HowAnswer:
        """What holds the profile of an identifier together."""
        region, found, profile = self._profile(identifier)
        steps = explain.how(profile, found, region.links, region.basis.date)
        return HowAnswer(profile_id=profile, steps=self._describe.steps(steps), **_rests_on(region.basis))

    def bridges(self, identifier: str) -> BridgesAnswer:
        """Pairs that hold the profile of an identifier together alone."""
        region, found, profile = self._profile(identifier)
        cut = bridges(profile, found, region)
        steps = self._describe.steps([step for step, _ in cut])
        shown = [Bridge(step=step, sizes=sizes) for step, (_, sizes) in zip(steps, cut, strict=True)]
        return BridgesAnswer(profile_id=profile, bridges=shown, **_rests_on(region.basis))

    def graph(self, identifier: str) -> GraphAnswer:
        """The profile of an identifier as nodes and links."""
        region, found, profile = self._profile(identifier)
        members = found.members.get(profile, (profile,))
        shown = self._describe.identifiers(members)
        nodes = [
            Node(
                **shown[i].model_dump(),
                first_day=day_of(region.first_day(i)),
                is_founding=i == profile,
            )
            for i in members
        ]
        links = self._describe.steps(explain.how(profile, found, region.links, region.basis.date))
        return GraphAnswer(profile_id=profile, nodes=nodes, links=links, **_rests_on(region.basis))

    def as_known(self, identifier: str, on: date, time_zone: str) -> AsKnownAnswer:
        """Who the identifier was on a day. Raises Problem `bad_request` for a day after the date in force."""
        now = basis(self._store, self._workspace)
        day = days_of(on.isoformat())
        if day > now.date:
            raise Problem("bad_request", f"The date in force is {day_of(now.date)}.", "/on")
        end = datetime.combine(on + timedelta(1), time(), ZoneInfo(time_zone))
        known_before = int(end.timestamp()) * 1_000_000
        past = basis(self._store, self._workspace, date=day, known_before=known_before)
        region = Region(self._store, past)
        region.flood(identifier)
        found = region.assignment()
        state = found.excluded.get(identifier, "member" if identifier in region.kinds else "unknown")
        profile = found.profile_of[identifier] if state == "member" else None
        members = found.members.get(profile, (profile,)) if profile else ()
        shown = self._describe.identifiers(members)
        return AsKnownAnswer(
            identifier_id=identifier,
            known_before=end,
            state=cast(State, state),
            profile_id=profile,
            identifiers=[shown[i] for i in members],
            **_rests_on(past),
        )

    def _region(self, *ids: str) -> Region:
        region = Region(self._store, basis(self._store, self._workspace))
        region.take(ids)
        return region

    def _profile(self, identifier: str) -> tuple[Region, Assignment, str]:
        region = self._region(identifier)
        found = region.assignment()
        if identifier not in found.profile_of:
            raise Problem("unknown_profile")
        return region, found, found.profile_of[identifier]

    def _obstacles(self, obstacles: list[Obstacle], region: Region) -> list[ObstacleAnswer]:
        days: dict[Pair, list[int | None]] = {}
        for a, b, day in region.links:
            days.setdefault((a, b), []).append(day)
        seen = [days.get(ordered(o.a, o.b), [None]) for o in obstacles]
        steps = self._describe.steps(
            [Step(o.a, o.b, on[0], on[-1], False) for o, on in zip(obstacles, seen, strict=True)]
        )
        said = {o.blocker: ordered(*o.blocker.split()) for o in obstacles if o.reason == "never_link"}
        nevers = self._describe.overrides(said.values())
        alone = {o.blocker for o in obstacles if o.reason in ("shared", "blocked", "unknown")}
        shown = self._describe.identifiers(alone)
        return [
            ObstacleAnswer(
                reason=cast(Reason, o.reason),
                blocker=o.blocker,
                identifier=shown.get(o.blocker),
                step=step if o.reason in ("limit", "with", "never_link", "expired") else None,
                override=nevers.get(said[o.blocker]) if o.blocker in said else None,
            )
            for o, step in zip(obstacles, steps, strict=True)
        ]


class _Basis(TypedDict):
    ruleset: str
    as_of: date


def _rests_on(basis: Basis) -> _Basis:
    return {"ruleset": basis.generation, "as_of": day_of(basis.date)}


def bridges(profile: str, found: Assignment, region: Region) -> list[tuple[Step, tuple[int, int]]]:
    """Bridges of a profile with the numbers of identifiers on either side, larger smaller halves first.

    O(links): a bridge is an edge of any depth-first tree, and what hangs below it is one side.
    """
    links, day = region.links, region.basis.date
    graph = nx.Graph([(step.a, step.b) for step in explain.how(profile, found, links, day)])
    if profile not in graph:
        return []
    edges = list(nx.dfs_edges(graph, profile))
    below = dict.fromkeys(graph, 1)
    for parent, child in reversed(edges):
        below[parent] += below[child]
    parents = {child: parent for parent, child in edges}
    sized = []
    for step in explain.bridges(profile, found, links, day):
        part = below[step.b] if parents.get(step.b) == step.a else len(graph) - below[step.a]
        sized.append((step, (len(graph) - part, part)))
    return sorted(sized, key=lambda each: -min(each[1]))


def install(app: FastAPI, store: Store, keys: AccessKeys, secrets_of: SecretsOf) -> None:
    """Add the endpoints that explain; they need the scope `read`."""
    reads = Annotated[Access, Depends(needs(keys, "read"))]
    profile_id = Annotated[str, Query(alias="profile", description="profile_id or any identifier_id of it")]

    def pair(body: PairRequest, access: Access) -> tuple[Explainer, str, str]:
        refs = [("/a", body.a), ("/b", body.b)]
        a, b = Describer(store, access.workspace).ids(secrets_of(access.workspace), refs)
        return Explainer(store, access.workspace), a, b

    @app.post("/v1/explain/why", summary="Why are they one person?", responses=may(404, 413))
    def why(body: PairRequest, access: reads) -> WhyAnswer:
        """The shortest path of accepted evidence from one identifier to the other."""
        explainer, a, b = pair(body, access)
        return explainer.why(a, b)

    @app.post("/v1/explain/why-not", summary="Why are they not one person?", responses=may(404, 413))
    def why_not(body: PairRequest, access: reads) -> WhyNotAnswer:
        """What keeps two identifiers apart: a limit, an override, a shared identifier, or no evidence."""
        explainer, a, b = pair(body, access)
        return explainer.why_not(a, b)

    @app.get("/v1/explain/how", summary="How did the profile come together?", responses=may(404))
    def how(profile: profile_id, access: reads) -> HowAnswer:
        """The accepted links in the order of time."""
        return Explainer(store, access.workspace).how(checked_id(profile))

    @app.get("/v1/explain/bridges", summary="What hangs by one link?", responses=may(404))
    def bridges(profile: profile_id, access: reads) -> BridgesAnswer:
        """Links whose removal splits the profile."""
        return Explainer(store, access.workspace).bridges(checked_id(profile))

    @app.get("/v1/explain/graph", summary="The profile as a graph", responses=may(404))
    def graph(profile: profile_id, access: reads) -> GraphAnswer:
        """Nodes and links, fit to be drawn."""
        return Explainer(store, access.workspace).graph(checked_id(profile))

    @app.get("/v1/profiles/{identifier_id}/as-known", summary="Who was it on a day?", responses=may(404))
    def as_known(
        identifier_id: Annotated[str, Path(description="Of whom, as lookups and profiles give it")],
        on: Annotated[date, Query(description="The day")],
        access: reads,
    ) -> AsKnownAnswer:
        """Who an identifier was on a day, by evidence received and overrides said until its end."""
        time_zone = secrets_of(access.workspace).workspace.time_zone
        return Explainer(store, access.workspace).as_known(checked_id(identifier_id), on, time_zone)
