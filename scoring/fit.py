"""Identity score (fit): points for what a profile is, from conditions that the store has judged.

It says how far a lead is worth nurturing (completeness, location, preference), not how sure a match is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import PROFILE_ROWS
from scoring.ruleset import ScoringRules


@dataclass(frozen=True)
class FitResult:
    """One entry per profile; points in thousandths."""

    points: pa.MapArray
    """Points by rule that holds, sorted by rule."""
    score: npt.NDArray[np.int64]


def identity_points(results: npt.NDArray[np.uint8], rules: ScoringRules) -> FitResult:
    """Points from `results` of `when_select`: shape (profiles, identity rules), 1 where a rule holds."""
    by_name = sorted(range(len(rules.identity)), key=lambda i: rules.identity[i].name)
    names = pa.array([rules.identity[i].name for i in by_name], pa.utf8())
    amounts = np.array([rules.identity[i].points for i in by_name], np.int64)
    holds = results[:, by_name] != 0
    place = np.nonzero(holds)[1]
    offsets = np.zeros(len(holds) + 1, np.int32)
    np.cumsum(holds.sum(axis=1), out=offsets[1:])
    maps = pa.MapArray.from_arrays(pa.array(offsets), names.take(pa.array(place)), pa.array(amounts[place]))
    return FitResult(maps.cast(PROFILE_ROWS.field("identity_points").type), holds @ amounts)
