"""What profiles did, in columns: the events of the subjects of each, as hits that count and as activity by day.

Invariant: a pure function of the set of rows of `scoring.facts.events_select`: copies of an event that were not merged
yet fall together (times and days to their minimum), the order of the rows does not matter. Who is a robot is decided
here: an event that a robots filter of events or the burst takes is evidence (a profile was seen) and no more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.ids import ID_LENGTH
from scoring.robots import Robots
from scoring.ruleset import ScoringRules

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]

NEVER = int(np.iinfo(np.int32).max)
"""A day that does not come: of the last event of a profile without any, of a change that nothing makes."""
DAY_BITS = 32
"""A day in a key of (profile, day): profile << 32 | day."""
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def keys_of(profile: Int64s, day: Int64s) -> Int64s:
    """One integer for each (profile, day), in their order; days are not negative."""
    return np.asarray((profile << DAY_BITS) | day, np.int64)


def of_keys(keys: Int64s) -> tuple[Int64s, Int64s]:
    """Profile and day of keys."""
    return keys >> DAY_BITS, keys & ((1 << DAY_BITS) - 1)


def united(*keys: Int64s) -> Int64s:
    """Distinct keys of arrays, ascending; quick where these are sorted each."""
    together = np.concatenate(keys)
    together.sort(kind="stable")
    return together[starts_of(together)]


@dataclass(frozen=True, slots=True)
class Hits:
    """Distinct events that rules matched and that count, arrays of one length in any order."""

    profile: Int64s
    rule: Int64s
    """Place of the rule among the behaviour rules."""
    day: Int64s
    amount: Int64s
    """Raw points in thousandths."""
    event: UInt64s
    """event_id, shape (hits, 2), the greater half first."""
    key: Int64s
    """Code of what a rule that counts once per value compares."""

    @classmethod
    def of(cls, rows: Iterable[tuple[int, str, str, int, int, str]], rules: ScoringRules) -> "Hits":
        """Hits out of (profile, rule, event_id, day, amount, distinct_key)."""
        place = {rule.name: n for n, rule in enumerate(rules.behaviour)}
        codes: dict[str, int] = {}
        told = [
            (profile, place[rule], day, amount, codes.setdefault(key, len(codes)), event)
            for profile, rule, event, day, amount, key in rows
        ]
        numbers = np.array([row[:5] for row in told], np.int64).reshape(-1, 5).T
        event = np.array([(int(row[5][:16], 16), int(row[5][16:], 16)) for row in told], np.uint64)
        profile, rule, day, amount, key = numbers
        return cls(profile, rule, day, amount, event.reshape(-1, 2), key)

    def where(self, chosen: Bools | Indexes) -> "Hits":
        """Some of the hits, or all in another order."""
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Hits(
            self.profile[chosen],
            self.rule[chosen],
            self.day[chosen],
            self.amount[chosen],
            self.event[chosen],
            self.key[chosen],
        )


@dataclass(frozen=True, slots=True)
class Activity:
    """Days with events, one row for each profile, day and robots filter, by (profile, day)."""

    profile: Int64s
    day: Int64s
    robot: Int64s
    """Place in `Events.robots` of the filter by which the events do not count; 0: they do."""
    count: Int64s
    first_at: Int64s
    last_at: Int64s
    """Times (µs) of the first and last of them."""

    @property
    def keys(self) -> Int64s:
        """(profile, day) of each row, ascending."""
        return keys_of(self.profile, self.day)


@dataclass(frozen=True)
class Events:
    """Hits and activity of as many profiles as `count` says, on any day."""

    hits: Hits
    activity: Activity
    robots: Sequence[str]
    """Names of the filters of events and bursts; the first is empty."""
    count: int

    def until(self, date: int) -> "Seen":
        """What is known on a date."""
        return Seen(self, date)


class Seen:
    """When profiles were seen up to a date: one entry per profile."""

    def __init__(self, events: Events, date: int) -> None:
        self._activity = events.activity
        self._count = events.count
        self._date = date

    @cached_property
    def _until(self) -> Bools:
        return np.asarray(self._activity.day <= self._date)

    def _reduced(self, how: np.ufunc, values: Int64s, chosen: Bools, missing: int) -> Int64s:
        """`how` over the chosen rows of each profile."""
        out = np.full(self._count, missing, np.int64)
        profile = self._activity.profile[chosen]
        if len(profile):
            starts = starts_of(profile)
            out[profile[starts]] = how.reduceat(values[chosen], starts)
        return out

    @property
    def event_count(self) -> Int64s:
        """Events, robots' too."""
        return self._reduced(np.add, self._activity.count, self._until, 0)

    @property
    def first_at(self) -> Int64s:
        """Time (µs) of the first event; 0 where there is none."""
        return self._reduced(np.minimum, self._activity.first_at, self._until, 0)

    @property
    def last_at(self) -> Int64s:
        """Time (µs) of the last event; 0 where there is none."""
        return self._reduced(np.maximum, self._activity.last_at, self._until, 0)

    @property
    def first_day(self) -> Int64s:
        """Day of the first event; NEVER where there is none."""
        return self._reduced(np.minimum, self._activity.day, self._until, NEVER)

    @property
    def last_day(self) -> Int64s:
        """Day of the last event that counts; NEVER where there is none."""
        counting = self._until & (self._activity.robot == 0)
        return self._reduced(np.maximum, self._activity.day, counting, NEVER)

    @property
    def next_day(self) -> Int64s:
        """First day after the date that has an event; NEVER where there is none."""
        return self._reduced(np.minimum, self._activity.day, ~self._until, NEVER)

    def count_on(self, profile: Int64s, day: Int64s) -> Int64s:
        """Events of profiles up to days, robots' too."""
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(self._activity.count)))
        keys = self._activity.keys
        until = np.searchsorted(keys, keys_of(profile, day), "right")
        return np.asarray(sums[until] - sums[np.searchsorted(keys, profile << DAY_BITS)], np.int64)


