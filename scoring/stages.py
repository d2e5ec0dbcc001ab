"""The stage of profiles: a fold over all calendar days, computed from those on which something can change.

Invariant: a pure function of moments, statuses, the days first seen and the rules. On each day the conditions
come first: of the stages whose condition turns true, the one farthest on is entered if it stands later in the order
than where the profile is. Then what people said that day holds, in the order (at, id), whatever stood before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoring.profile_rules import Stages

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class Status:
    """A word of people on where a profile (an index) stands; one that names no stage changes nothing."""

    profile: int
    day: int
    at: int
    id: str
    stage: str
    cause: str = "status"
    """What was said: `status`, or the `outcome` that stands for one."""


@dataclass(frozen=True, slots=True)
class StageChange:
    """A stage entered on a day: by its `condition`, by a `status` or `outcome`, or as the `first`."""

    day: int
    stage: str
    cause: str


def stage_histories(
    stages: Stages,
    first_day: Int64s,
    profile: Int64s,
    day: Int64s,
    holds: npt.NDArray[np.uint8],
    statuses: Iterable[Status],
) -> list[list[StageChange]]:
    """Changes of stage of each profile, by day; the last one says where it stands. What was said before the first
    event holds from it on.

    `first_day`: of its first event, one per profile. `profile`, `day`: moments, sorted, each profile's first day among
    them; between two moments nothing changes that a condition names. `holds`: shape (moments, rules of
    `stages`), 1 where a condition holds. O(moments * rules + changes log changes).
    """
    histories = [[StageChange(int(first), stages.order[0], "first")] for first in first_day]
    steps: list[tuple[int, int, int, int, str, str, str]] = [
        (s.profile, s.day, 1, s.at, s.id, s.stage, s.cause) for s in statuses if s.stage in stages.rank
    ]
    for moment, rule in zip(*_entered(stages, first_day, profile, day, holds), strict=True):
        steps.append((int(profile[moment]), int(day[moment]), 0, 0, "", stages.rules[rule].name, "condition"))
    for who, on, is_status, _, _, name, cause in sorted(steps):
        history = histories[who]
        now = history[-1].stage
        if name != now if is_status else stages.rank[name] > stages.rank[now]:
            history.append(StageChange(max(on, history[0].day), name, cause))
    return histories


def _entered(
    stages: Stages, first_day: Int64s, profile: Int64s, day: Int64s, holds: npt.NDArray[np.uint8]
) -> tuple[Sequence[int], Sequence[int]]:
    """Moments and the last of the rules (they stand in order) that turn true there."""
    turned = holds != 0
    before = np.zeros_like(turned)
    before[1:] = turned[:-1]
    before[1:][profile[1:] != profile[:-1]] = False
    turned &= ~before
    for index, rule in enumerate(stages.rules):
        if rule.first_seen_from is not None:
            turned[:, index] &= first_day[profile] >= rule.first_seen_from
    moments = np.flatnonzero(turned.any(axis=1))
    farthest = turned.shape[1] - 1 - np.argmax(turned[moments][:, ::-1], axis=1) if len(moments) else moments
    return moments.tolist(), farthest.tolist()
