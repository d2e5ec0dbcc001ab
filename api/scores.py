"""The behaviour score of a profile on any day, with what it is made of; and who is in a segment.

Invariant: the lines of a ledger add up to its score, and on the date in force that is the score of the golden record. A
ledger counts the events of the identifiers that the profile holds now, up to the day asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Annotated

import numpy as np
import pyarrow as pa
from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, Field

from api.answers import Freshness, freshness
from api.guard import ProfileId, checked_id, needs
from api.keys import Access, AccessKeys
from api.problems import may
from api.profiles import Found, ProfileReader
from schemas.errors import Problem
from scoring.behaviour import behaviour
from scoring.bounds import CEILING, FLOOR
from scoring.decay import SCALE
from scoring.events import NEVER, Hits, event_ids, events_of
from scoring.facts import events_select
from scoring.ledger import Hit, Ledger, Line, Uncounted, explain
from scoring.ruleset import ScoringRules
from store.client import Store

_EPOCH = date(1970, 1, 1)
_RULESET = """
SELECT JSONExtractRaw(ruleset, 'scoring') FROM kintsugi_store.generations FINAL
WHERE workspace = {w:String} AND generation = {g:String}"""
_SEGMENT = """
SELECT profile_id FROM kintsugi_store.profile_rows FINAL
WHERE workspace = {w:String} AND generation = {g:String} AND is_tombstone = 0
    AND has(segments, {s:String}) AND profile_id > {after:String}
ORDER BY profile_id LIMIT {n:UInt32}"""


class DayPart(BaseModel):
    """What one day gives under one rule."""

    day: date = Field(description="Day of the events")
    event_count: int = Field(description="Events that matched")
    raw_points: float = Field(description="Points before caps and decay")
    counted_points: float = Field(description="Points that caps leave")
    weight: float = Field(description="What the age of the day leaves of them, 0 to 1")


class RuleLine(BaseModel):
    """Points of one rule."""

    rule: str = Field(
        description="Rule; inactivity: points for silence; floor, ceiling: what takes the sum into the bounds"
    )
    points: float = Field(description="Points on the day; all lines add up to the score")
    days: list[DayPart] = Field(description="What they are made of, by day")


class UncountedDay(BaseModel):
    """Events of a day that do not count."""

    day: date = Field(description="Day of the events")
    event_count: int = Field(description="Events that did not count")


class RobotLine(BaseModel):
    """Events that one robots filter keeps from counting."""

    robot: str = Field(description="Filter of the rules")
    event_count: int = Field(description="Events that did not count up to the day")
    days: list[UncountedDay] = Field(description="By day")


class NextChange(BaseModel):
    """What time alone changes next, beyond smooth decay."""

    on: date = Field(description="The day")
    behaviour_score: float = Field(description="The score on that day, if nothing happens before")
    points: dict[str, float] = Field(
        description="Points on that day of the rules that leave a window or fall silent"
    )


class ScoreAnswer(BaseModel):
    """The behaviour score on a day."""

    profile_id: str = Field(description="The profile")
    on: date = Field(description="The day")
    behaviour_score: float = Field(description="Sum of the lines")
    lines: list[RuleLine] = Field(description="Points by rule, in the order of the rules")
    robots: list[RobotLine] = Field(
        description="Events up to the day that robots filters keep from giving points and from ending silence"
    )
    next_change: NextChange | None = Field(description="Null when only smooth decay is left")
    freshness: Freshness = Field(description="How fresh the answer is")


class MembersAnswer(BaseModel):
    """A page of the members of a segment."""

    profile_ids: list[str] = Field(description="Members, ascending")
    next_cursor: str | None = Field(description="Give it as `cursor` for the page after this; null: no more")
    freshness: Freshness = Field(description="How fresh the answer is")


@dataclass(frozen=True)
class _Facts:
    """A profile with all its hits, on days to come too.

    A robots filter of profiles is taken as it holds on the date in force, as the members are.
    """

    found: Found
    rules: ScoringRules
    hits: list[Hit]
    active_days: set[int]
    uncounted: list[Uncounted]

    def ledger(self, on: int) -> Ledger:
        """The ledger on a day."""
        return explain(self.hits, self.active_days, self.rules, on, self.uncounted)

    def until(self, day: int) -> "_Facts":
        """Without what comes after a day."""
        hits = [hit for hit in self.hits if hit.day <= day]
        return replace(self, hits=hits, active_days={each for each in self.active_days if each <= day})


class Scores:
    """Reads what ledgers and segments are made of, for one store. Every method blocks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = ProfileReader(store)

    def on(self, workspace: str, profile_id: str, day: date | None) -> ScoreAnswer:
        """The ledger of a profile on a day, by default the date in force. Raises Problem `unknown_profile`."""
        facts = self._facts(workspace, profile_id)
        found = facts.found
        assert found.in_force.as_of is not None
        on = day or found.in_force.as_of
        ledger = facts.ledger(_days(on))
        return ScoreAnswer(
            profile_id=found.profile_id,
            on=on,
            behaviour_score=ledger.score / 1000,
            lines=[_line(line) for line in ledger.lines],
            robots=_robots(ledger),
            next_change=_next_change(facts.until(ledger.date), ledger),
            freshness=freshness(found.in_force),
        )

    def series(self, workspace: str, profile_id: str, days: Iterable[date]) -> list[tuple[date, float]]:
        """Scores on several days."""
        facts = self._facts(workspace, profile_id)
        return [(day, facts.ledger(_days(day)).score / 1000) for day in days]

    def members(self, workspace: str, segment: str, cursor: str, limit: int) -> MembersAnswer:
        """A page of a segment. Raises Problem `unknown_segment`."""
        in_force = self._reader.in_force(workspace)
        rules = self._rules(workspace, in_force.generation)
        names = [each.name for each in rules.segments]
        if segment not in names:
            there = f"there are: {', '.join(names)}" if names else "the rules in force have none"
            raise Problem("unknown_segment", f"There is no segment {segment}; {there}.")
        asked = {"w": workspace, "g": in_force.generation, "s": segment, "after": cursor, "n": limit + 1}
        ids = [row[0] for row in self._store.query_rows(_SEGMENT, asked)]
        more = ids[limit - 1] if len(ids) > limit else None
        return MembersAnswer(profile_ids=ids[:limit], next_cursor=more, freshness=freshness(in_force))

    def _rules(self, workspace: str, generation: str) -> ScoringRules:
        rows = self._store.query_rows(_RULESET, {"w": workspace, "g": generation})
        return _scoring(rows[0][0]) if rows else ScoringRules()

    def _facts(self, workspace: str, profile_id: str) -> _Facts:
        """What a ledger of the profile is made of, under the rules in force."""
        found = self._reader.find(workspace, [profile_id], are_profiles=True)[profile_id]
        if found.profile is None:
            raise Problem("unknown_profile")
        rules = self._rules(workspace, found.in_force.generation)
        members = [each.identifier_id for each in found.profile.identifiers]
        touched = pa.table({"identifier_id": members, "member": pa.array(range(len(members)), pa.uint32())})
        rows = self._store.query_arrow(
            events_select(workspace, found.in_force.generation, rules), external={"touched": touched}
        )
        events = events_of(rows, np.zeros(len(members), np.int64), 1, rules.robots)
        hits, active = events.hits, events.activity
        told = [
            Hit(rules.behaviour[rule].name, event, day, amount, str(key))
            for rule, event, day, amount, key in zip(
                hits.rule.tolist(), event_ids(hits.event).to_pylist(), hits.day.tolist(), hits.amount.tolist(),
                hits.key.tolist(), strict=True,
            )
        ]  # fmt: skip
        robot = found.profile.robot
        by_filter = [
            Uncounted(events.robots[of_events] or robot, day, count)
            for of_events, day, count in zip(
                active.robot.tolist(), active.day.tolist(), active.count.tolist(), strict=True
            )
        ]
        return _Facts(
            found,
            rules,
            [] if robot else told,
            {each.day for each in by_filter if not each.robot},
            [each for each in by_filter if each.robot],
        )


