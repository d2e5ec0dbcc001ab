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
import pyarrow.compute as pc

from schemas.arrow import PROFILE_ROWS
from scoring.caps import counted
from scoring.decay import decayed, table_of
from scoring.ruleset import INACTIVITY, Inactivity, ScoringRules

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

NEVER = int(np.iinfo(np.int32).max)
"""`next_change_on` of a profile that time alone does not change; last active day of one without activity."""

HITS = pa.schema(
    [
        ("profile", pa.int32()),
        ("rule", pa.utf8()),
        ("event_id", pa.utf8()),
        ("day", pa.date32()),
        ("amount", pa.int64()),
    ]
)
"""Distinct hits whose subject is in the profile; `profile` is an index from 0, amounts are raw points.

One more column, `distinct_key`, is needed where a rule counts once per value.
"""


@dataclass(frozen=True)
class BehaviourResult:
    """One entry per profile; points in thousandths."""

    points: pa.MapArray
    """Points by rule of rules whose points do not fade, and of inactivity; no zeros, sorted by rule."""
    decaying: pa.ListArray
    """(rule, day, amount) of half-life and linear rules, amounts after caps and before decay; sorted by rule, day."""
    score: Int64s
    """Behaviour score on the date: the sum of all points, within the bounds."""
    next_change_on: Int32s
    """Next day after the date on which a window or inactivity term changes; NEVER when none will."""


@dataclass
class _Entries:
    """Rows that become a column of maps or lists: profile, place of the rule, day, amount."""

    profile: list[Int32s]
    rule: list[Int32s]
    day: list[Int64s]
    amount: list[Int64s]

    @classmethod
    def empty(cls) -> "_Entries":
        return cls([], [], [], [])

    def add(self, profile: Int32s, rule: int, day: Int64s, amount: Int64s) -> None:
        keep = amount != 0
        self.profile.append(profile[keep])
        self.rule.append(np.full(int(keep.sum()), rule, np.int32))
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

    profile: Int32s
    day: Int64s
    amount: Int64s


def counted_by_day(hits: pa.Table, rules: ScoringRules, date: int) -> list[DayPoints]:
    """Counted points of each rule, in the order of the rules, from hits as `HITS` up to the date.

    Caps fill in the order of days, so what a day gives is the same for every later date. O(hits log hits).
    """
    names = [rule.name for rule in rules.behaviour]
    table = _sorted(hits, names, date)
    of_rule, profiles, days, amounts = (
        table[name].to_numpy().astype(np.int32 if name == "profile" else np.int64)
        for name in ("rule", "profile", "day", "amount")
    )
    bounds = np.searchsorted(of_rule, np.arange(len(names) + 1))
    for index, rule in enumerate(rules.behaviour):
        here = slice(bounds[index], bounds[index + 1])
        if rule.once_per:
            keys = table["distinct_key"].slice(here.start, here.stop - here.start)
            codes = keys.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
            amounts[here] = np.where(is_first(profiles[here], codes), amounts[here], 0)
        amounts[here] = counted(profiles[here], days[here], amounts[here], rule.caps)
    for members, caps in rules.shared_caps():
        rows = np.flatnonzero(np.isin(of_rule, members))
        events = table["event_id"].combine_chunks().take(pa.array(rows))
        rank = pc.rank(events, tiebreaker="dense").to_numpy()
        rows = rows[np.lexsort((of_rule[rows], rank, days[rows], profiles[rows]))]
        amounts[rows] = counted(profiles[rows], days[rows], amounts[rows], caps)
    slices = [slice(*bounds[index : index + 2]) for index in range(len(names))]
    return [DayPoints(*_by_day(profiles[here], days[here], amounts[here])) for here in slices]


def is_first(profile: Int32s, key: Int64s) -> npt.NDArray[np.bool_]:
    """Whether each row is the first of its profile and key; rows sorted by profile."""
    order = np.lexsort((key, profile))
    new = np.ones(len(key), bool)
    new[1:] = (profile[order][1:] != profile[order][:-1]) | (key[order][1:] != key[order][:-1])
    first = np.empty(len(key), bool)
    first[order] = new
    return first


def behaviour(
    hits: pa.Table,
    last_active_day: Int32s,
    rules: ScoringRules,
    date: int,
    counted_days: Sequence[DayPoints] | None = None,
) -> BehaviourResult:
    """Points on `date` (days since 1970) of as many profiles as `last_active_day` has entries.

    `hits` as `HITS` (`rule` may be a dictionary); later hits, and hits of no rule of these, are left out.
    `last_active_day`: day of the last event of day <= date, NEVER where there is none. `counted_days`: what
    `counted_by_day` gives for them, where it is known already. O(hits log hits).
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
        silence, change = inactivity(last_active_day.astype(np.int64), rules.inactivity, date)
        everyone = np.arange(count, dtype=np.int32)
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
        next_change.astype(np.int32),
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


def _sorted(hits: pa.Table, names: list[str], date: int) -> pa.Table:
    """Hits up to the date with the index of their rule, by (rule, profile, day, event_id)."""
    rule = pc.index_in(pc.cast(hits["rule"], pa.utf8()), pa.array(names, pa.utf8()))
    columns = {
        "rule": rule,
        "profile": hits["profile"],
        "day": pc.cast(hits["day"], pa.int32()),
        "event_id": hits["event_id"],
        "amount": hits["amount"],
    }
    if "distinct_key" in hits.column_names:
        columns["distinct_key"] = hits["distinct_key"]
    table = pa.table(columns)
    table = table.filter((pc.field("day") <= date) & pc.field("rule").is_valid())
    keys = [(name, "ascending") for name in ("rule", "profile", "day", "event_id")]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def _by_day(profile: Int32s, day: Int64s, amount: Int64s) -> tuple[Int32s, Int64s, Int64s]:
    """Sums by profile and day, sorted so, as is the input."""
    if not len(profile):
        return profile, day, amount
    starts = np.flatnonzero(np.r_[True, (profile[1:] != profile[:-1]) | (day[1:] != day[:-1])])
    return profile[starts], day[starts], np.add.reduceat(amount, starts)


def _totals(profile: Int32s, amount: Int64s) -> tuple[Int32s, Int64s]:
    """Sum of the amounts of each profile; input sorted by profile."""
    if not len(profile):
        return profile, amount
    starts = np.flatnonzero(np.r_[True, profile[1:] != profile[:-1]])
    return profile[starts], np.add.reduceat(amount, starts)


def _add_decayed(
    score: Int64s, profile: Int32s, day: Int64s, amount: Int64s, table: Sequence[int], date: int
) -> None:
    """Adds the points that the parts of a rule still give to the scores of their profiles."""
    if len(profile):
        starts = np.flatnonzero(np.r_[True, profile[1:] != profile[:-1]])
        score[profile[starts]] += decayed(amount, date - day, table, starts)
