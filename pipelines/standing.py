"""Where profiles stand on a date: stage, tags and segments, from facts, scores and what people said.

Invariant: a pure function of stored evidence, ruleset and date, like everything in a golden record. The stage is a fold
over days (`scoring.stages`); conditions are judged at moments only: the days on which something that they name can
change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.columns import CHANNEL, OWNER, coded, day_array, empty, list_column, offsets_of
from pipelines.cycle import Cycle
from pipelines.moments import Moments, choices, scores
from schemas.arrow import IDS, PROFILE_ROWS
from scoring.behaviour import DayPoints
from scoring.compile import tags_select, when_select
from scoring.conditions import Condition
from scoring.crossings import ScoreDays
from scoring.events import NEVER, Int64s, keys_of, of_keys, starts_of, united
from scoring.profile_rules import MANUAL, ProfileRule, columns_of
from scoring.stages import CAUSES, StageChanges, Status, stage_histories

_CHANNELS = {"first_channel": CHANNEL, "last_channel": CHANNEL, "owner": OWNER}
_HELD = ("identifiers", "email_domains")
_FIT = frozenset({"identity_score", "identity_grade"})


@dataclass(frozen=True)
class Scores:
    """What a cycle knows of behaviour, one entry per profile, in thousandths."""

    counted: Sequence[DayPoints]
    behaviour: Int64s
    is_counted: npt.NDArray[np.bool_]
    """False where a robots filter of profiles holds: no event of theirs is activity."""


class Standing:
    """Computes stage, tags and segments for one cycle."""

    def __init__(self, cycle: Cycle, scores: Scores) -> None:
        self._cycle = cycle
        self._scores = scores
        self._rules = cycle.ruleset.scoring
        self._first_day = cycle.seen.first_day

    def columns(self, today: Moments, next_change: Int64s) -> tuple[dict[str, Any], Int64s]:
        """Columns stage, tags and segments, and the next change once they have their say in it.

        `today`: the profiles on the date.
        """
        changes = self._histories()
        stages = self._rules.stages
        names = ["", *(stages.names if stages else ())]
        stage = np.zeros(self._cycle.count, np.int64)
        if len(changes.profile):
            ends = np.append(starts_of(changes.profile)[1:], len(changes.profile)) - 1
            stage[changes.profile[ends]] = changes.stage[ends] + 1
        tags, segments = self._tags(today, stage, names)
        given = {
            "stage": pa.array(names, pa.utf8()).take(pa.array(stage)),
            "stage_history": self._history_column(changes),
            "tags": tags,
            "segments": segments,
        }
        return given, self._next_change(next_change)

    # stages -----------------------------------------------------------------------------------------------

    def _histories(self) -> StageChanges:
        """Changes of stage of each profile up to the date; none without events, or without stages."""
        stages, cycle = self._rules.stages, self._cycle
        if stages is None:
            return StageChanges(*(np.zeros(0, np.int64) for _ in range(4)))
        profile, day = of_keys(self._moments() if stages.rules else np.zeros(0, np.int64))
        conditions = [rule.condition() for rule in stages.rules]
        limits = _thresholds(conditions)
        behaviour = np.zeros(len(profile), np.int64)
        if limits:
            behaviour = self._score_days.among(limits, profile, day)
        holds = np.zeros((len(profile), len(stages.rules)), np.uint8)
        open_ = np.flatnonzero(self._may_hold(behaviour))
        moments = cycle.moments(profile[open_], day[open_])
        moments.give(behaviour_score=scores(behaviour[open_], limits))
        holds[open_] = moments.judged(conditions)
        statuses = [
            Status(s.profile, s.day, s.at, s.id, stage, s.what)
            for s in cycle.said
            if s.day <= cycle.date and (stage := stages.stage_of(s.what, s.value))
        ]
        return stage_histories(stages, self._first_day, profile, day, holds, statuses)

    def _history_column(self, changes: StageChanges) -> pa.Array:
        """Every stage that was entered, with the behaviour score of that day."""
        stages = self._rules.stages
        if stages is None or not len(changes.profile):
            return empty("stage_history", self._cycle.count)
        kind = PROFILE_ROWS.field("stage_history").type
        entered = pa.StructArray.from_arrays(
            [
                pa.array(stages.names, pa.utf8()).take(pa.array(changes.stage)),
                day_array(changes.day),
                pa.array(CAUSES, pa.utf8()).take(pa.array(changes.cause)),
                pa.array(self._score_days.at(changes.profile, changes.day)),
            ],
            fields=list(kind.value_type),
        )
        return pa.ListArray.from_arrays(offsets_of(self._cycle.count, changes.profile), entered).cast(kind)

    @cached_property
    def _score_days(self) -> ScoreDays:
        cycle = self._cycle
        active = np.zeros(0, np.int64)
        if self._rules.inactivity:
            activity = cycle.events.activity
            counts = (activity.robot == 0) & (activity.day <= cycle.date)
            active = activity.keys[counts & self._scores.is_counted[activity.profile]]
        return ScoreDays(self._scores.counted, active, self._rules, cycle.count, cycle.date)

    @cached_property
    def _named(self) -> tuple[frozenset[str], frozenset[str]]:
        """Columns on which stages depend, and traits whose values they read."""
        assert self._rules.stages is not None
        conditions = [rule.condition() for rule in self._rules.stages.rules]
        if columns_of(conditions) & _FIT:
            conditions += [rule.condition() for rule in self._rules.identity]
        return columns_of(conditions), frozenset[str]().union(*(each.traits for each in conditions))

    def _moments(self) -> Int64s:
        """Sorted keys of the days up to the date on which a column that stages depend on can change."""
        cycle, first, (named, traits) = self._cycle, self._first_day, self._named
        living = np.flatnonzero(first != NEVER)
        keys = [keys_of(living, first[living])]
        if "trait_names" in named:
            traits = frozenset(cycle.traits.names)
        traits |= {trait for column, trait in _CHANNELS.items() if column in named}
        if traits:
            keys.append(cycle.traits.days(traits, cycle.date))
        for column in _HELD:
            if column in named:
                held = cycle.held(column)
                keys.append(keys_of(held.profile, held.since))
        if "event_count" in named:
            keys.append(cycle.events.activity.keys)
        if "behaviour_score" in named:
            assert self._rules.stages is not None
            limits = _thresholds([rule.condition() for rule in self._rules.stages.rules])
            until = np.where(first == NEVER, -1, cycle.date)
            keys.append(self._score_days.crossings(limits, np.where(first == NEVER, 0, first), until))
        together = united(*keys)
        profile, day = of_keys(together)
        return together[(day >= first[profile]) & (day <= cycle.date)]

    def _may_hold(self, behaviour: Int64s) -> npt.NDArray[np.bool_]:
        """False where these behaviour scores alone keep every stage condition from holding.

        Most leads never come near a stage: nothing else of them need be known as of their many days.
        """
        assert self._rules.stages is not None
        conditions = [rule.condition() for rule in self._rules.stages.rules]
        if not all(each.of_score for each in conditions) or not len(behaviour):
            return np.ones(len(behaviour), np.bool_)
        column = scores(behaviour, _thresholds(conditions))
        _, first, which = np.unique(column.codes[0], return_index=True, return_inverse=True)
        rows = pa.table({"behaviour_score": column.take(first)})
        sql = when_select([each.of_score for each in conditions], "cycle")
        return np.asarray(self._cycle.judge(sql, rows, "results").any(axis=1)[which])

    # tags and segments ------------------------------------------------------------------------------------

    def _manual(self) -> dict[int, list[str]]:
        """Tags that people have set by the date and not taken back, ascending, by profile that has any."""
        tags: dict[int, dict[str, bool]] = {}
        for said in self._cycle.said:
            if said.what in ("tag", "untag") and said.day <= self._cycle.date:
                tags.setdefault(said.profile, {})[MANUAL + said.value] = said.what == "tag"
        return {
            profile: sorted(name for name, is_set in of_one.items() if is_set)
            for profile, of_one in tags.items()
            if self._first_day[profile] != NEVER
        }

    def _tags(self, today: Moments, stage: Int64s, names: Sequence[str]) -> tuple[pa.Array, pa.Array]:
        manual, rules, count = self._manual(), self._rules, self._cycle.count
        if not rules.tags and not rules.segments and not manual:
            return empty("tags", count), empty("segments", count)
        sets = [(), *sorted({tuple(each) for each in manual.values()})]
        place = {each: n for n, each in enumerate(sets)}
        which = np.zeros(count, np.int64)
        which[list(manual)] = [place[tuple(each)] for each in manual.values()]
        conditions = [tag.condition() for tag in rules.tags]
        conditions += [segment.condition() for segment in rules.segments]
        today.give(
            behaviour_score=scores(self._scores.behaviour, _thresholds(conditions)),
            stage=choices(stage, names, pa.utf8()),
            manual_tags=choices(which, [list(each) for each in sets], IDS),
        )
        named = columns_of(conditions) - {"tags"} | {"manual_tags"}
        rows, row_of = today.distinct(named, conditions)
        found = self._cycle.judge(tags_select(rules, "cycle"), rows, "tag_results", "results")
        holds = found[row_of].astype(bool) & (self._first_day != NEVER)[:, None]
        has_tag, is_member = holds[:, : len(rules.tags)], holds[:, len(rules.tags) :]
        given = [tag.name for tag in rules.tags]
        tags = [_entries(has_tag, given)]
        tags.append(_entries(is_member, [each.tag for each in rules.segments]))
        tags += [(np.full(len(of_one), who), pa.array(of_one, pa.utf8())) for who, of_one in manual.items()]
        return (
            _names_column(tags, count),
            _names_column([_entries(is_member, [each.name for each in rules.segments])], count),
        )

    # time alone -------------------------------------------------------------------------------------------

    def _next_change(self, next_change: Int64s) -> Int64s:
        """Sooner, where a score passes a constant of a condition by decay, or something said begins to hold."""
        date, first = self._cycle.date, self._first_day
        change = next_change.copy()
        for said in self._cycle.said:
            if said.day > date:
                change[said.profile] = min(int(change[said.profile]), said.day)
        rules = self._rules
        stages: Sequence[ProfileRule] = rules.stages.rules if rules.stages else ()
        limits = _thresholds([rule.condition() for rule in (*stages, *rules.tags, *rules.segments)])
        if limits:
            days = self._score_days
            until = np.minimum(change - 1, date + days.horizon)
            passed = days.crossings(
                limits, np.full(len(first), date), np.where(first == NEVER, date - 1, until)
            )
            profile, day = of_keys(passed)
            np.minimum.at(change, profile, day)
        return change


def _thresholds(conditions: Iterable[Condition]) -> list[int]:
    """Constants of the conditions that name the behaviour score."""
    return sorted({t for c in conditions if "behaviour_score" in c.columns for t in c.thresholds})


def _entries(holds: npt.NDArray[np.bool_], names: Sequence[str]) -> tuple[Int64s, pa.StringArray]:
    """(profile, name) where a column holds that has a name."""
    profile, which = np.nonzero(holds & np.array([name != "" for name in names], np.bool_))
    return profile, pa.array(names, pa.utf8()).take(pa.array(which))


def _names_column(entries: Sequence[tuple[Int64s, pa.StringArray]], count: int) -> pa.ListArray:
    """Names by profile."""
    code, names = coded(pa.concat_arrays([of_part for _, of_part in entries]))
    return list_column(np.concatenate([part for part, _ in entries]), code, names, count)
