"""Identifiers, events and overrides as answers about identity name them: by reference in, masked out.

Invariant: an identifier of another workspace is unknown here, and no answer shows more of a value than its mask.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from api.answers import Identifier
from api.guard import checked_id
from api.identifiers import Secrets, name
from identity.evidence import Pair
from identity.explain import Step
from schemas.errors import Problem
from schemas.ids import ordered
from store.client import Store

_IDS = pa.schema([pa.field("id", pa.string(), nullable=False)])
_PAIRS = pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("b", pa.string(), nullable=False)])
_IDENTIFIERS = """
SELECT DISTINCT ON (identifier_id) identifier_id, namespace, scope, mask FROM kintsugi_store.identifiers
WHERE workspace = {w:String} AND identifier_id IN (SELECT id FROM ids)"""
_EXAMPLES = """
SELECT a, b, argMin(example_event, (day, example_event)) FROM kintsugi_store.links
WHERE workspace = {w:String} AND (a, b) IN (SELECT a, b FROM pairs) GROUP BY a, b"""
_EVENTS = """
SELECT event_id, any(type), any(event), any(source), min(occurred_at) FROM kintsugi_store.events
WHERE workspace = {w:String} AND event_id IN (SELECT id FROM ids) GROUP BY event_id"""
_OVERRIDES = """
SELECT a, b, override_id, verb, author, reason, said_at, expires_on FROM kintsugi.overrides
WHERE workspace = {w:String} AND state = 'in_force' AND (a, b) IN (SELECT a, b FROM pairs)"""


class IdentifierRef(BaseModel):
    """An identifier: its identifier_id, or namespace and value (and scope) in any spelling."""

    model_config = ConfigDict(extra="forbid")

    identifier_id: str = Field(default="", description="Id of the identifier, 32 hex characters")
    namespace: str = Field(
        default="", description="Namespace as the workspace declares it", examples=["phone"]
    )
    scope: str = Field(default="", description="Scope of a scoped namespace: appid, corp id")
    value: str | StrictInt = Field(default="", description="The identifier as you have it")

    @model_validator(mode="after")
    def _names_one(self) -> "IdentifierRef":
        if bool(self.identifier_id) == bool(self.namespace):
            raise ValueError("give identifier_id, or namespace and value")
        return self


class EventRef(BaseModel):
    """An event that shows a link."""

    event_id: str = Field(description="Id of the event")
    type: str = Field(description="Segment type")
    event: str = Field(description="Name of the event")
    source: str = Field(description="Source that sent it")
    occurred_at: datetime = Field(description="Event time")


class OverrideRef(BaseModel):
    """A steward's word that is in force."""

    override_id: str = Field(description="Id of the override")
    verb: str = Field(description="force or never")
    author: str = Field(description="Who said it")
    reason: str = Field(description="Why")
    said_at: datetime = Field(description="When")
    expires_on: date | None = Field(description="From this day on it no longer holds; null: it lasts")


class StepAnswer(BaseModel):
    """A pair of identifiers, and what shows that they belong together."""

    a: Identifier = Field(description="One end")
    b: Identifier = Field(description="The other end")
    first_day: date | None = Field(description="First day on which they were seen together; null: never")
    last_day: date | None = Field(description="Last day on which they were seen together; null: never")
    is_forced: bool = Field(description="True when a steward's force-link holds them together")
    event: EventRef | None = Field(description="An event of the first day; null when never seen together")
    override: OverrideRef | None = Field(description="What a steward said of the pair, if anything")


def day_of(days: int) -> date:
    """Calendar date of days since 1970-01-01."""
    return date(1970, 1, 1) + timedelta(days)


class Describer:
    """Turns ids and references into each other, for one workspace. Every method blocks."""

    def __init__(self, store: Store, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    def ids(self, secrets: Secrets, refs: Iterable[tuple[str, IdentifierRef]]) -> list[str]:
        """identifier_id of each (JSON pointer, reference).

        Raises Problem: `unknown_profile` for an id never seen here; for a value that can be no identifier,
        `unknown_namespace`, `missing_scope` or `bad_request`. A value need not have been seen.
        """
        found: list[str] = []
        given: dict[str, str] = {}
        for pointer, ref in refs:
            if ref.identifier_id:
                given[checked_id(ref.identifier_id, pointer)] = pointer
                found.append(ref.identifier_id)
                continue
            named = name(secrets, ref.namespace, ref.scope, str(ref.value))
            if named.reason == "no_normal_form":
                raise Problem("bad_request", "The value can be no identifier of its namespace.", pointer)
            if named.reason:
                raise Problem(named.reason, pointer=pointer)
            found.append(named.identifier_id)
        known = {row[0] for row in self._ask(_IDENTIFIERS, given)}
        for identifier, pointer in given.items():
            if identifier not in known:
                raise Problem("unknown_profile", pointer=pointer)
        return found

    def identifiers(self, ids: Iterable[str]) -> dict[str, Identifier]:
        """What may be shown of each; one that was never seen has only its id."""
        wanted = set(ids)
        rows = self._ask(_IDENTIFIERS, wanted)
        found = {i: Identifier(identifier_id=i, namespace=n, scope=s, value=mask) for i, n, s, mask in rows}
        for i in wanted - found.keys():
            found[i] = Identifier(identifier_id=i, namespace="", scope="", value="")
        return found

    def overrides(self, pairs: Iterable[Pair]) -> dict[Pair, OverrideRef]:
        """Overrides in force of these pairs."""
        return {
            (a, b): OverrideRef(override_id=i, verb=v, author=w, reason=r, said_at=at, expires_on=until)
            for a, b, i, v, w, r, at, until in self._ask_pairs(_OVERRIDES, pairs)
        }

    def steps(self, steps: list[Step]) -> list[StepAnswer]:
        """The steps with what shows them, in their order."""
        pairs = {ordered(step.a, step.b) for step in steps}
        shown = self.identifiers(end for pair in pairs for end in pair)
        overrides = self.overrides(pairs)
        examples = {(a, b): event for a, b, event in self._ask_pairs(_EXAMPLES, pairs)}
        events = {
            i: EventRef(event_id=i, type=t, event=e, source=s, occurred_at=at)
            for i, t, e, s, at in self._ask(_EVENTS, set(examples.values()))
        }
        return [
            StepAnswer(
                a=shown[step.a],
                b=shown[step.b],
                first_day=None if step.first_day is None else day_of(step.first_day),
                last_day=None if step.last_day is None else day_of(step.last_day),
                is_forced=step.is_forced,
                event=events.get(examples.get(ordered(step.a, step.b), "")),
                override=overrides.get(ordered(step.a, step.b)),
            )
            for step in steps
        ]

    def _ask(self, sql: str, ids: Iterable[str]) -> list[tuple[Any, ...]]:
        sent = sorted(set(ids))
        ask = {"ids": pa.table({"id": sent}, schema=_IDS)}
        return self._store.query_rows(sql, {"w": self._workspace}, ask) if sent else []

    def _ask_pairs(self, sql: str, pairs: Iterable[Pair]) -> list[tuple[Any, ...]]:
        sent = sorted(set(pairs))
        if not sent:
            return []
        columns = {"a": [a for a, _ in sent], "b": [b for _, b in sent]}
        return self._store.query_rows(
            sql, {"w": self._workspace}, {"pairs": pa.table(columns, schema=_PAIRS)}
        )
