"""Identity score (fit): points for what a profile is, from conditions that the store has judged.

It says how far a lead is worth nurturing (completeness, location, preference), not how sure a match is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import PROFILE_ROWS
from scoring.bounds import CEILING, FLOOR
from scoring.grades import grades_of
from scoring.ruleset import ScoringRules


@dataclass(frozen=True)
class FitResult:
    """One entry per profile; points in thousandths."""

    points: pa.MapArray
    """Points by rule that holds, and what a bound adds or takes, sorted by name; they add up to the score."""
    score: npt.NDArray[np.int64]
    grade: pa.StringArray
    """Letter of the score; empty where the rules give none."""


def identity_points(results: npt.NDArray[np.uint8], rules: ScoringRules) -> FitResult:
    """Points from `results` of `when_select`: shape (profiles, identity rules), 1 where a rule holds."""
    amounts = np.array([rule.points for rule in rules.identity], np.int64)
    given = (results != 0) * amounts
    total = given.sum(axis=1)
    score = rules.identity_bounds.clamp(total)
    bound = (score - total)[:, None]
    lines = np.hstack([given, np.maximum(bound, 0), np.minimum(bound, 0)])
    names = [*(rule.name for rule in rules.identity), FLOOR, CEILING]
    by_name = np.argsort(np.array(names))
    lines = lines[:, by_name]
    place = np.nonzero(lines)
    of_line = pa.array(names, pa.utf8()).take(pa.array(by_name[place[1]]))
    offsets = np.zeros(len(lines) + 1, np.int32)
    np.cumsum(np.count_nonzero(lines, axis=1), out=offsets[1:])
    maps = pa.MapArray.from_arrays(pa.array(offsets), of_line, pa.array(lines[place]))
    maps = maps.cast(PROFILE_ROWS.field("identity_points").type)
    return FitResult(maps, score, grades_of(score, rules.grades))