def events_of(rows: pa.Table, owner: Int64s, count: int, robots: Robots) -> Events:
    """Hits and activity from rows of `scoring.facts.events_select`.

    `owner`: profile of each row of the table `touched` that was asked with; `count`: profiles. O(rows log rows).
    """
    member, day, at = (rows[name].to_numpy().astype(np.int64) for name in ("member", "day", "at"))
    event = halves_of(rows["event"])
    copies = _copies(member, event)
    if copies is not None:
        order, starts = copies
        at, day = (np.minimum.reduceat(part[order], starts) for part in (at, day))
        rows = rows.take(pa.array(order[starts]))
        member, event = member[order[starts]], event[order[starts]]
    profile = owner[member]
    names = ["", *(each.name for each in robots.events), *([robots.burst.name] if robots.burst else [])]
    robot = _places(rows["robot"], names) if "robot" in rows.column_names else np.zeros(len(member), np.int64)
    matched = rows["rules"].combine_chunks()
    of_event = np.repeat(np.arange(len(member)), matched.value_lengths().to_numpy())
    hits = Hits(
        profile[of_event],
        matched.flatten().to_numpy().astype(np.int64) - 1,
        day[of_event],
        rows["amounts"].combine_chunks().flatten().to_numpy().astype(np.int64),
        event[of_event],
        _codes(rows["keys"]) if "keys" in rows.column_names else np.zeros(len(of_event), np.int64),
    )
    if robots.burst is not None:
        in_burst = _in_burst(member, day, robots.burst.more_than)
        robot = np.where((robot == 0) & in_burst, len(names) - 1, robot)
        hits = hits.where(~in_burst[of_event])
    return Events(hits, _activity(profile, day, robot, at), names, count)


def _in_burst(member: Int64s, day: Int64s, more_than: int) -> Bools:
    """Whether the subject of each event has, on its day, more events than that, whatever they are."""
    _, which, sizes = np.unique(keys_of(member, day), return_inverse=True, return_counts=True)
    return np.asarray(sizes[which] > more_than)


def _activity(profile: Int64s, day: Int64s, robot: Int64s, at: Int64s) -> Activity:
    """Rows by (profile, day, robot), from one of each event."""
    keys = keys_of(profile, day)
    order = np.lexsort((robot, keys)) if robot.any() else np.argsort(keys)
    keys, robot, at = keys[order], robot[order], at[order]
    starts = starts_of(keys, robot)
    if not len(starts):
        return Activity(*(np.zeros(0, np.int64) for _ in range(6)))
    profile, day = of_keys(keys[starts])
    sizes = np.diff(np.append(starts, len(keys)))
    first, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
    return Activity(profile, day, robot[starts], sizes, first, last)


def _copies(
    *parts: npt.NDArray[np.int64] | UInt64s,
) -> tuple[Indexes, Indexes] | None:
    """An order in which equal rows stand together, and where each begins; None where all rows are distinct.

    Rows are first told apart by one mixed integer: equal rows have equal ones, and almost always there are no such.
    """
    columns = [column for part in parts for column in (part.T if part.ndim == 2 else (part,))]
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed.sort()
    if not np.any(mixed[1:] == mixed[:-1]):
        return None
    order = np.lexsort(columns)
    return order, starts_of(*(column[order] for column in columns))


def starts_of(*columns: npt.NDArray[np.generic]) -> Indexes:
    """Where runs of equal rows begin."""
    new = np.ones(len(columns[0]), np.bool_)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def halves_of(column: pa.ChunkedArray) -> UInt64s:
    """event_ids (16 bytes each) as integers in their order, shape (rows, 2)."""
    parts = [
        np.frombuffer(chunk.buffers()[1], ">u8", 2 * len(chunk), 16 * chunk.offset) for chunk in column.chunks
    ]
    whole = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    return whole.astype(np.uint64).reshape(-1, 2)


def event_ids(event: UInt64s) -> pa.StringArray:
    """The event_ids of such halves."""
    whole = np.ascontiguousarray(event).astype(">u8").view(np.uint8).reshape(-1, 16)
    digits = _DIGITS[np.stack((whole >> 4, whole & 15), axis=-1)]
    ends = np.arange(len(event) + 1, dtype=np.int32) * ID_LENGTH
    return pa.StringArray.from_buffers(len(event), pa.py_buffer(ends), pa.py_buffer(digits.tobytes()))


def _codes(lists: pa.ChunkedArray) -> Int64s:
    """A code for each text of the lists."""
    codes = lists.combine_chunks().flatten().dictionary_encode().indices
    return np.asarray(codes.to_numpy().astype(np.int64))


def _places(texts: pa.ChunkedArray, names: Sequence[str]) -> Int64s:
    """Place of each text among the names."""
    places = pc.index_in(texts.combine_chunks().cast(pa.utf8()), pa.array(names))
    return np.asarray(places.to_numpy().astype(np.int64))
