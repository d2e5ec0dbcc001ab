"""What explanations say, field by field; the reference of the API is made from this.

Invariant: identifiers stand masked, and every answer names the rules and the day it rests on.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.answers import Identifier
from api.evidence import IdentifierRef, OverrideRef, StepAnswer

Reason = Literal["unknown", "blocked", "shared", "limit", "with", "never_link", "expired", "no_evidence"]
State = Literal["member", "shared", "blocked", "unknown"]


class PairRequest(BaseModel):
    """Two identifiers."""

    model_config = ConfigDict(extra="forbid")

    a: IdentifierRef = Field(description="One identifier")
    b: IdentifierRef = Field(description="The other")


class Explained(BaseModel):
    """What an explanation rests on."""

    ruleset: str = Field(description="Generation in force: the ruleset that decided")
    as_of: date = Field(description="Date that the answer is about; evidence of later days is left out")


class WhyAnswer(Explained):
    """The shortest path of accepted evidence between two identifiers."""

    are_one: bool = Field(description="True when both belong to one profile")
    profile_id: str | None = Field(description="That profile; null when they are not one")
    steps: list[StepAnswer] = Field(description="From a to b; empty when they are not one")


class ObstacleAnswer(BaseModel):
    """Something that keeps two identifiers apart."""

    reason: Reason = Field(
        description="limit, with: the rules allow one profile no more. never_link: a steward said so. shared, "
        "blocked: the blocker does not cluster. expired: the link is too old. unknown: never seen. "
        "no_evidence: nothing within reach connects them"
    )
    blocker: str = Field(
        description="The limit (namespace: most), or the identifier_ids that stand against it"
    )
    identifier: Identifier | None = Field(description="The shared, blocked or unknown identifier, else null")
    step: StepAnswer | None = Field(
        description="The pair it happened at, with its evidence; null for no pair"
    )
    override: OverrideRef | None = Field(description="The never-link, with author and reason, else null")


class WhyNotAnswer(Explained):
    """What keeps two identifiers apart, on the way with the fewest obstacles."""

    are_one: bool = Field(description="True when both belong to one profile: nothing keeps them apart")
    obstacles: list[ObstacleAnswer] = Field(description="In the order from a to b")


class HowAnswer(Explained):
    """What holds a profile together."""

    profile_id: str = Field(description="Profile that the identifier leads to")
    steps: list[StepAnswer] = Field(
        description="Accepted links by first day, then pairs that are forced only"
    )


class Bridge(BaseModel):
    """A pair without which a profile falls in two."""

    step: StepAnswer = Field(description="The pair, with its evidence")
    sizes: tuple[int, int] = Field(description="Identifiers on the side of a, and on the side of b")


class BridgesAnswer(Explained):
    """Pairs that hold a profile together alone."""

    profile_id: str = Field(description="Profile that the identifier leads to")
    bridges: list[Bridge] = Field(description="Those with the larger smaller half first")


class Node(Identifier):
    """An identifier of a graph."""

    first_day: date = Field(description="First day on which it was seen")
    is_founding: bool = Field(description="True for the identifier that names the profile")


class GraphAnswer(Explained):
    """A profile as nodes and links."""

    profile_id: str = Field(description="Profile that the identifier leads to")
    nodes: list[Node] = Field(description="Identifiers of the profile")
    links: list[StepAnswer] = Field(description="What holds them together, by first day")


class AsKnownAnswer(Explained):
    """Who an identifier was on a day, by the evidence received until the end of that day."""

    identifier_id: str = Field(description="The identifier")
    known_before: datetime = Field(description="End of the day in the time zone of the workspace")
    state: State = Field(description="member, shared or blocked; unknown: not seen by then")
    profile_id: str | None = Field(description="Profile of a member, else null")
    identifiers: list[Identifier] = Field(description="Identifiers of that profile")
