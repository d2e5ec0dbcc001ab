"""The endpoints of stewards: say, list and withdraw overrides, split and merge profiles, read the queue.

Invariant: what is said carries author, key and reason, goes into the log and is acknowledged once durable; with
`preview=true` nothing is written. It shows in profiles when the job has taken it up, about a second later.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Identifier
from api.evidence import Describer, IdentifierRef
from api.guard import ProfileId, checked_id, needs
from api.identifiers import SecretsOf
from api.keys import Access, AccessKeys
from api.problems import may
from api.review import ReviewAnswer, Reviewer
from api.stewardship import Appender, Effect, ReviewKind, Steward, Word, append
from schemas.log_record import Override
from store.client import Store

_LIST = """
SELECT override_id, verb, a, b, author, key_id, reason, said_at, expires_on, state,
    ended_at, ended_by, ended_key_id, ended_reason
FROM kintsugi.overrides
WHERE workspace = {w:String} AND (state = {s:String} OR {s:String} = '') AND ({i:String} IN (a, b) OR {i:String} = '')
ORDER BY said_at DESC, override_id LIMIT {n:UInt32}"""

State = Literal["in_force", "expired", "withdrawn", "superseded"]
Author = Annotated[str, Field(min_length=1, max_length=200, description="Who says it, for the record")]
Reason = Annotated[str, Field(min_length=1, max_length=1000, description="Why, for the record")]


class Said(BaseModel):
    """Who says it and why."""

    model_config = ConfigDict(extra="forbid")

    author: Author
    reason: Reason
    expires_on: date | None = Field(None, description="From this day on it no longer holds; null: it lasts")

    def word(self, access: Access) -> Word:
        """The same without the rest of the request, with the key that it came with."""
        return Word(self.author, self.reason, self.expires_on, access.id)


class OverrideRequest(Said):
    """A word on a pair of identifiers; the newest of a pair wins."""

    verb: Literal["force", "never"] = Field(description="force: one person. never: never one person")
    a: IdentifierRef = Field(description="One identifier")
    b: IdentifierRef = Field(description="The other")


class SplitRequest(Said):
    """Identifiers of a profile that are of different people."""

    groups: list[list[IdentifierRef]] = Field(
        min_length=1,
        max_length=16,
        description="Identifiers of one group are kept apart from those of the others; a single group, from "
        "all other identifiers of the profile. What is in no group goes where the evidence says",
    )


class MergeRequest(Said):
    """A profile that is the same person."""

    other: str = Field(description="profile_id of the other profile")


class OverrideAnswer(BaseModel):
    """An override as it was said."""

    override_id: str = Field(description="Id of the override; of no use after a preview")
    verb: Literal["force", "never", "none"] = Field(description="force, never; none: the pair's is withdrawn")
    a: Identifier = Field(description="One identifier")
    b: Identifier = Field(description="The other")
    author: str = Field(description="Who said it, as given")
    key_id: str = Field(
        description="Public name of the access key that sent it; empty when it came another way"
    )
    reason: str = Field(description="Why")
    said_at: datetime = Field(description="When it was said")
    expires_on: date | None = Field(description="From this day on it no longer holds; null: it lasts")


class ListedOverride(OverrideAnswer):
    """An override with what became of it."""

    state: State = Field(description="in_force, expired, withdrawn, or superseded by a newer one of its pair")
    ended_at: datetime | None = Field(description="When it was withdrawn or superseded, else null")
    ended_by: str = Field(description="Who withdrew or superseded it, as given")
    ended_key_id: str = Field(description="Public name of the access key that sent this")
    ended_reason: str = Field(description="Why it was withdrawn or superseded")


class OverridesAnswer(BaseModel):
    """Overrides, newest first."""

    overrides: list[ListedOverride] = Field(description="Overrides, newest first")


class ProfileOutline(BaseModel):
    """A profile and who belongs to it."""

    profile_id: str = Field(description="Id of the profile")
    identifiers: list[Identifier] = Field(description="Its identifiers")


class WithoutEffect(BaseModel):
    """A force-link that would hold nothing together."""

    a: Identifier = Field(description="One identifier")
    b: Identifier = Field(description="The other")
    reason: str = Field(description="never_link, shared, blocked, or unknown: not seen yet")
    blocker: str = Field(description="What stands against it")


class EffectAnswer(BaseModel):
    """What would change."""

    before: list[ProfileOutline] = Field(description="Profiles that would change, as they are")
    after: list[ProfileOutline] = Field(description="Profiles that there would be instead")
    without_effect: list[WithoutEffect] = Field(description="Force-links that would hold nothing together")


class StewardAnswer(BaseModel):
    """What was said, or would be."""

    is_preview: bool = Field(description="True when nothing was written")
    overrides: list[OverrideAnswer] = Field(description="The overrides")
    effect: EffectAnswer | None = Field(description="With preview=true what they would change, else null")


class _Office:
    """Turns calls into records in the log."""

    def __init__(self, store: Store, secrets_of: SecretsOf, log: Appender | None) -> None:
        self._store = store
        self._secrets_of = secrets_of
        self._log = log

    async def take(
        self, access: Access, preview: bool, make: Callable[[Steward, Describer], list[Override]]
    ) -> StewardAnswer:
        """Preview the records, or append them and wait until they are durable."""
        answer, records = await asyncio.to_thread(self._prepared, access.workspace, preview, make)
        if not preview:
            await append(self._log, records)
        return answer

    def ids(self, access: Access, describer: Describer, refs: list[tuple[str, IdentifierRef]]) -> list[str]:
        """Ids of references in a request."""
        return describer.ids(self._secrets_of(access.workspace), refs)

    def _prepared(
        self, workspace: str, preview: bool, make: Callable[[Steward, Describer], list[Override]]
    ) -> tuple[StewardAnswer, list[Override]]:
        steward, describer = Steward(self._store, workspace), Describer(self._store, workspace)
        records = make(steward, describer)
        shown = describer.identifiers(i for record in records for i in (record.a, record.b))
        said = [
            OverrideAnswer(
                override_id=record.id, verb=record.verb, a=shown[record.a], b=shown[record.b], author=record.author,
                key_id=record.key_id, reason=record.reason, said_at=datetime.fromtimestamp(record.at / 1_000_000, UTC),
                expires_on=date.fromisoformat(record.expires_on) if record.expires_on else None,
            )
            for record in records
        ]  # fmt: skip
        effect = _shown(steward.effect(records), describer) if preview else None
        return StewardAnswer(is_preview=preview, overrides=said, effect=effect), records

    def listed(self, workspace: str, state: str, identifier: str, limit: int) -> OverridesAnswer:
        """Overrides that were said."""
        asked = {"w": workspace, "s": state, "i": identifier, "n": limit}
        rows = self._store.query_arrow(_LIST, asked).to_pylist()
        shown = Describer(self._store, workspace).identifiers(i for row in rows for i in (row["a"], row["b"]))
        return OverridesAnswer(
            overrides=[ListedOverride(**row | {"a": shown[row["a"]], "b": shown[row["b"]]}) for row in rows]
        )


def _shown(effect: Effect, describer: Describer) -> EffectAnswer:
    sides = (effect.before, effect.after)
    ids = {i for side in sides for members in side.values() for i in members}
    shown = describer.identifiers(ids.union(*effect.without_effect))
    before, after = (
        [ProfileOutline(profile_id=p, identifiers=[shown[i] for i in side[p]]) for p in sorted(side)]
        for side in sides
    )
    idle = [
        WithoutEffect(a=shown[a], b=shown[b], reason=reason, blocker=blocker)
        for (a, b), (reason, blocker) in effect.without_effect.items()
    ]
    return EffectAnswer(before=before, after=after, without_effect=idle)


def install(
    app: FastAPI, store: Store, keys: AccessKeys, secrets_of: SecretsOf, log: Appender | None
) -> None:
    """Add the endpoints of stewards; they need the scope `steward`."""
    office = _Office(store, secrets_of, log)
    stewards = Annotated[Access, Depends(needs(keys, "steward"))]
    previews = Annotated[bool, Query(description="Say what would change, write nothing")]
    limits = Annotated[int, Query(ge=1, le=1000, description="Items at most, of each kind")]

    @app.post(
        "/v1/overrides",
        summary="Say that two identifiers are one person, or never are",
        status_code=202,
        responses=may(404, 413),
    )
    async def say(
        body: OverrideRequest, access: stewards, response: Response, preview: previews = False
    ) -> StewardAnswer:
        """A force-link or never-link. Shared and blocked identifiers do not cluster, not by force either."""
        response.status_code = 200 if preview else 202

        def make(steward: Steward, describer: Describer) -> list[Override]:
            a, b = office.ids(access, describer, [("/a", body.a), ("/b", body.b)])
            return steward.say(body.verb, [(a, b)], body.word(access))

        return await office.take(access, preview, make)

    @app.get("/v1/overrides", summary="List overrides", responses=may())
    def listed(
        access: stewards,
        state: Annotated[State | None, Query(description="Only of this state")] = None,
        identifier_id: Annotated[str, Query(description="Only those of this identifier")] = "",
        limit: limits = 100,
    ) -> OverridesAnswer:
        """Overrides ever said, newest first, with author, key, reason and what became of them."""
        return office.listed(access.workspace, state or "", identifier_id, limit)

    @app.delete(
        "/v1/overrides/{override_id}",
        summary="Withdraw an override",
        status_code=202,
        responses=may(404, 409),
    )
    async def withdraw(
        override_id: Annotated[str, Path(description="As it was answered when it was said, or is listed")],
        access: stewards,
        response: Response,
        author: Annotated[str, Query(min_length=1, max_length=200, description="Who withdraws it")],
        reason: Annotated[str, Query(min_length=1, max_length=1000, description="Why")],
        preview: previews = False,
    ) -> StewardAnswer:
        """Everything returns to what it would be without the override; its record stays, with who ended it."""
        response.status_code = 200 if preview else 202
        return await office.take(
            access,
            preview,
            lambda steward, _: steward.withdraw(override_id, Word(author, reason, key_id=access.id)),
        )

    @app.post(
        "/v1/profiles/{profile_id}/split",
        summary="Split a profile",
        status_code=202,
        responses=may(404, 413),
    )
    async def split(
        profile_id: ProfileId,
        body: SplitRequest,
        access: stewards,
        response: Response,
        preview: previews = False,
    ) -> StewardAnswer:
        """Never-links that keep the given identifiers apart."""
        response.status_code = 200 if preview else 202
        profile = checked_id(profile_id)

        def make(steward: Steward, describer: Describer) -> list[Override]:
            refs = [
                (f"/groups/{n}/{k}", ref)
                for n, group in enumerate(body.groups)
                for k, ref in enumerate(group)
            ]
            ids = iter(office.ids(access, describer, refs))
            return steward.split(
                profile, [[next(ids) for _ in group] for group in body.groups], body.word(access)
            )

        return await office.take(access, preview, make)

    @app.post(
        "/v1/profiles/{profile_id}/merge",
        summary="Merge two profiles",
        status_code=202,
        responses=may(404, 409, 413),
    )
    async def merge(
        profile_id: ProfileId,
        body: MergeRequest,
        access: stewards,
        response: Response,
        preview: previews = False,
    ) -> StewardAnswer:
        """The force-links that make two profiles one, as few as it takes; withdraw them to undo it exactly."""
        response.status_code = 200 if preview else 202

        def make(steward: Steward, describer: Describer) -> list[Override]:
            refs = [
                ("", IdentifierRef(identifier_id=profile_id)),
                ("/other", IdentifierRef(identifier_id=body.other)),
            ]
            one, other = office.ids(access, describer, refs)
            return steward.merge(one, other, body.word(access))

        return await office.take(access, preview, make)

    @app.get("/v1/review", summary="What deserves a look", responses=may())
    def review(
        access: stewards,
        kind: Annotated[ReviewKind | None, Query(description="Only this kind")] = None,
        reason: Annotated[str, Query(description="Refused merges of this reason only")] = "",
        limit: limits = 20,
    ) -> ReviewAnswer:
        """Refused merges, profiles near a limit, shared identifiers, and profiles that hang by one pair."""
        reviewer = Reviewer(store, access.workspace, limit)
        lists: dict[str, Callable[[], list[Any]]] = {
            "refused": lambda: reviewer.refused(reason),
            "near_limit": reviewer.near_limit,
            "shared": reviewer.shared,
            "bridges": reviewer.bridges,
        }
        return ReviewAnswer(**{name: read() if kind in (None, name) else [] for name, read in lists.items()})
