"""Where profiles stand on a date: stage, tags and segments, from facts, scores and what people said.

Invariant: a pure function of stored evidence, ruleset and date, like everything in a golden record. The stage is a fold
over days (`scoring.stages`); conditions are judged by the store, only at moments: the days on which something
that they name can change.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.columns import (
    activity_columns,
    condition_rows,
    empty,
    index_of,
    judged,
    offsets_of,
    trait_columns,
)
from pipelines.generations import Ruleset
from schemas.arrow import DAY, IDS, PROFILE_ROWS
from scoring.behaviour import NEVER, DayPoints
from scoring.compile import tags_select, when_select
from scoring.conditions import profile_condition
from scoring.crossings import ScoreDays, keys_of, of_keys
from scoring.facts import (
    active_days_select,
    activity_select,
    assertions_select,
    email_domains_select,
    namespaces_select,
    trait_days_select,
    traits_select,
)
from scoring.fit import FitResult, identity_points
from scoring.profile_rules import MANUAL, columns_of
from scoring.stages import StageChange, Status, stage_histories

Int64s = npt.NDArray[np.int64]

_TRAITS = frozenset({"traits", "trait_names", "first_channel", "last_channel", "owner"})
_HELD = {"identifiers": namespaces_select, "email_domains": email_domains_select}
_FIT = frozenset({"identity_score", "identity_grade"})
_CHUNK = 100_000
"""Moments judged together."""


@dataclass(frozen=True)
class Cycle:
    """One cycle: what is computed, and how the store is asked; `touched` is sent with every question."""

    ask: Callable[..., pa.Table]
    workspace: str
    generation: str
    ruleset: Ruleset
    date: int
    excluded: str
    """SQL of the identifiers that do not cluster; empty: those that the store holds."""
    ids: Sequence[str]
    touched: pa.Table

    def query(self, sql: str, **external: pa.Table) -> pa.Table:
        """Result of a SELECT over the touched identifiers."""
        return self.ask(sql, touched=self.touched, **external)

    @property
    def where(self) -> tuple[str, str, int]:
        """What every SELECT of facts begins with."""
        return self.workspace, self.generation, self.date

    @property
    def counting(self) -> dict[str, Any]:
        """What SELECTs of hits must know of who is the subject and of what does not count."""
        return {"excluded": self.excluded, "robots": self.ruleset.scoring.robots}

    def judged(self, ids: Sequence[str], rows: pa.Table, conditions: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Which conditions (SQL) hold over the rows, one row for each id: shape (ids, conditions)."""
        if not conditions:
            return np.zeros((len(ids), 0), np.uint8)
        return judged(ids, self.ask(when_select(conditions, "cycle"), cycle=rows), "results", len(conditions))

    def day_keys(self, found: pa.Table) -> Int64s:
        """Keys of the rows' (profile_id, day)."""
        profile = index_of(self.ids, found["profile_id"]).to_numpy()
        return keys_of(profile, found["day"].cast(pa.int32()).to_numpy().astype(np.int64))


@dataclass(frozen=True)
class Said:
    """What was said of one profile (an index)."""

    profile: int
    day: int
    at: int
    id: str
    what: str
    value: str


@dataclass(frozen=True)
class Scores:
    """What a cycle knows of behaviour and identity, one entry per profile, in thousandths and days."""

    counted: Sequence[DayPoints]
    behaviour: Int64s
    identity: FitResult
    first_day: Int64s
    """Of the first event; NEVER for profiles without events."""
    is_counted: npt.NDArray[np.bool_]
    """False where a robots filter of profiles holds: no event of theirs is activity."""


