"""The behaviour score on every day, without computing every day: on which days it passes a constant.

Invariant: `ScoreDays.at` gives the integers that `scoring.behaviour.behaviour` gives for that date over the same
hits, and `crossings` names exactly the days on which a daily computation would see the score on another side of,
or on, one of the constants. Between two days with evidence or a step (a window left, silence paid for), the score
only decays: positive rules fall and negative ones rise, which bounds it, so an interval whose bounds lie on one
side of every constant is never looked into, and others are halved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scoring.behaviour import DayPoints
from scoring.decay import decayed, is_narrow, table_of
from scoring.events import DAY_BITS, Indexes, Int64s, keys_of, of_keys, united
from scoring.ruleset import Inactivity, ScoringRules


def bands(score: Int64s, thresholds: Int64s) -> Int64s:
    """Where a score lies among sorted constants: an integer that grows with it, other on each constant."""
    left, right = (np.searchsorted(thresholds, score, side) for side in ("left", "right"))
    return np.asarray(left + right, np.int64)


@dataclass(frozen=True, slots=True)
class _Decaying:
    """Parts of a rule whose points fade."""

    points: DayPoints
    table: tuple[int, ...]
    is_negative: bool
    begin: Int64s
    """Where the parts of each profile begin, and where the last one's end."""
    narrow: bool


