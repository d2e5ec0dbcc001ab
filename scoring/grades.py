"""Grades: letters for the identity score, each from its least score upwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoring.bounds import MAX_SCORE
from scoring.rules_file import Place

MAX_GRADES = 26


@dataclass(frozen=True, slots=True)
class Grade:
    """A letter and the least score, in thousandths, that earns it."""

    name: str
    least: int


def grades_of(score: npt.NDArray[np.int64], grades: Sequence[Grade]) -> pa.StringArray:
    """The grade of each score, grades from the best down; empty below the last.

    >>> grades_of(np.array([80_000, 79_999, -1]), [Grade("A", 80_000), Grade("B", 0)]).to_pylist()
    ['A', 'B', '']
    """
    upwards = np.array([grade.least for grade in reversed(grades)], np.int64)
    names = pa.array(["", *(grade.name for grade in reversed(grades))], pa.utf8())
    return names.take(pa.array(np.searchsorted(upwards, score, "right")))


def parse_grades(place: Place) -> tuple[Grade, ...]:
    """`grades`: a mapping of letter to least score, from the best down."""
    grades: list[Grade] = []
    for name, least_place in place.entries().items():
        least = least_place.thousandths(MAX_SCORE)
        if not name.isascii() or not name.strip("+-").isalnum() or len(name) > 8:
            least_place.refuse(f"{name} is not a grade: letters and digits, then + or -, at most 8")
        if grades and least >= grades[-1].least:
            least_place.refuse(f"grades stand from the best down: {name} is below {grades[-1].name}")
        grades.append(Grade(name, least))
    if not 0 < len(grades) <= MAX_GRADES:
        place.refuse(f"grades are 1 to {MAX_GRADES}, as {{A: 80, B: 60, C: 0}}")
    return tuple(grades)
