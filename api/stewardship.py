"""What stewards say of identifiers: overrides, splits and merges as log records, each with what it would change.

Invariant: nothing here writes to the store. A word becomes a record in the log, and what a preview says is what
the pure function says of the evidence with that record added.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from identity.clusters import Assignment
from identity.evidence import Pair, Verb, namespace_of, overrides_in_force
from schemas.errors import Problem
from schemas.ids import ordered
from schemas.log_record import AnyRecord, Override
from store.client import Store
from store.overrides import days_of, override_of
from store.region import Region, basis, changed_by

_APPEND_SECONDS = 10.0
MOST_PAIRS = 1_000
"""Overrides that one call may say."""
_FIND = """
SELECT a, b, state FROM kintsugi.overrides WHERE workspace = {w:String} AND override_id = {i:String}"""


class Appender(Protocol):
    """What this needs of the log."""

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        """Adds records; the future resolves when they are durable."""


async def append(log: Appender | None, records: Sequence[AnyRecord]) -> None:
    """Return once the records are durable. Raises Problem `overloaded`."""
    if log is None:
        raise Problem("overloaded", "This process has no log to write to.")
    try:
        await asyncio.wait_for(asyncio.wrap_future(log.append(records)), _APPEND_SECONDS)
    except TimeoutError:
        raise Problem("overloaded", "The log did not confirm in time.") from None


@dataclass(frozen=True, slots=True)
class Word:
    """Who says it with which key, why, and until when."""

    author: str
    reason: str
    expires_on: date | None = None
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What records would change."""

    before: dict[str, tuple[str, ...]]
    """Profiles that would change: profile_id -> members now."""
    after: dict[str, tuple[str, ...]]
    """Profiles that there would be instead."""
    without_effect: dict[Pair, tuple[str, str]]
    """Force-links that would hold nothing together: (reason, blocker)."""


def now_us() -> int:
    """µs since 1970, UTC."""
    return time.time_ns() // 1000


