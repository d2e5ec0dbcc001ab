"""The queue of what deserves a steward's look: refused merges, limits, shared identifiers, weak bridges.

Invariant: the queue is read from the public views and the stored clusters; looking changes nothing.
"""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

from api.answers import Identifier
from api.evidence import Describer
from api.explain import bridges
from api.explained import Bridge
from identity.explain import Step
from store.client import Store
from store.region import Region, basis

LARGE_HALF = 3
"""Identifiers on the smaller side of a bridge from which on it deserves a look."""
_LARGE_PROFILES = 20
_LARGEST = 500
"""Profiles whose bridges are looked at: so many, the largest up to so many identifiers."""

_REFUSED = """
SELECT profile_a, profile_b, reason, blockers, link_count, last_day FROM kintsugi.refused_merges
WHERE workspace = {w:String} AND (reason = {r:String} OR {r:String} = '')
ORDER BY last_day DESC NULLS LAST, link_count DESC, profile_a, profile_b LIMIT {n:UInt32}"""
_NEAR = """
SELECT profile_id, namespace, held, most FROM kintsugi.profiles_near_limits
WHERE workspace = {w:String} ORDER BY held / most DESC, held DESC, profile_id LIMIT {n:UInt32}"""
_SHARED = """
SELECT identifier_id, namespace, mask, neighbour_count, last_day, became_shared_at
FROM kintsugi.shared_identifiers WHERE workspace = {w:String}
ORDER BY became_shared_at DESC NULLS LAST, neighbour_count DESC, identifier_id LIMIT {n:UInt32}"""
_LARGE = """
SELECT profile_id FROM kintsugi_store.clusters FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND length(members) BETWEEN {low:UInt32} AND {high:UInt32}
ORDER BY length(members) DESC, profile_id LIMIT {n:UInt32}"""


class RefusedMerge(BaseModel):
    """Two profiles that evidence would join and the rules do not: `POST /v1/profiles/{profile_a}/merge` does."""

    profile_a: str = Field(description="One profile")
    profile_b: str = Field(description="The other")
    identifier_a: Identifier = Field(description="Founding identifier of the one")
    identifier_b: Identifier = Field(description="Founding identifier of the other")
    reason: str = Field(description="limit, with or never_link")
    blockers: list[str] = Field(description="The limits or never-linked pairs that stand against it")
    link_count: int = Field(description="Refused pairs between the two")
    last_day: date | None = Field(description="Last day on which such a pair was seen")


class NearLimit(BaseModel):
    """A profile to which the next identifier of a namespace would be refused, or nearly so."""

    profile_id: str = Field(description="Profile")
    namespace: str = Field(description="Namespace with a limit")
    held: int = Field(description="Identifiers of it in the profile")
    most: int = Field(description="max_per_profile")


class SharedIdentifier(BaseModel):
    """An identifier that too many people use to say whose it is."""

    identifier: Identifier = Field(description="The identifier")
    neighbour_count: int = Field(description="Distinct identifiers seen with it")
    last_day: date | None = Field(description="Last day on which it was seen with another")
    became_shared_at: datetime | None = Field(description="When that broke up a profile; else null")


class WeakBridge(BaseModel):
    """A profile whose two large halves hang together by one pair."""

    profile_id: str = Field(description="Profile")
    bridge: Bridge = Field(description="The pair, with its evidence and the sizes of the halves")


class ReviewAnswer(BaseModel):
    """What deserves a look; lists that were not asked for are empty."""

    refused: list[RefusedMerge] = Field(description="Candidates for a merge, the newest evidence first")
    near_limit: list[NearLimit] = Field(description="Profiles near max_per_profile")
    shared: list[SharedIdentifier] = Field(
        description="Shared identifiers, the latest that broke up a profile first"
    )
    bridges: list[WeakBridge] = Field(
        description=f"Of the {_LARGE_PROFILES} largest profiles, those that one pair holds together"
    )


class Reviewer:
    """Reads the queue of one workspace, at most `limit` of each kind. Every method blocks."""

    def __init__(self, store: Store, workspace: str, limit: int) -> None:
        self._store = store
        self._workspace = workspace
        self._limit = limit
        self._describe = Describer(store, workspace)

    def refused(self, reason: str) -> list[RefusedMerge]:
        """Refused merges; of one reason unless it is empty."""
        rows = self._ask(_REFUSED, r=reason)
        shown = self._describe.identifiers(i for row in rows for i in row[:2])
        return [
            RefusedMerge(
                profile_a=a, profile_b=b, identifier_a=shown[a], identifier_b=shown[b], reason=why,
                blockers=blockers, link_count=count, last_day=day,
            )
            for a, b, why, blockers, count, day in rows
        ]  # fmt: skip

    def near_limit(self) -> list[NearLimit]:
        """Profiles near a limit."""
        return [
            NearLimit(profile_id=p, namespace=n, held=held, most=most)
            for p, n, held, most in self._ask(_NEAR)
        ]

    def shared(self) -> list[SharedIdentifier]:
        """Shared identifiers."""
        rows = self._ask(_SHARED)
        shown = self._describe.identifiers(row[0] for row in rows)
        return [
            SharedIdentifier(identifier=shown[i], neighbour_count=n, last_day=day, became_shared_at=at)
            for i, _, _, n, day, at in rows
        ]

    def bridges(self) -> list[WeakBridge]:
        """Of the largest profiles, the worst bridge of each that has one between large halves."""
        now = basis(self._store, self._workspace)
        asked = {"g": now.generation, "low": 2 * LARGE_HALF, "high": _LARGEST}
        profiles = [p for (p,) in self._ask(_LARGE, **asked, n=_LARGE_PROFILES)]
        region = Region(self._store, now)
        region.take(profiles)
        assignment = region.assignment()
        worst: list[tuple[str, Step, tuple[int, int]]] = []
        for profile in profiles:
            found = bridges(profile, assignment, region)
            if found and min(found[0][1]) >= LARGE_HALF:
                worst.append((profile, *found[0]))
        worst.sort(key=lambda each: -min(each[2]))
        steps = self._describe.steps([step for _, step, _ in worst])
        return [
            WeakBridge(profile_id=profile, bridge=Bridge(step=step, sizes=sizes))
            for (profile, _, sizes), step in zip(worst, steps, strict=True)
        ][: self._limit]

    def _ask(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._store.query_rows(sql, {"w": self._workspace, "n": self._limit, **parameters})