@lru_cache(maxsize=64)
def _scoring(text: str) -> ScoringRules:
    return ScoringRules.from_json(text)


def _days(day: date) -> int:
    return (day - _EPOCH).days


def _line(line: Line) -> RuleLine:
    days = []
    for day, group in groupby(line.parts, key=lambda part: part.hit.day):
        parts = list(group)
        days.append(
            DayPart(
                day=_EPOCH + timedelta(days=day),
                event_count=len(parts),
                raw_points=sum(part.hit.amount for part in parts) / 1000,
                counted_points=sum(part.counted for part in parts) / 1000,
                weight=parts[0].weight / SCALE,
            )
        )
    return RuleLine(rule=line.rule, points=line.points / 1000, days=days)


def _robots(ledger: Ledger) -> list[RobotLine]:
    lines = []
    for robot, group in groupby(ledger.uncounted, key=lambda each: each.robot):
        days = [
            UncountedDay(day=_EPOCH + timedelta(days=each.day), event_count=each.event_count)
            for each in group
        ]
        lines.append(RobotLine(robot=robot, event_count=sum(day.event_count for day in days), days=days))
    return lines


def _next_change(known: _Facts, ledger: Ledger) -> NextChange | None:
    """The next day on which a window or silence changes the points, from what is known on the day of the ledger."""
    rules = known.rules
    hits = Hits.of(
        ((0, hit.rule, hit.event_id, hit.day, hit.amount, hit.distinct_key) for hit in known.hits), rules
    )
    last = max(known.active_days, default=NEVER)
    change = int(behaviour(hits, np.array([last], np.int64), rules, ledger.date).next_change_on[0])
    if change == NEVER:
        return None
    then = known.ledger(change)
    smooth = {rule.name for rule in rules.behaviour if rule.decay.kind in ("half_life", "linear")}
    smooth |= {FLOOR, CEILING}
    now, later = (
        {line.rule: line.points for line in each.lines if line.rule not in smooth} for each in (ledger, then)
    )
    points = {rule: later.get(rule, 0) / 1000 for rule in now | later if now.get(rule) != later.get(rule)}
    return NextChange(on=_EPOCH + timedelta(days=change), behaviour_score=then.score / 1000, points=points)


def install(app: FastAPI, store: Store, keys: AccessKeys) -> None:
    """Add the endpoints of ledgers and segments; they need the scope `read`."""
    reads = Annotated[Access, Depends(needs(keys, "read"))]
    scores = Scores(store)

    @app.get("/v1/profiles/{profile_id}/score", summary="What is the score made of?", responses=may(404))
    def score(
        profile_id: ProfileId,
        access: reads,
        on: Annotated[
            date | None, Query(description="Any day, past or future; the date in force when left out")
        ] = None,
    ) -> ScoreAnswer:
        """The behaviour score on a day: points by rule, days, caps and decay, and what time changes next."""
        return scores.on(access.workspace, checked_id(profile_id), on)

    @app.get("/v1/segments/{name}/members", summary="Who is in the segment?", responses=may(404))
    def members(
        name: Annotated[str, Path(description="Name of a segment of the rules in force")],
        access: reads,
        cursor: Annotated[str, Query(max_length=64, description="`next_cursor` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=10_000, description="Members of a page")] = 1000,
    ) -> MembersAnswer:
        """Members on the date in force, page by page. Who enters or leaves between two pages may be missed."""
        return scores.members(access.workspace, name, cursor, limit)