class ScoreDays:
    """Behaviour scores of profiles on any day up to a date, and after it as long as time alone goes on."""

    def __init__(
        self, counted: Sequence[DayPoints], active: Int64s, rules: ScoringRules, count: int, date: int
    ) -> None:
        """`counted`: of `counted_by_day`; `active`: sorted keys of the days with events up to the date."""
        self._decaying: list[_Decaying] = []
        changes: tuple[list[tuple[Int64s, Int64s]], ...] = ([], [], [])
        """Keys and amounts: steps, points that decay, and deductions that decay, whole as on their day."""
        for rule, points in zip(rules.behaviour, counted, strict=True):
            table, keys = table_of(rule.decay), keys_of(points.profile, points.day)
            if table:
                begin = np.searchsorted(points.profile, np.arange(count + 1))
                narrow = is_narrow(points.amount, begin[:-1])
                self._decaying.append(_Decaying(points, table, rule.points < 0, begin, narrow))
                changes[1 + (rule.points < 0)].append((keys, points.amount))
                continue
            changes[0].append((keys, points.amount))
            if rule.decay.kind == "window":
                changes[0].append((keys + rule.decay.days, -points.amount))
        if rules.inactivity:
            changes[0].extend(_silences(active, rules.inactivity, date))
        keys = np.concatenate([np.zeros(0, np.int64), *(keys for kind in changes for keys, _ in kind)])
        deltas = np.zeros((3, len(keys)), np.int64)
        place = 0
        for kind, of_kind in enumerate(changes):
            for _, amounts in of_kind:
                deltas[kind, place : place + len(amounts)] = amounts
                place += len(amounts)
        order = np.argsort(keys, kind="stable")
        self._keys, deltas = keys[order], deltas[:, order]
        self._begin = np.searchsorted(self._keys, np.arange(count + 1) << DAY_BITS)
        self._sums = _running(deltas)
        self._reach = [
            np.diff(_running(side(deltas, 0).sum(axis=0))[self._begin]) for side in (np.minimum, np.maximum)
        ]
        """Least and greatest sum that each profile can ever have: all that takes away, all that gives."""
        self._bounds = rules.bounds
        self._longest = max((len(each.table) for each in self._decaying), default=0)

    @property
    def horizon(self) -> int:
        """Days after which nothing decays any more."""
        return self._longest

    def at(self, profile: Int64s, day: Int64s) -> Int64s:
        """Scores of profiles on days."""
        return self._bounds.clamp(self._parts(profile, day).sum(axis=0))

    def among(self, thresholds: Iterable[int], profile: Int64s, day: Int64s) -> Int64s:
        """Numbers that lie among constants where the scores of profiles on days do; often cheaper than the scores."""
        return self._among(np.array(sorted(thresholds), np.int64), profile, day)[0]

    def _among(self, limits: Int64s, profile: Int64s, day: Int64s) -> tuple[Int64s, Indexes]:
        """Such numbers, and which of them are scores, because decay alone could move these past a constant."""
        parts = self._undecayed(profile, day)
        steps, high, low = parts
        number = self._bounds.clamp(steps + low)
        near = np.flatnonzero(bands(number, limits) != self._bands(steps + high, limits))
        faded = self._faded(parts[:, near], profile[near], day[near])
        number[near] = self._bounds.clamp(faded.sum(axis=0))
        return number, near

    def _undecayed(self, profile: Int64s, day: Int64s) -> Int64s:
        """What steps, decaying points and decaying deductions give of profiles up to days if nothing decayed."""
        until = np.searchsorted(self._keys, keys_of(profile, day), "right")
        return np.asarray(self._sums[:, until] - self._sums[:, self._begin[profile]], np.int64)

    def _parts(self, profile: Int64s, day: Int64s) -> Int64s:
        """What steps, decaying points and decaying deductions give of profiles on days, shape (3, days)."""
        return self._faded(self._undecayed(profile, day), profile, day)

    def _faded(self, parts: Int64s, profile: Int64s, day: Int64s) -> Int64s:
        """The parts, given as if nothing had decayed, as they are; in place."""
        parts[1:] = 0
        for each in self._decaying:
            first = each.begin[profile]
            sizes = each.begin[profile + 1] - first
            held = np.flatnonzero(sizes)
            sizes = sizes[held]
            starts = np.cumsum(sizes) - sizes
            part = np.arange(sizes.sum()) + np.repeat(first[held] - starts, sizes)
            ages = np.repeat(day[held], sizes) - each.points.day[part]
            amounts = each.points.amount[part]
            parts[1 + each.is_negative][held] += decayed(amounts, ages, each.table, starts, each.narrow)
        return parts

    def _bands(self, total: Int64s, limits: Int64s) -> Int64s:
        """Bands of the scores of these sums; a bound keeps their order, so it keeps what is concluded from two."""
        return bands(self._bounds.clamp(total), limits)

    def crossings(self, thresholds: Sequence[int], first: Int64s, last: Int64s) -> Int64s:
        """Sorted keys of the days in (first, last] on which a score is not where it was the day before.

        `first` and `last`: one day per profile, profiles whose first is after their last have no days. Only
        steps up to the date are known; after it, ask for days before the next one.
        """
        limits = np.array(sorted(thresholds), np.int64)
        least, most = self._reach
        may_cross = (first <= last) & (self._bands(least, limits) != self._bands(most, limits))
        who = np.flatnonzero(may_cross)
        profile, day = of_keys(self._keys)
        inside = may_cross[profile] & (day >= first[profile]) & (day <= last[profile])
        profile, day = of_keys(united(keys_of(who, first[who]), self._keys[inside]))
        is_last = np.ones(len(day), bool)
        is_last[:-1] = profile[1:] != profile[:-1]
        end = last[profile]
        end[~is_last] = day[np.flatnonzero(~is_last) + 1] - 1
        number, near = self._among(limits, profile, day)
        start_band = bands(number, limits)
        end_band = start_band.copy()
        near = near[end[near] > day[near]]
        at_start, at_end = self._parts(profile[near], day[near]), self._parts(profile[near], end[near])
        end_band[near] = self._bands(at_end.sum(axis=0), limits)
        follows = np.flatnonzero(~is_last)
        jumps = follows[end_band[follows] != start_band[follows + 1]] + 1
        changed = [keys_of(profile[jumps], day[jumps])]
        changed += self._inside(profile[near], day[near], end[near], at_start, at_end, limits)
        return united(*changed)

    def _inside(
        self, profile: Int64s, start: Int64s, end: Int64s, at_start: Int64s, at_end: Int64s, limits: Int64s
    ) -> list[Int64s]:
        """Keys of the changed days in (start, end] of intervals in which points only decay, from `_parts` of both."""
        found: list[Int64s] = []
        while len(profile):
            (steps, high, low_end), (_, high_end, low) = at_start, at_end
            least, most = steps + high_end + low_end, steps + high + low
            open_ = self._bands(least, limits) != self._bands(most, limits)
            is_step = open_ & (end == start + 1)
            differs = self._bands(at_start.sum(axis=0), limits) != self._bands(at_end.sum(axis=0), limits)
            found.append(keys_of(profile[is_step & differs], end[is_step & differs]))
            open_ &= ~is_step
            profile, start, end = profile[open_], start[open_], end[open_]
            at_start, at_end = at_start[:, open_], at_end[:, open_]
            middle = (start + end) // 2
            at_middle = self._parts(profile, middle)
            profile = np.concatenate((profile, profile))
            start, end = np.concatenate((start, middle)), np.concatenate((middle, end))
            at_start, at_end = np.hstack((at_start, at_middle)), np.hstack((at_middle, at_end))
        return found


def _running(values: Int64s) -> Int64s:
    """Running sums along the last axis, from 0."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), np.int64)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


def _silences(active: Int64s, rules: Inactivity, date: int) -> list[tuple[Int64s, Int64s]]:
    """Keys and amounts of what silence takes after each active day, and gives back on the next."""
    profile, day = of_keys(active)
    until = np.full(len(day), date + 1)
    has_next = np.zeros(len(day), bool)
    has_next[:-1] = profile[1:] == profile[:-1]
    until[has_next] = day[np.flatnonzero(has_next) + 1]
    every = rules.every or 1
    most = -(-rules.floor // rules.points) if rules.every else 1
    times = np.clip((until - day - 1 - rules.after) // every + 1, 0, most)
    place = np.repeat(np.arange(len(day)), times)
    nth = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
    taken = np.maximum((nth + 1) * rules.points, rules.floor) - np.maximum(nth * rules.points, rules.floor)
    back = has_next & (times > 0)
    given = -np.maximum(times * rules.points, rules.floor)
    return [
        (keys_of(profile[place], day[place] + rules.after + nth * every), taken),
        (keys_of(profile[back], until[back]), given[back]),
    ]
