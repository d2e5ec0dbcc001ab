"""What was said of the traits of profiles, in columns, and what it comes to on any day.

Invariant: a pure function of the set of rows of `scoring.facts.observations_select`. The value of a trait on a day is
that of the greatest (day, time, event_id) up to it; null unsets. Copies of an observation that were not merged yet fall
together: times and days to their minimum, values to the greatest.
"""

from collections.abc import Collection
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.events import Indexes, Int64s, halves_of, keys_of, starts_of

_DAY_BITS = 17
"""Of a day (to the year 2099) in a key of (profile, name, day)."""


class Traits:
    """Observations by (profile, name, day, time, event), one row each."""

    def __init__(self, rows: pa.Table, owner: Int64s) -> None:
        """`owner`: profile of each row of the table `touched` that was asked with. O(rows log rows)."""
        names = rows["name"].combine_chunks().dictionary_encode()
        self.names: list[str] = sorted(names.dictionary.to_pylist())
        """Names of traits, ascending."""
        self.is_own = np.array([not name.startswith("$") for name in self.names], np.bool_)
        """Of each name: whether it is a trait of the profile, and no column that the mapping of the workspace gives."""
        self._place = {name: n for n, name in enumerate(self.names)}
        code_of = np.array([self._place[name] for name in names.dictionary.to_pylist()], np.int64)
        name = code_of[names.indices.to_numpy()] if len(names) else np.zeros(0, np.int64)
        profile = owner[rows["member"].to_numpy().astype(np.int64)]
        day, at = (rows[part].to_numpy().astype(np.int64) for part in ("day", "at"))
        event = halves_of(rows["event"])
        values = rows["value"].combine_chunks()
        group = profile * max(len(self.names), 1) + name
        order = np.lexsort((at, event[:, 1], event[:, 0], group))
        group, day, at, event = (part[order] for part in (group, day, at, event))
        starts = starts_of(group, event[:, 0], event[:, 1])
        if len(starts) < len(order):
            day, at = (np.minimum.reduceat(part, starts) for part in (day, at))
            order, group, event = _greatest(rows, order, starts), group[starts], event[starts]
        key = group << _DAY_BITS | day
        by_time = np.lexsort((event[:, 1], event[:, 0], at, key))
        order = order[by_time]
        self._key, self._group = key[by_time], group[by_time]
        self.profile, self.name = profile[order], name[order]
        self.day, self.event = day[by_time], event[by_time]
        self.is_sealed, self.is_unset = (
            rows[part].to_numpy()[order] != 0 for part in ("is_sealed", "is_unset")
        )
        self.values: pa.StringArray = values.take(pa.array(order))

    @cached_property
    def codes(self) -> Int64s:
        """One integer for each value, equal for equal values."""
        return np.asarray(self.values.dictionary_encode().indices.to_numpy().astype(np.int64))

    def current(self, date: int) -> Indexes:
        """Rows of the values on a date, by (profile, name)."""
        until = np.flatnonzero(self.day <= date)
        ends = np.append(starts_of(self._group[until])[1:], len(until)) - 1 if len(until) else until
        newest = until[ends]
        return np.asarray(newest[~self.is_unset[newest]], np.intp)

    def on(self, name: str, profile: Int64s, day: Int64s) -> Indexes:
        """Row of the value of a trait of profiles on days; -1 where there is none."""
        if name not in self._place:
            return np.full(len(profile), -1)
        group = profile * len(self.names) + self._place[name]
        row = np.searchsorted(self._key, group << _DAY_BITS | day, "right") - 1
        held = np.append(self._group, -1)[row] == group
        held &= ~np.append(self.is_unset, True)[row]
        return np.where(held, row, -1)

    def first_on(self, name: str, profile: Int64s, day: Int64s) -> Indexes:
        """Row of the first value of a trait that was ever said of profiles, where it was by the day; else -1."""
        if name not in self._place:
            return np.full(len(profile), -1)
        said = np.flatnonzero(~self.is_unset & (self.name == self._place[name]))
        first = said[starts_of(self.profile[said])]
        place = np.searchsorted(self.profile[first], profile)
        row = np.append(first, -1)[place]
        held = (np.append(self.profile, -1)[row] == profile) & (np.append(self.day, 0)[row] <= day)
        return np.where(held, row, -1)

    def days(self, names: Collection[str], date: int) -> Int64s:
        """Keys of (profile, day) on which something was said of these traits up to a date."""
        wanted = np.array([name in names for name in self.names], np.bool_)
        chosen = (self.day <= date) & (wanted[self.name] if len(self.name) else False)
        return keys_of(self.profile[chosen], self.day[chosen])


def _greatest(rows: pa.Table, order: Indexes, starts: Indexes) -> Indexes:
    """Of the copies of each observation the row of the greatest (value, is_sealed, is_unset)."""
    copy = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    found = (
        rows.select(["value", "is_sealed", "is_unset"])
        .take(pa.array(order))
        .append_column("copy", pa.array(copy))
    )
    sort = [(name, "ascending") for name in ("copy", "value", "is_sealed", "is_unset")]
    by_value = pc.sort_indices(found, sort).to_numpy()
    last = np.append(starts[1:], len(order)) - 1
    return np.asarray(order[by_value[last]], np.intp)
