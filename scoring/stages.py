"""The stage of profiles: a fold over all calendar days, computed from those on which something can change.

Invariant: a pure function of moments, statuses, the days first seen and the rules. On each day the conditions
come first: of the stages whose condition turns true, the one farthest on is entered if it stands later in the order
than where the profile is. Then what people said that day holds, in the order (at, id), whatever stood before.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoring.events import NEVER, Int64s
from scoring.profile_rules import Stages


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


CAUSES = ("first", "condition", "status", "outcome")
"""Why a stage is entered: it is the first, its condition turned true, or people said so."""


@dataclass(frozen=True, slots=True)
class StageChanges:
    """Stages entered, arrays of one length by (profile, order of time)."""

    profile: Int64s
    day: Int64s
    stage: Int64s
    """Place in `Stages.names`."""
    cause: Int64s
    """Place in CAUSES."""


def stage_histories(
    stages: Stages,
    first_day: Int64s,
    profile: Int64s,
    day: Int64s,
    holds: npt.NDArray[np.uint8],
    statuses: Iterable[Status],
) -> StageChanges:
    """Changes of stage; the last one of a profile says where it stands. What was said before the first event holds
    from it on.

    `first_day`: of its first event, one per profile; NEVER where there is none, which has no stage. `profile`, `day`:
    moments, sorted, each profile's first day among them; between two moments nothing changes that a condition names.
    `holds`: shape (moments, rules of `stages`), 1 where a condition holds. O(moments * rules + changes log changes).
    """
    said = [
        status for status in statuses if status.stage in stages.rank and first_day[status.profile] != NEVER
    ]
    is_said_of = np.zeros(len(first_day), np.bool_)
    is_said_of[[status.profile for status in said]] = True
    moment, rule = _entered(stages, first_day, profile, day, holds)
    place = {name: n for n, name in enumerate(stages.names)}
    entered = np.array([place[each.name] for each in stages.rules], np.int64)[
        rule
    ]  # the order's own come first
    own = is_said_of[profile[moment]]
    who, on = profile[moment], day[moment]
    highest = _is_highest(who[~own], entered[~own])
    folded = _folded(stages, first_day, said, who[own], on[own], entered[own])
    living = np.flatnonzero(first_day != NEVER)
    parts = [
        (living, first_day[living], np.zeros_like(living), np.zeros_like(living)),
        (who[~own][highest], on[~own][highest], entered[~own][highest], np.ones(highest.sum(), np.int64)),
        tuple(np.array(folded, np.int64).reshape(-1, 4).T),
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(
        columns[0], kind="stable"
    )  # parts are by time, and a profile is in the first and one other
    return StageChanges(*(column[order] for column in columns))


def _is_highest(profile: Int64s, stage: Int64s) -> npt.NDArray[np.bool_]:
    """Whether each stage of the order stands later than the first and all before it of its profile."""
    key = profile << 16 | stage
    before = np.full(len(key), -1, np.int64)
    before[1:] = np.maximum.accumulate(key)[:-1]
    return np.asarray(key > np.maximum(before, profile << 16))


def _folded(
    stages: Stages, first_day: Int64s, said: Iterable[Status], profile: Int64s, day: Int64s, entered: Int64s
) -> list[tuple[int, int, int, int]]:
    """Changes (profile, day, stage, cause) of profiles of which people said something, their first stage left out."""
    place = {name: n for n, name in enumerate(stages.names)}
    steps = [(s.profile, s.day, 1, s.at, s.id, place[s.stage], CAUSES.index(s.cause)) for s in said]
    steps += [
        (who, on, 0, 0, "", stage, CAUSES.index("condition"))
        for who, on, stage in zip(profile.tolist(), day.tolist(), entered.tolist(), strict=True)
    ]
    rank = [stages.rank[name] for name in stages.names]
    now: dict[int, int] = {}
    changes = []
    for who, on, is_status, _, _, stage, cause in sorted(steps):
        before = now.get(who, 0)
        if stage != before if is_status else rank[stage] > rank[before]:
            now[who] = stage
            changes.append((who, max(on, int(first_day[who])), stage, cause))
    return changes


def _entered(
    stages: Stages, first_day: Int64s, profile: Int64s, day: Int64s, holds: npt.NDArray[np.uint8]
) -> tuple[Int64s, Int64s]:
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
    return moments, farthest
