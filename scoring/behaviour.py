"""Behaviour points of many profiles on one date, from their rule hits.

Invariant: a pure function of the set of hits, the last active days, the rules and the date; the order of
the rows does not matter. On each later date before `next_change_on` the result differs by half-life weights
alone, which `scoring.decay` applies to the parts, so rows need not be written daily. `scoring/README.md`
has worked examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import PROFILE_ROWS
from scoring.caps import counted
from scoring.decay import decayed, table_of
from scoring.events import NEVER, Hits, Int64s, starts_of
from scoring.ruleset import INACTIVITY, Inactivity, ScoringRules


@dataclass(frozen=True)
class BehaviourResult:
    """One entry per profile; points in thousandths."""

    points: pa.MapArray
    """Points by rule of rules whose points do not fade, and of inactivity; no zeros, sorted by rule."""
    decaying: pa.ListArray
    """(rule, day, amount) of half-life and linear rules, amounts after caps and before decay; sorted by rule, day."""
    score: Int64s
    """Behaviour score on the date: the sum of all points, within the bounds."""
    next_change_on: Int64s
    """Next day after the date on which a window or inactivity term changes; NEVER when none will."""


@dataclass
class _Entries:
    """Rows that become a column of maps or lists: profile, place of the rule, day, amount."""

    profile: list[Int64s]
    rule: list[Int64s]
    day: list[Int64s]
    amount: list[Int64s]

    @classmethod
    def empty(cls) -> "_Entries":
        return cls([], [], [], [])

    def add(self, profile: Int64s, rule: int, day: Int64s, amount: Int64s) -> None:
        keep = amount != 0
        self.profile.append(profile[keep])
        self.rule.append(np.full(int(keep.sum()), rule))
        self.day.append(day[keep])
        self.amount.append(amount[keep])

    def columns(self, names: list[str], count: int) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
        """Offsets of `count` profiles, then rule, day and amount sorted by (profile, rule name, day)."""
        profile, rule, day, amount = (
            np.concatenate(part) if part else np.zeros(0, np.int64)
            for part in (self.profile, self.rule, self.day, self.amount)
        )
        by_name = np.empty(len(names), np.int64)
        by_name[np.argsort(np.array(names))] = np.arange(len(names))
        order = np.lexsort((day, by_name[rule.astype(np.int64)], profile))
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(profile.astype(np.int64), minlength=count), out=offsets[1:])
        rules = pa.DictionaryArray.from_arrays(
            pa.array(rule[order].astype(np.int32)), pa.array(names, pa.utf8())
        )
        days = pa.array(day[order].astype(np.int32)).cast(pa.date32())
        return pa.array(offsets), rules.cast(pa.utf8()), days, pa.array(amount[order].astype(np.int64))


@dataclass(frozen=True, slots=True)
class DayPoints:
    """What one rule's hits give after caps and before decay, by profile and day, sorted so."""

    profile: Int64s
    day: Int64s
    amount: Int64s


def counted_by_day(hits: Hits, rules: ScoringRules, date: int) -> list[DayPoints]:
    """Counted points of each rule, in the order of the rules, from hits up to the date.

    Caps fill in the order of days, so what a day gives is the same for every later date. O(hits log hits).
    """
    hits = _sorted(hits, rules, date)
    amounts = hits.amount.copy()
    bounds = np.searchsorted(hits.rule, np.arange(len(rules.behaviour) + 1))
    slices = [slice(*bounds[index : index + 2]) for index in range(len(rules.behaviour))]
    for here, rule in zip(slices, rules.behaviour, strict=True):
        profile, day = hits.profile[here], hits.day[here]
        if rule.once_per:
            amounts[here] = np.where(is_first(profile, hits.key[here]), amounts[here], 0)
        amounts[here] = counted(profile, day, amounts[here], rule.caps)
    for members, caps in rules.shared_caps():
        rows = np.flatnonzero(np.isin(hits.rule, members))
        event = hits.event[rows]
        rows = rows[
            np.lexsort((hits.rule[rows], event[:, 1], event[:, 0], hits.day[rows], hits.profile[rows]))
        ]
        amounts[rows] = counted(hits.profile[rows], hits.day[rows], amounts[rows], caps)
    return [DayPoints(*_by_day(hits.profile[here], hits.day[here], amounts[here])) for here in slices]


def is_first(profile: Int64s, key: Int64s) -> npt.NDArray[np.bool_]:
    """Whether each row is the first of its profile and key; rows sorted by profile."""
    order = np.lexsort((key, profile))
    new = np.ones(len(key), bool)
    new[1:] = (profile[order][1:] != profile[order][:-1]) | (key[order][1:] != key[order][:-1])
    first = np.empty(len(key), bool)
    first[order] = new
    return first