class Standing:
    """Computes stage, tags and segments for one cycle."""

    def __init__(self, cycle: Cycle, scores: Scores) -> None:
        self._cycle = cycle
        self._scores = scores
        self._rules = cycle.ruleset.scoring
        found = cycle.query(assertions_select(cycle.workspace))
        self._said = sorted(
            (
                Said(profile, *row)
                for profile, row in zip(
                    index_of(cycle.ids, found["profile_id"]).to_pylist(),
                    zip(
                        found["day"].cast(pa.int32()).to_pylist(),
                        *(found[name].to_pylist() for name in ("at", "id", "what", "value")),
                        strict=True,
                    ),
                    strict=True,
                )
            ),
            key=lambda said: (said.day, said.at, said.id),
        )
        self._days: ScoreDays | None = None

    def columns(self, columns: dict[str, Any], next_change: Int64s) -> tuple[dict[str, Any], Int64s]:
        """Columns stage, tags and segments, and the next change once they have their say in it."""
        histories = self.histories()
        stage = np.array([history[-1].stage if history else "" for history in histories], object)
        tags, segments = self._tags(columns, stage)
        given = {
            "stage": pa.array(stage, pa.utf8()),
            "stage_history": self._history_column(histories),
            "tags": tags,
            "segments": segments,
        }
        return given, self._next_change(next_change)

    def histories(self) -> list[list[StageChange]]:
        """Changes of stage of each profile up to the date; none without events, or without stages."""
        stages, first = self._rules.stages, self._scores.first_day
        if stages is None:
            return [[] for _ in first]
        keys = self._moments() if stages.rules else np.zeros(0, np.int64)
        profile, day = of_keys(keys)
        scores = np.zeros(len(keys), np.int64)
        if stages.rules and "behaviour_score" in self._named():
            scores = self._score_days().at(profile, day)
        holds = np.zeros((len(keys), len(stages.rules)), np.uint8)
        open_ = np.flatnonzero(self._may_hold(scores))
        for start in range(0, len(open_), _CHUNK):
            here = open_[start : start + _CHUNK]
            holds[here] = self._judged_stages(profile[here], day[here], scores[here])
        statuses = [
            Status(s.profile, s.day, s.at, s.id, stage, s.what)
            for s in self._said
            if s.day <= self._cycle.date and (stage := stages.stage_of(s.what, s.value))
        ]
        found = stage_histories(stages, first, profile, day, holds, statuses)
        return [history if on != NEVER else [] for history, on in zip(found, first.tolist(), strict=True)]

    def _history_column(self, histories: list[list[StageChange]]) -> pa.Array:
        """Every stage that was entered, with the behaviour score of that day."""
        sizes = [len(history) for history in histories]
        changes = [change for history in histories for change in history]
        if not changes:
            return empty("stage_history", len(histories))
        profile = np.repeat(np.arange(len(histories)), sizes)
        day = np.array([change.day for change in changes], np.int64)
        kind = PROFILE_ROWS.field("stage_history").type.value_type
        entered = pa.StructArray.from_arrays(
            [
                pa.array([change.stage for change in changes], pa.utf8()),
                pa.array(day.astype(np.int32)).cast(DAY),
                pa.array([change.cause for change in changes], pa.utf8()),
                pa.array(self._score_days().at(profile, day)),
            ],
            fields=list(kind),
        )
        return pa.ListArray.from_arrays(offsets_of(len(histories), profile), entered).cast(
            PROFILE_ROWS.field("stage_history").type
        )

    def _score_days(self) -> ScoreDays:
        if self._days is None:
            active = np.zeros(0, np.int64)
            if self._rules.inactivity:
                found = self._cycle.query(active_days_select(*self._cycle.where, **self._cycle.counting))
                active = np.sort(self._cycle.day_keys(found.filter(pc.equal(found["robot"], ""))))
                active = active[self._scores.is_counted[of_keys(active)[0]]]
            self._days = ScoreDays(
                self._scores.counted, active, self._rules, len(self._cycle.ids), self._cycle.date
            )
        return self._days

    def _named(self) -> frozenset[str]:
        """Columns on which stages depend."""
        assert self._rules.stages is not None
        named = columns_of(rule.condition() for rule in self._rules.stages.rules)
        if named & _FIT:
            named |= columns_of(profile_condition(rule.when, "scores") for rule in self._rules.identity)
        return named

    def _moments(self) -> Int64s:
        """Sorted keys of the days up to the date on which a column that stages depend on can change."""
        cycle, first, named = self._cycle, self._scores.first_day, self._named()
        assert self._rules.stages is not None
        living = np.flatnonzero(first != NEVER)
        keys = [keys_of(living, first[living])]
        if named & _TRAITS:
            found = cycle.query(
                trait_days_select(*cycle.where, cycle.ruleset.identity, excluded=cycle.excluded)
            )
            keys.append(cycle.day_keys(found))
        keys += [
            cycle.day_keys(cycle.query(select(cycle.workspace)))
            for column, select in _HELD.items()
            if column in named
        ]
        if "event_count" in named:
            keys.append(
                cycle.day_keys(cycle.query(active_days_select(*cycle.where, excluded=cycle.excluded)))
            )
        if "behaviour_score" in named:
            limits = {t for rule in self._rules.stages.rules for t in rule.condition().thresholds}
            until = np.where(first == NEVER, -1, cycle.date)
            keys.append(
                self._score_days().crossings(sorted(limits), np.where(first == NEVER, 0, first), until)
            )
        together = np.unique(np.concatenate(keys))
        profile, day = of_keys(together)
        return together[(day >= first[profile]) & (day <= cycle.date)]

    def _may_hold(self, scores: Int64s) -> npt.NDArray[np.bool_]:
        """False where these behaviour scores alone keep every stage condition from holding.

        Most leads never come near a stage: nothing else of them need be known as of their many days.
        """
        assert self._rules.stages is not None
        terms = [rule.condition().of_score for rule in self._rules.stages.rules]
        if not all(terms):
            return np.ones(len(scores), np.bool_)
        distinct, which = np.unique(scores, return_inverse=True)
        ids = [str(score) for score in distinct.tolist()]
        rows = pa.table({"profile_id": pa.array(ids, pa.utf8()), "behaviour_score": pa.array(distinct)})
        return self._cycle.judged(ids, rows, terms).any(axis=1)[which]  # type: ignore[no-any-return]

    def _judged_stages(self, profile: Int64s, day: Int64s, scores: Int64s) -> npt.NDArray[np.uint8]:
        """Which stage conditions hold at moments, given as profiles and days, with their behaviour scores."""
        cycle, named = self._cycle, self._named()
        moments = [str(n) for n in range(len(profile))]
        sent = pa.table(
            {
                "moment": pa.array(moments, pa.utf8()),
                "profile_id": pa.array(cycle.ids, pa.utf8()).take(pa.array(profile)),
                "until": pa.array(day.astype(np.int32)).cast(DAY),
            }
        )
        traits = traits_select(
            *cycle.where, cycle.ruleset.identity, excluded=cycle.excluded, moments="moments"
        )
        counts = pa.array(np.zeros(len(moments), np.uint64))
        if "event_count" in named:
            found = cycle.query(
                activity_select(*cycle.where, excluded=cycle.excluded, moments="moments"), moments=sent
            )
            counts = activity_columns(moments, found)["event_count"]
        found = cycle.query(traits if named & _TRAITS else f"SELECT * FROM ({traits}) WHERE 0", moments=sent)
        columns = {
            **trait_columns(moments, found),
            "event_count": counts,
            **{
                column: self._held(profile, day, select if column in named else None)
                for column, select in _HELD.items()
            },
        }
        rows = condition_rows(moments, columns)
        rows = rows.append_column("behaviour_score", pa.array(scores))
        if named & _FIT:
            holds = cycle.judged(moments, rows, [rule.condition_sql() for rule in self._rules.identity])
            rows = _with_fit(rows, identity_points(holds, self._rules))
        assert self._rules.stages is not None
        return cycle.judged(moments, rows, [rule.condition().sql for rule in self._rules.stages.rules])

    def _held(self, profile: Int64s, day: Int64s, select: Callable[[str], str] | None) -> pa.ListArray:
        """Names (`select`) of what a profile of these members held by a day; none where they are not asked for."""
        if select is None:
            return pa.array([[]] * len(profile), IDS)
        found = self._cycle.query(select(self._cycle.workspace))
        found = found.take(pc.sort_indices(found, [("profile_id", "ascending"), ("name", "ascending")]))
        owner, since = of_keys(self._cycle.day_keys(found))
        start, end = (np.searchsorted(owner, profile, side) for side in ("left", "right"))
        sizes = end - start
        moment = np.repeat(np.arange(len(profile)), sizes)
        row = np.arange(len(moment)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + start[moment]
        held = since[row] <= day[moment]
        names = found["name"].cast(pa.utf8()).combine_chunks().take(pa.array(row[held]))
        return pa.ListArray.from_arrays(offsets_of(len(profile), moment[held]), names)

    # tags and segments ------------------------------------------------------------------------------------

    def _manual(self) -> list[list[str]]:
        """Tags that people have set by the date and not taken back, by profile."""
        tags: list[dict[str, bool]] = [{} for _ in self._cycle.ids]
        for said in self._said:
            if said.what in ("tag", "untag") and said.day <= self._cycle.date:
                tags[said.profile][MANUAL + said.value] = said.what == "tag"
        is_living = (self._scores.first_day != NEVER).tolist()
        return [
            sorted(name for name, is_set in of_one.items() if is_set and living)
            for of_one, living in zip(tags, is_living, strict=True)
        ]

    def _tags(self, columns: dict[str, Any], stage: npt.NDArray[Any]) -> tuple[pa.ListArray, pa.ListArray]:
        manual, ids = self._manual(), self._cycle.ids
        rules = self._rules
        if not rules.tags and not rules.segments:
            return pa.array(manual, IDS), pa.array([[]] * len(ids), IDS)
        rows = _with_fit(condition_rows(ids, columns), self._scores.identity)
        for name, values in (
            ("behaviour_score", pa.array(self._scores.behaviour)),
            ("stage", pa.array(stage, pa.utf8())),
            ("manual_tags", pa.array(manual, IDS)),
        ):
            rows = rows.append_column(name, values)
        found = self._cycle.ask(tags_select(rules, "cycle"), cycle=rows)
        is_living = self._scores.first_day != NEVER
        has_tag = judged(ids, found, "tag_results", len(rules.tags)).astype(bool) & is_living[:, None]
        is_member = judged(ids, found, "results", len(rules.segments)).astype(bool) & is_living[:, None]
        tags = [set(names) for names in manual]
        segments: list[list[str]] = [[] for _ in ids]
        for who, which in zip(*(part.tolist() for part in np.nonzero(has_tag)), strict=True):
            tags[who].add(rules.tags[which].name)
        for who, which in zip(*(part.tolist() for part in np.nonzero(is_member)), strict=True):
            segments[who].append(rules.segments[which].name)
            if rules.segments[which].tag:
                tags[who].add(rules.segments[which].tag)
        return pa.array([sorted(names) for names in tags], IDS), pa.array(segments, IDS)

    # time alone -------------------------------------------------------------------------------------------

    def _next_change(self, next_change: Int64s) -> Int64s:
        """Sooner, where a score passes a constant of a condition by decay, or something said begins to hold."""
        date, first = self._cycle.date, self._scores.first_day
        change = next_change.astype(np.int64)
        for said in self._said:
            if said.day > date:
                change[said.profile] = min(int(change[said.profile]), said.day)
        limits = self._thresholds()
        if limits:
            days = self._score_days()
            until = np.minimum(change - 1, date + days.horizon)
            passed = days.crossings(
                limits, np.full(len(first), date), np.where(first == NEVER, date - 1, until)
            )
            profile, day = of_keys(passed)
            np.minimum.at(change, profile, day)
        return change

    def _thresholds(self) -> list[int]:
        """Constants of all conditions that name the behaviour score."""
        stages = self._rules.stages.rules if self._rules.stages else ()
        rules: Iterable[Any] = (*stages, *self._rules.tags, *self._rules.segments)
        conditions = [rule.condition() for rule in rules]
        return sorted({t for c in conditions if "behaviour_score" in c.columns for t in c.thresholds})


def _with_fit(rows: pa.Table, fit: FitResult) -> pa.Table:
    """Rows for conditions, with the identity score and its grade."""
    rows = rows.append_column("identity_score", pa.array(fit.score))
    return rows.append_column("identity_grade", pa.array(fit.grade, pa.utf8()))
