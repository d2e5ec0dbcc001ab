"""The behaviour score on every day, without computing every day: on which days it passes a constant.

Invariant: `ScoreDays.at` gives the integers that `scoring.behaviour.behaviour` gives for that date over the same
hits, and `crossings` names exactly the days on which a daily computation would see the score on another side of,
or on, one of the constants. Between two days with evidence or a step (a window left, silence paid for), the score
only decays: positive rules fall and negative ones rise, which bounds it, so an interval whose bounds lie on one
side of every constant is never looked into, and others are halved.
"""

from collections.abc import Sequence

import numpy as np

from scoring.behaviour import DayPoints
from scoring.decay import decayed, table_of
from scoring.events import DAY_BITS, Int64s, keys_of, of_keys
from scoring.ruleset import Inactivity, ScoringRules


def bands(score: Int64s, thresholds: Int64s) -> Int64s:
    """Where a score lies among sorted constants: an integer that grows with it, other on each constant."""
    left, right = (np.searchsorted(thresholds, score, side) for side in ("left", "right"))
    return np.asarray(left + right, np.int64)


class ScoreDays:
    """Behaviour scores of profiles on any day up to a date, and after it as long as time alone goes on."""

    def __init__(
        self, counted: Sequence[DayPoints], active: Int64s, rules: ScoringRules, count: int, date: int
    ) -> None:
        """`counted`: of `counted_by_day`; `active`: sorted keys of the days with events up to the date."""
        self._count = count
        self._decaying: list[tuple[DayPoints, tuple[int, ...], bool]] = []
        self._where: list[Int64s] = []
        """Of each decaying rule, where the parts of each profile begin."""
        key, delta = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for rule, points in zip(rules.behaviour, counted, strict=True):
            table = table_of(rule.decay)
            if table:
                self._decaying.append((points, table, rule.points < 0))
                self._where.append(np.searchsorted(points.profile, np.arange(count + 1)))
                continue
            key.append(keys_of(points.profile, points.day))
            delta.append(points.amount)
            if rule.decay.kind == "window":
                key.append(keys_of(points.profile, points.day + rule.decay.days))
                delta.append(-points.amount)
        if rules.inactivity:
            for keys, deltas in _silences(active, rules.inactivity, date):
                key.append(keys)
                delta.append(deltas)
        keys, deltas = np.concatenate(key), np.concatenate(delta)
        order = np.argsort(keys, kind="stable")
        self._steps = keys[order]
        deltas = deltas[order]
        self._sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(deltas)))
        self._begin = np.searchsorted(self._steps, np.arange(count + 1) << DAY_BITS)
        self._reach = self._reaches(deltas)
        self._bounds = rules.bounds
        self._longest = max((len(table) for _, table, _ in self._decaying), default=0)

    def _reaches(self, deltas: Int64s) -> tuple[Int64s, Int64s]:
        """Least and greatest sum that each profile can ever have: all that takes away, all that gives."""
        reaches = []
        for least, most in ((None, 0), (0, None)):
            total = _sums_of(np.clip(deltas, least, most), self._begin)
            for (points, _, _), begin in zip(self._decaying, self._where, strict=True):
                total += _sums_of(np.clip(points.amount, least, most), begin)
            reaches.append(total)
        return reaches[0], reaches[1]

    @property
    def horizon(self) -> int:
        """Days after which nothing decays any more."""
        return self._longest

    def at(self, profile: Int64s, day: Int64s) -> Int64s:
        """Scores of profiles on days."""
        ((steps, positive, negative),) = self._parts(profile, day)
        return self._bounds.clamp(steps + positive + negative)

    def _parts(self, profile: Int64s, *days: Int64s) -> list[tuple[Int64s, Int64s, Int64s]]:
        """What steps, decaying points and decaying deductions give of profiles on days, array after array."""
        given = []
        for day in days:
            until = np.searchsorted(self._steps, keys_of(profile, day), "right")
            steps = self._sums[until] - self._sums[self._begin[profile]]
            given.append((steps, np.zeros(len(day), np.int64), np.zeros(len(day), np.int64)))
        for (points, table, is_negative), begin in zip(self._decaying, self._where, strict=True):
            first = begin[profile]
            sizes = begin[profile + 1] - first
            held = np.flatnonzero(sizes)
            sizes = sizes[held]
            starts = np.cumsum(sizes) - sizes
            part = np.arange(sizes.sum()) + np.repeat(first[held] - starts, sizes)
            of_query = np.repeat(held, sizes)
            amount, since = points.amount[part], points.day[part]
            for day, sums in zip(days, given, strict=True):
                ages = day[of_query] - since
                ages[ages < 0] = len(table)
                sums[1 + is_negative][held] += decayed(amount, ages, table, starts)
        return given

    def _bands(self, total: Int64s, limits: Int64s) -> Int64s:
        """Bands of the scores of these sums; a bound keeps their order, so it keeps what `_inside` concludes."""
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
        boundaries = [keys_of(who, first[who]), self._steps]
        boundaries += [keys_of(points.profile, points.day) for points, _, _ in self._decaying]
        found = np.concatenate(boundaries)
        profile, day = of_keys(found)
        inside = may_cross[profile] & (day >= first[profile]) & (day <= last[profile])
        profile, day = of_keys(np.unique(found[inside]))
        is_last = np.ones(len(day), bool)
        is_last[:-1] = profile[1:] != profile[:-1]
        end = last[profile]
        end[~is_last] = day[np.flatnonzero(~is_last) + 1] - 1
        at_start, at_end = self._parts(profile, day, end)
        start_band, end_band = (self._bands(s + p + n, limits) for s, p, n in (at_start, at_end))
        follows = np.flatnonzero(~is_last)
        jumps = follows[end_band[follows] != start_band[follows + 1]] + 1
        changed = [keys_of(profile[jumps], day[jumps]), *self._inside(profile, day, end, limits)]
        return np.asarray(np.unique(np.concatenate(changed)), np.int64)

    def _inside(self, profile: Int64s, start: Int64s, end: Int64s, limits: Int64s) -> list[Int64s]:
        """Keys of the changed days in (start, end] of intervals in which points only decay."""
        found: list[Int64s] = []
        while len(profile):
            (steps, high, low_end), (_, high_end, low) = self._parts(profile, start, end)
            least, most = steps + high_end + low_end, steps + high + low
            open_ = (self._bands(least, limits) != self._bands(most, limits)) & (start < end)
            is_step = open_ & (end == start + 1)
            differs = self._bands(steps + high + low_end, limits) != self._bands(
                steps + high_end + low, limits
            )
            found.append(keys_of(profile[is_step & differs], end[is_step & differs]))
            open_ &= ~is_step
            profile, start, end = profile[open_], start[open_], end[open_]
            middle = (start + end) // 2
            profile = np.concatenate((profile, profile))
            start, end = np.concatenate((start, middle)), np.concatenate((middle, end))
        return found


def _sums_of(values: Int64s, begin: Int64s) -> Int64s:
    """Sums of the runs of values that begin at each place but the last, where the last one ends."""
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))
    return np.asarray(np.diff(sums[begin]), np.int64)


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
