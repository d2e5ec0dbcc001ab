"""What people and the CRM say of leads: a status, a tag, an outcome; each becomes a record in the log.

Invariant: its id is a hash of what is said of whom, when and from which day, so that saying it again changes nothing;
a stage that the rules in force do not declare is refused before anything is written.
"""

import asyncio
import json
from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.answers import Identifier
from api.evidence import Describer, IdentifierRef
from api.guard import needs
from api.identifiers import Secrets, SecretsOf
from api.keys import Access, AccessKeys
from api.overrides import Author, Reason
from api.problems import may
from api.stewardship import Appender, Word, append, now_us
from schemas.errors import Problem
from schemas.events import AHEAD
from schemas.ids import keyed_id
from schemas.log_record import Assertion, What
from schemas.times import EARLIEST, parse_time
from scoring.profile_rules import Stages, said_value, stages_from
from store.client import Store

_STAGES = """
SELECT JSONExtractRaw(ruleset, 'scoring', 'stages') FROM kintsugi_store.generations FINAL
WHERE workspace = {w:String} AND (workspace, generation) IN (
    SELECT workspace, generation FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String})"""


class AssertionRequest(BaseModel):
    """A word on a lead, by any of its identifiers."""

    model_config = ConfigDict(extra="forbid")

    identifier: IdentifierRef = Field(description="Of whom; it counts for the profile that holds it")
    what: What = Field(
        description="status: a stage. tag, untag: a tag of people. outcome: what came of the lead, won or lost"
    )
    value: str = Field(description="The stage, the tag (manual/ may be left out), or the name of the outcome")
    author: Author
    reason: Reason
    on: date | None = Field(
        None, description="Day from which it holds, where the workspace is; null: of said_at"
    )
    said_at: AwareDatetime | None = Field(
        None, description="When it was said; sent again with the same time it is the same. Null: now"
    )


class AssertionAnswer(BaseModel):
    """What was said, durable in the log."""

    assertion_id: str = Field(description="Id of the record")
    identifier: Identifier = Field(description="Of whom")
    what: What = Field(description="status, tag, untag or outcome")
    value: str = Field(description="Stage, tag or outcome")
    author: str = Field(description="Who said it")
    reason: str = Field(description="Why")
    said_at: datetime = Field(description="When; of one day the newest word wins")
    on: date = Field(description="Day from which it holds")


class Sayings:
    """Makes the records of one workspace, by the rules in force when this is made. Blocks."""

    def __init__(self, store: Store, secrets: Secrets) -> None:
        self._name = secrets.workspace.name
        self._pepper = secrets.keys.pepper
        self.time_zone = ZoneInfo(secrets.workspace.time_zone)
        rows = store.query_rows(_STAGES, {"w": self._name})
        self._stages: Stages | None = stages_from(json.loads(rows[0][0] or "null") if rows else None)

    def record(
        self, identifier: str, what: What, value: str, word: Word, at: int, on: date | None = None
    ) -> Assertion:
        """The record of a word said at `at` (µs UTC), by default of that day.

        Raises Problem `unknown_stage`, `bad_request`, `ts_out_of_range`.
        """
        if not EARLIEST <= at <= now_us() + AHEAD:  # a word from the future would beat every word until then
            raise Problem("ts_out_of_range", "It was said between 1970 and now.", "/said_at")
        if on and not 1970 <= on.year <= 2099:
            raise Problem("ts_out_of_range", "It holds from a day between 1970 and 2099 on.", "/on")
        said = said_value(what, value, self._stages)
        day = (on or datetime.fromtimestamp(at / 1e6, self.time_zone).date()).isoformat()
        fields = (self._name, identifier, what, said, str(at), day)
        return Assertion(
            workspace=self._name, at=at, id=keyed_id(self._pepper, "assertion", *(text.encode() for text in fields)),
            identifier=identifier, what=what, value=said, author=word.author, key_id=word.key_id, reason=word.reason,
            day=day,
        )  # fmt: skip


def install(
    app: FastAPI, store: Store, keys: AccessKeys, secrets_of: SecretsOf, log: Appender | None
) -> None:
    """Add the endpoint of people and the CRM; it needs the scope `steward`."""
    stewards = Annotated[Access, Depends(needs(keys, "steward"))]

    def prepared(body: AssertionRequest, access: Access) -> tuple[Assertion, Identifier]:
        secrets, describer = secrets_of(access.workspace), Describer(store, access.workspace)
        (identifier,) = describer.ids(secrets, [("/identifier", body.identifier)])
        at = (parse_time(body.said_at.isoformat()) if body.said_at else None) or now_us()
        word = Word(body.author, body.reason, key_id=access.id)
        try:
            record = Sayings(store, secrets).record(identifier, body.what, body.value, word, at, body.on)
        except Problem as problem:
            raise Problem(problem.code, problem.detail, problem.pointer or "/value") from None
        return record, describer.identifiers([identifier])[identifier]

    @app.post(
        "/v1/assertions",
        summary="Say a status, a tag or an outcome",
        status_code=202,
        responses=may(404, 413),
    )
    async def say(body: AssertionRequest, access: stewards) -> AssertionAnswer:
        """What sales or the CRM know of a lead. It shows in profiles about a second later, and in `changes`."""
        record, identifier = await asyncio.to_thread(prepared, body, access)
        await append(log, [record])
        return AssertionAnswer(
            assertion_id=record.id, identifier=identifier, what=record.what, value=record.value,
            author=record.author, reason=record.reason, said_at=datetime.fromtimestamp(record.at / 1e6, UTC),
            on=date.fromisoformat(record.day),
        )  # fmt: skip
