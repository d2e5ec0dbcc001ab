"""Where the events of an identifier went that names no profile any more, because it is shared or blocked.

Invariant: every event of it that counts for a person is counted once, for the profile that it counts for now.
"""

from typing import Literal

from pydantic import BaseModel, Field

from api.answers import Freshness, freshness
from api.profiles import InForce
from store.client import Store

MOST = 100
_WENT = """
WITH excluded AS (
    SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
    WHERE workspace = {w:String} AND generation = {g:String} AND reason != ''
), subjects AS (
    SELECT subject, uniqExact(event_id) AS events FROM (
        SELECT event_id, arrayFirst(i -> i NOT IN (SELECT identifier_id FROM excluded), identifiers) AS subject
        FROM kintsugi_store.event_hits
        WHERE workspace = {w:String} AND generation = {g:String} AND identifier_id = {i:String}
    ) WHERE subject != '' GROUP BY subject
)
SELECT if(m.profile_id = '', s.subject, m.profile_id) AS profile_id, sum(s.events) AS events,
    count() OVER () AS profiles
FROM subjects AS s
LEFT JOIN (
    SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
    WHERE workspace = {w:String} AND generation = {g:String}
        AND identifier_id IN (SELECT subject FROM subjects)
) AS m ON s.subject = m.identifier_id
GROUP BY profile_id ORDER BY events DESC, profile_id LIMIT {n:UInt32}"""


class EventsOf(BaseModel):
    """A profile for which events of the identifier count."""

    profile_id: str = Field(description="The profile")
    event_count: int = Field(description="Events with the identifier that count for it")


class ExcludedAnswer(BaseModel):
    """An identifier that belongs to nobody: its events count for the people they show besides."""

    identifier_id: str = Field(description="The id that was asked for")
    state: Literal["shared", "blocked"] = Field(
        description="shared: seen with too many people to say whose it is. blocked: no person's identifier"
    )
    profiles: list[EventsOf] = Field(
        description=f"Where its events count now, the most events first, up to {MOST}"
    )
    profile_count: int = Field(description="Number of those profiles")
    freshness: Freshness = Field(description="How fresh the answer is")


def excluded(
    store: Store, workspace: str, in_force: InForce, identifier: str, state: Literal["shared", "blocked"]
) -> ExcludedAnswer:
    """Where the identifier's events went. O(its events); blocks."""
    asked = {"w": workspace, "g": in_force.generation, "i": identifier, "n": MOST}
    rows = store.query_rows(_WENT, asked)
    return ExcludedAnswer(
        identifier_id=identifier,
        state=state,
        profiles=[EventsOf(profile_id=profile, event_count=count) for profile, count, _ in rows],
        profile_count=rows[0][2] if rows else 0,
        freshness=freshness(in_force),
    )
