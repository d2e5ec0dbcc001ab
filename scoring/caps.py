"""Caps: what each hit still gives when a day, a week or a lifetime gives at most so many points or hits.

Invariant: caps take raw points, before decay; each cap sees what the caps before it left (day, week,
lifetime; in a period count before points) and is filled in the order (day, event_id), so a hit's share does
not depend on the order of arrival. A cap limits magnitude: a negative rule takes away at most so much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from scoring.bounds import MAX_SCORE
from scoring.rules_file import Place

Int64s = npt.NDArray[np.int64]
Period = Literal["day", "week", "lifetime"]
PERIODS: tuple[Period, ...] = ("day", "week", "lifetime")
"""Order in which caps apply. A week runs from Monday to Sunday."""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` points (thousandths, of magnitude) or hits in each period."""

    unit: Literal["points", "count"]
    most: int
    per: Period


def counted(profile: Int64s, day: Int64s, amount: Int64s, caps: Sequence[Cap]) -> Int64s:
    """What is counted of each hit of one rule.

    Arrays of one length, sorted by (profile, day, event_id); amounts in thousandths. O(hits) per cap.

    >>> day = np.array([0, 0, 1])
    >>> counted(np.zeros(3, np.int64), day, np.array([8, 8, 8]), [Cap("points", 10, "day")]).tolist()
    [8, 2, 8]
    """
    left = np.abs(amount)
    for cap in caps:
        if not len(left):
            break
        start = _period_start(profile, _period(day, cap))
        step = left if cap.unit == "points" else (left > 0).astype(np.int64)
        before = np.cumsum(step) - step
        before -= before[start]
        room = np.maximum(cap.most - before, 0)
        left = np.minimum(left, room) if cap.unit == "points" else np.where(room > 0, left, 0)
    return np.asarray(np.sign(amount) * left, np.int64)


def _period(day: Int64s, cap: Cap) -> Int64s:
    """Number of the period of each day; 1970-01-05 was a Monday."""
    if cap.per == "day":
        return day
    if cap.per == "week":
        return np.asarray((day + 3) // 7, np.int64)
    return np.zeros_like(day)


def _period_start(profile: Int64s, period: Int64s) -> npt.NDArray[np.intp]:
    """Index of the first hit of each hit's profile and period."""
    is_first = np.ones(len(period), bool)
    is_first[1:] = (profile[1:] != profile[:-1]) | (period[1:] != period[:-1])
    return np.maximum.accumulate(np.where(is_first, np.arange(len(period)), 0))


def parse_caps(place: Place) -> tuple[Cap, ...]:
    """`cap`: one or a list, brought to the order in which they apply."""
    caps: dict[tuple[int, str], Cap] = {}
    for item in place.items() if place.is_list else [place]:
        fields = item.fields(("points", "count", "per"), needed=("per",))
        if ("points" in fields) == ("count" in fields):
            item.refuse("a cap limits either points or count")
        per = fields["per"].choice(PERIODS)
        unit = "points" if "points" in fields else "count"
        most = fields[unit].thousandths(MAX_SCORE) if unit == "points" else fields[unit].count(10**6)
        if most <= 0:
            fields[unit].refuse("a cap is above 0; for negative points it limits their magnitude")
        key = (PERIODS.index(per), unit)
        if key in caps:
            item.refuse(f"there is another cap of {unit} per {per}")
        caps[key] = Cap(unit, most, per)  # type: ignore[arg-type]  # both words are checked
    return tuple(caps[key] for key in sorted(caps))
