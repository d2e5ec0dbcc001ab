"""Bounds of a score: the least and the greatest value that a sum of points can have.

Invariant: the score on a date is the sum on that date, taken into the bounds. Each date is judged for itself, so what a
bound took away is never owed later. A line `floor` or `ceiling` holds the difference: lines add up to the score.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from scoring.rules_file import Place

Int64s = npt.NDArray[np.int64]

FLOOR, CEILING = "floor", "ceiling"
"""Names under which the difference stands among the points by rule."""
MAX_SCORE = 1_000_000_000
"""Farthest bound, in thousandths."""
_NONE = 1 << 62


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest score in thousandths; None: there is no such bound.

    >>> Bounds(floor=0).line(-1500), Bounds(ceiling=100_000).line(130_000), Bounds().line(-1500)
    ({'floor': 1500}, {'ceiling': -30000}, {})
    """

    floor: int | None = None
    ceiling: int | None = None

    def clamp(self, total: Int64s) -> Int64s:
        """Scores of sums of points."""
        least = -_NONE if self.floor is None else self.floor
        most = _NONE if self.ceiling is None else self.ceiling
        return np.asarray(np.clip(total, least, most), np.int64)

    def line(self, total: int) -> dict[str, int]:
        """The line that takes a sum of points into the bounds; empty where it lies within them."""
        if self.floor is not None and total < self.floor:
            return {FLOOR: self.floor - total}
        if self.ceiling is not None and total > self.ceiling:
            return {CEILING: self.ceiling - total}
        return {}

    def as_map(self) -> dict[str, int]:
        """The bounds there are, by name: column `bounds` of `generations`. `Bounds(**b.as_map()) == b`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


UNBOUNDED = Bounds()


def parse_bounds(fields: Mapping[str, Place]) -> Bounds:
    """Bounds of the keys `floor` and `ceiling`, where they are among the fields."""
    found = {name: fields[name].thousandths(MAX_SCORE) for name in (FLOOR, CEILING) if name in fields}
    bounds = Bounds(**found)
    if bounds.floor is not None and bounds.ceiling is not None and bounds.floor > bounds.ceiling:
        fields[CEILING].refuse("the ceiling is not below the floor")
    return bounds