class Steward:
    """Makes and previews the records of one workspace. Every method blocks."""

    def __init__(self, store: Store, workspace: str, now: Callable[[], int] = now_us) -> None:
        self._store = store
        self._workspace = workspace
        self._now = now

    def say(self, verb: Verb, pairs: Iterable[Pair], word: Word) -> list[Override]:
        """Records that say `verb` of each pair.

        Raises Problem `bad_request` for a pair of one identifier with itself and for an end that is past,
        `too_many_items`.
        """
        chosen = list(dict.fromkeys(ordered(*pair) for pair in pairs))
        if any(a == b for a, b in chosen):
            raise Problem("bad_request", "An identifier cannot be overridden with itself.")
        if len(chosen) > MOST_PAIRS:
            raise Problem("too_many_items", f"This would take {len(chosen)} overrides of {MOST_PAIRS}.")
        if (
            word.expires_on
            and days_of(word.expires_on.isoformat()) <= basis(self._store, self._workspace).date
        ):
            raise Problem("bad_request", "It would have expired already.", "/expires_on")
        at = self._now()
        until = word.expires_on.isoformat() if word.expires_on else ""
        return [
            Override(
                workspace=self._workspace, at=at + n, id=uuid.uuid4().hex, verb=verb, a=a, b=b,
                author=word.author, key_id=word.key_id, reason=word.reason, expires_on=until,
            )
            for n, (a, b) in enumerate(chosen)
        ]  # fmt: skip

    def withdraw(self, override_id: str, word: Word) -> list[Override]:
        """A record that withdraws an override. Raises Problem `unknown_override`, `override_ended`."""
        rows = self._store.query_rows(_FIND, {"w": self._workspace, "i": override_id})
        if not rows:
            raise Problem("unknown_override")
        a, b, state = rows[0]
        if state != "in_force":
            raise Problem("override_ended", f"The override is {state}.")
        return self.say("none", [(a, b)], word)

    def split(self, profile: str, groups: Sequence[Sequence[str]], word: Word) -> list[Override]:
        """Never-links between identifiers of different groups; one group alone is parted from all the rest.

        Raises Problem `bad_request` where an identifier is not of the profile or in two groups.
        """
        region = Region(self._store, basis(self._store, self._workspace))
        region.take([profile])
        members = _members(region.assignment(), profile)
        given = [i for group in groups for i in group]
        if not all(groups):
            raise Problem("bad_request", "A group is empty.", "/groups")
        if len(set(given)) < len(given):
            raise Problem("bad_request", "An identifier stands in two groups.", "/groups")
        if not set(given) <= set(members):
            raise Problem("bad_request", "An identifier is not of this profile.", "/groups")
        parts = [list(group) for group in groups]
        if len(parts) == 1:
            parts.append([i for i in members if i not in given])
        pairs = [(a, b) for n, one in enumerate(parts) for other in parts[:n] for a in one for b in other]
        if not pairs:
            raise Problem("bad_request", "The group is the whole profile.", "/groups")
        return self.say("never", pairs, word)

    def merge(self, profile: str, other: str, word: Word) -> list[Override]:
        """The force-links that make two profiles one.

        Founding identifiers first; where a limit still keeps identifiers out, a force-link takes the strongest
        of them in, with one of its namespace if there is one, since a forced group counts once per namespace.
        Raises Problem `cannot_merge`, and `bad_request` when they are one already.
        """
        pairs = [ordered(profile, other)]
        while True:
            records = self.say("force", pairs, word)
            region, before, after = self._changed(records)
            whole = {*_members(before, profile), *_members(before, other)}
            if before.profile_of.get(profile) == before.profile_of.get(other) is not None:
                raise Problem("bad_request", "They are one profile already.", "/other")
            _, nevers = overrides_in_force(region.basis.overrides, region.basis.date)
            if any(whole.issuperset(pair) for pair in nevers):
                raise Problem("cannot_merge", "A never-link stands between them; withdraw it first.")
            main = {i for i in whole if after.profile_of.get(i) == after.profile_of.get(profile)}
            if any(not main.issuperset(pair) for pair in pairs):
                raise Problem("cannot_merge", "One of them was never seen, or is shared or blocked.")
            if main == whole:
                return records
            pairs.append(_next_force(region, main, whole - main, profile))

    def effect(self, records: Sequence[Override]) -> Effect:
        """What the records would change, on the date in force. Raises Problem `region_too_large`."""
        region, before, after = self._changed(records)
        moved = [i for i in region.kinds if _members(before, i) != _members(after, i)]
        idle: dict[Pair, tuple[str, str]] = {}
        for record in records:
            pair = (record.a, record.b)
            if record.verb == "force" and pair not in after.forced:
                excluded = [i for i in pair if i in after.excluded]
                unseen = [i for i in pair if i not in after.profile_of]
                refusal = after.refused.get(pair)
                if unseen:
                    idle[pair] = "unknown", unseen[0]
                elif excluded:
                    idle[pair] = after.excluded[excluded[0]], excluded[0]
                elif refusal:
                    idle[pair] = refusal
        return Effect(
            {before.profile_of[i]: _members(before, i) for i in moved},
            {after.profile_of[i]: _members(after, i) for i in moved},
            idle,
        )

    def _changed(self, records: Sequence[Override]) -> tuple[Region, Assignment, Assignment]:
        now = basis(self._store, self._workspace)
        return changed_by(self._store, now, [override_of(record) for record in records])


def _members(assignment: Assignment, identifier: str) -> tuple[str, ...]:
    """Identifiers of its profile; none when it was never seen."""
    profile = assignment.profile_of.get(identifier)
    return () if profile is None else assignment.members.get(profile, (profile,))


def _next_force(region: Region, main: set[str], out: set[str], founding: str) -> Pair:
    """The force-link that takes the strongest identifier in."""
    rules = region.basis.rules
    chosen = min(out, key=lambda i: (rules.facts(region.kinds[i]).strength, i))
    namespace = namespace_of(region.kinds[chosen])
    alike = [i for i in main if namespace_of(region.kinds[i]) == namespace]
    return ordered(chosen, min(alike, default=founding))


ReviewKind = Literal["refused", "near_limit", "shared", "bridges"]
