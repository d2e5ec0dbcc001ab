"""What the query API is asked and what it says, field by field; the reference of the API is made from this.

Invariant: no question carries a workspace (the key does) and no answer repeats a value that was asked for.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from api.masking import Shown
from api.profiles import Found, InForce, ProfileRow

MOST_IDENTIFIERS = 1000


class IdentifierQuery(BaseModel):
    """One identifier, in any spelling: it is brought to its normal form here."""

    model_config = ConfigDict(extra="forbid")

    namespace: str = Field(
        description="Namespace as the workspace declares it", examples=["phone", "wechat_openid"]
    )
    scope: str = Field(
        "", description="Scope of a scoped namespace: appid of an openid, corp of a WeCom contact"
    )
    value: str | StrictInt = Field(description="The identifier as you have it", examples=["138 0013 8000"])


class LookupRequest(BaseModel):
    """Identifiers to look up."""

    model_config = ConfigDict(extra="forbid")

    identifiers: list[IdentifierQuery] = Field(
        min_length=1, max_length=MOST_IDENTIFIERS, description="Answered in this order; repeats are allowed"
    )


class Freshness(BaseModel):
    """How fresh an answer is."""

    as_of: date | None = Field(description="Date in force: scores, stage and segments are as of this day")
    ruleset: str = Field(description="Generation in force: the ruleset under which profiles were derived")
    evidence_through: datetime | None = Field(
        description="When the job last recorded a segment of the log as done: events accepted before it "
        "closed are in the profiles, later ones may not be yet. Null before the first"
    )


class Identifier(BaseModel):
    """One identifier of a profile."""

    identifier_id: str = Field(description="Id of the identifier, 32 hex characters")
    namespace: str = Field(description="Namespace")
    scope: str = Field(description="Scope of a scoped namespace, else empty")
    value: str = Field(description="Masked (138****8000); the normal form with a key of scope pii")


class Profile(BaseModel):
    """A golden record: everything known of one person under the rules in force."""

    profile_id: str = Field(description="Id of the profile: the identifier_id of its founding identifier")
    identifiers: list[Identifier] = Field(description="Identifiers that the rules accept as this person's")
    traits: dict[str, str] = Field(
        description="Current value of each trait; sensitive ones only with a key of scope pii"
    )
    hidden_traits: list[str] = Field(
        description="Names of sensitive traits that are known but hidden from this key"
    )
    behaviour_score: float = Field(description="Points for what the person did, on the date in force")
    identity_score: float = Field(
        description="Points for fit (completeness, location, preference), not a confidence that the "
        "identifiers belong together"
    )
    identity_grade: str = Field(description="Letter of identity_score; empty where the rules give none")
    behaviour_points: dict[str, float] = Field(
        description="behaviour_score by rule, with inactivity, floor and ceiling"
    )
    identity_points: dict[str, float] = Field(description="identity_score by rule, with floor and ceiling")
    stage: str = Field(description="Stage of the customer journey; empty before the first")
    tags: list[str] = Field(description="Tags")
    segments: list[str] = Field(description="Segments the profile is in")
    first_channel: str = Field(description="Channel of the first event that has one")
    last_channel: str = Field(description="Channel of the last event that has one")
    owner: str = Field(description="Employee of the last event that names one")
    first_seen_at: datetime = Field(description="Time of the first event")
    last_seen_at: datetime = Field(description="Time of the last event")
    event_count: int = Field(description="Events that count for this profile")
    next_change_on: date | None = Field(
        description="Next day on which time alone changes stage, tags, segments, a window or inactivity"
    )
    profile_version: str = Field(
        description="Version of the record; of two answers the greater number is newer"
    )


class LookupItem(BaseModel):
    """What one identifier leads to."""

    identifier_id: str | None = Field(description="Id of the identifier; null when it is invalid")
    state: Literal["member", "shared", "blocked", "unknown", "invalid"] = Field(
        description="member: belongs to a profile. shared: seen with too many people (shop phone, kiosk) to "
        "say whose it is. blocked: no person's identifier. unknown: never seen. invalid: can be no "
        "identifier, see reason"
    )
    reason: str | None = Field(
        description="Why it is invalid: unknown_namespace, missing_scope, or no_normal_form; else null"
    )
    profile_id: str | None = Field(description="Profile of a member, else null")
    profile: Profile | None = Field(
        description="The profile; null for anything but a member, and for moments after an identifier was "
        "first seen"
    )


class LookupAnswer(BaseModel):
    """Answers in the order of the questions."""

    items: list[LookupItem] = Field(description="One per identifier asked for, in the same order")
    masked: bool = Field(description="True when identifiers are masked and sensitive traits hidden")
    freshness: Freshness = Field(description="How fresh the answer is")


class ProfileAnswer(BaseModel):
    """One profile."""

    profile: Profile = Field(description="The golden record")
    redirected_from: str | None = Field(
        description="The profile_id that was asked for, when that profile has joined another; else null"
    )
    masked: bool = Field(description="True when identifiers are masked and sensitive traits hidden")
    freshness: Freshness = Field(description="How fresh the answer is")


class Health(BaseModel):
    """Whether lookups can be answered."""

    status: Literal["ok"] = Field(
        description="ok when the store answers, else the answer is a problem with 503"
    )
    as_of: date | None = Field(description="Oldest date in force of all workspaces; null before the first")


def freshness(in_force: InForce) -> Freshness:
    """How fresh an answer under this pointer is."""
    return Freshness(
        as_of=in_force.as_of, ruleset=in_force.generation, evidence_through=in_force.evidence_through
    )


def profile(row: ProfileRow, shown: Shown) -> Profile:
    """The record as one reader sees it; points instead of thousandths."""
    behaviour, identity = row.behaviour_points, row.identity_points
    return Profile(
        profile_id=row.profile_id,
        identifiers=[Identifier(**identifier._asdict()) for identifier in shown.identifiers],
        traits=shown.traits,
        hidden_traits=shown.hidden_traits,
        behaviour_score=sum(behaviour.values()) / 1000,
        identity_score=sum(identity.values()) / 1000,
        identity_grade=row.identity_grade,
        behaviour_points={rule: thousandths / 1000 for rule, thousandths in behaviour.items()},
        identity_points={rule: thousandths / 1000 for rule, thousandths in identity.items()},
        stage=row.stage,
        tags=row.tags,
        segments=row.segments,
        first_channel=row.first_channel,
        last_channel=row.last_channel,
        owner=row.owner,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        event_count=row.event_count,
        next_change_on=row.next_change_on,
        profile_version=str(row.version),
    )


def invalid(reason: str) -> LookupItem:
    """The item of an identifier that can have no id."""
    return LookupItem(identifier_id=None, state="invalid", reason=reason, profile_id=None, profile=None)


def item(identifier_id: str, found: Found, shown: Profile | None) -> LookupItem:
    """The item of an identifier with an id."""
    return LookupItem(
        identifier_id=identifier_id,
        state=found.state,
        reason=None,
        profile_id=found.profile_id if found.state == "member" else None,
        profile=shown,
    )