def behaviour(
    hits: Hits,
    last_active_day: Int64s,
    rules: ScoringRules,
    date: int,
    counted_days: Sequence[DayPoints] | None = None,
) -> BehaviourResult:
    """Points on `date` (days since 1970) of as many profiles as `last_active_day` has entries.

    Hits after the date are left out. `last_active_day`: day of the last event of day <= date, NEVER where there is
    none. `counted_days`: what `counted_by_day` gives for them, where it is known already. O(hits log hits).
    """
    count = len(last_active_day)
    names = [*(rule.name for rule in rules.behaviour), INACTIVITY]
    points, parts = _Entries.empty(), _Entries.empty()
    score = np.zeros(count, np.int64)
    next_change = np.full(count, NEVER, np.int64)
    counted_days = counted_by_day(hits, rules, date) if counted_days is None else counted_days
    for index, (rule, of_rule) in enumerate(zip(rules.behaviour, counted_days, strict=True)):
        profile, day, amount = of_rule.profile, of_rule.day, of_rule.amount
        table = table_of(rule.decay)
        if table:
            parts.add(profile, index, day, amount)
            _add_decayed(score, profile, day, amount, table, date)
            continue
        if rule.decay.kind == "window":
            left_on = day + rule.decay.days
            in_window = (left_on > date) & (amount != 0)
            profile, left_on, amount = profile[in_window], left_on[in_window], amount[in_window]
            np.minimum.at(next_change, profile, left_on)
        profile, total = _totals(profile, amount)
        points.add(profile, index, np.zeros_like(total), total)
        score[profile] += total
    if rules.inactivity:
        silence, change = inactivity(last_active_day, rules.inactivity, date)
        everyone = np.arange(count)
        points.add(everyone, len(names) - 1, np.zeros_like(silence), silence)
        score += silence
        next_change = np.minimum(next_change, change)
    offsets, rule_of, _, amount_of = points.columns(names, count)
    maps = pa.MapArray.from_arrays(offsets, rule_of, amount_of)
    offsets, rule_of, day_of, amount_of = parts.columns(names, count)
    struct = pa.StructArray.from_arrays([rule_of, day_of, amount_of], ["rule", "day", "amount"])
    lists = pa.ListArray.from_arrays(offsets, struct)
    return BehaviourResult(
        maps.cast(PROFILE_ROWS.field("points").type),
        lists.cast(PROFILE_ROWS.field("decaying").type),
        rules.bounds.clamp(score),
        next_change,
    )


def inactivity(last_active_day: Int64s, rules: Inactivity, date: int) -> tuple[Int64s, Int64s]:
    """Points for silence on `date`, and the day of the next change (NEVER when none), by last active day."""
    idle = np.where(last_active_day == NEVER, -1, date - last_active_day)
    most = -(-rules.floor // rules.points) if rules.every else 1
    every = rules.every or 1
    times = np.where(idle < rules.after, 0, np.minimum(1 + (idle - rules.after) // every, most))
    points = np.maximum(times * rules.points, rules.floor)
    change = last_active_day + rules.after + times * every
    return points, np.where((times >= most) | (last_active_day == NEVER), NEVER, change)


def _sorted(hits: Hits, rules: ScoringRules, date: int) -> Hits:
    """Hits up to the date by (rule, profile, day), and by event where what a hit gives depends on those of its day."""
    until = np.flatnonzero(hits.day <= date)
    key = (hits.rule << 48 | hits.profile << 17 | hits.day)[until]
    ordered = bool(rules.shared_caps()) or any(
        rule.times and (rule.caps or rule.once_per) for rule in rules.behaviour
    )
    event = hits.event[until] if ordered else np.zeros((0, 2), np.uint64)
    order = np.lexsort((event[:, 1], event[:, 0], key)) if ordered else np.argsort(key)
    return hits.where(until[order])


def _by_day(profile: Int64s, day: Int64s, amount: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Sums by profile and day, sorted so, as is the input."""
    if not len(profile):
        return profile, day, amount
    starts = starts_of(profile, day)
    return profile[starts], day[starts], np.add.reduceat(amount, starts)


def _totals(profile: Int64s, amount: Int64s) -> tuple[Int64s, Int64s]:
    """Sum of the amounts of each profile; input sorted by profile."""
    if not len(profile):
        return profile, amount
    starts = starts_of(profile)
    return profile[starts], np.add.reduceat(amount, starts)


def _add_decayed(
    score: Int64s, profile: Int64s, day: Int64s, amount: Int64s, table: tuple[int, ...], date: int
) -> None:
    """Adds the points that the parts of a rule still give to the scores of their profiles."""
    if len(profile):
        starts = starts_of(profile)
        score[profile[starts]] += decayed(amount, date - day, table, starts)
