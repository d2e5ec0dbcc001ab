"""Limits on what one profile may hold, compiled for counting.

Invariant: limits are monotone. What a set of identifiers breaks, every larger set breaks; so a refused
union stays refused while clusters grow, and parts of an allowed cluster are allowed. The resolver's
exactness rests on this.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vector = tuple[int, ...]
"""Identifiers of a cluster per limited namespace, each clipped where more makes no difference."""


class Refusal(NamedTuple):
    """Why two clusters may not become one: `reason` (limit, with, never_link) and `blocker`, which one."""

    reason: str
    blocker: str


class Limits:
    """All limits of a ruleset.

    `most`: namespace → identifiers in one profile. `most_with`: (holder, namespace) → identifiers of the
    namespace in a profile that holds one of the holder's. Both in the order in which a broken limit is
    named.

    >>> limits = Limits({"user_id": 1}, {})
    >>> limits.broken(limits.joined(limits.unit("user_id"), limits.unit("user_id")))
    Refusal(reason='limit', blocker='user_id: 1')
    """

    def __init__(self, most: Mapping[str, int], most_with: Mapping[tuple[str, str], int]) -> None:
        enough = [(name, number + 1) for name, number in most.items()]
        for (holder, name), number in most_with.items():
            enough += [(holder, 1), (name, number + 1)]
        caps: dict[str, int] = {}
        for name, count in enough:
            caps[name] = max(count, caps.get(name, count))
        names = sorted(caps)
        at = {name: i for i, name in enumerate(names)}
        self.caps: Vector = tuple(caps[name] for name in names)
        """Where counts are clipped."""
        self._units = {name: tuple(int(i == at[name]) for i in range(len(names))) for name in names}
        self._tests: list[tuple[int | None, int, int, Refusal]] = [
            (None, at[name], number, Refusal("limit", f"{name}: {number}")) for name, number in most.items()
        ]
        self._tests += [
            (at[holder], at[name], number, Refusal("with", f"{holder} with {name}: {number}"))
            for (holder, name), number in most_with.items()
        ]
        self.zero: Vector = (0,) * len(names)

    def unit(self, namespace: str) -> Vector:
        """Counts of one identifier of `namespace`."""
        return self._units.get(namespace, self.zero)

    def joined(self, x: Vector, y: Vector) -> Vector:
        """Counts of two clusters together; the same object as `x` when `y` adds nothing."""
        if not any(y):
            return x
        if not any(x):
            return y
        return tuple([min(m + n, cap) for m, n, cap in zip(x, y, self.caps, strict=True)])

    def broken(self, counts: Vector) -> Refusal | None:
        """The first limit that a cluster with these counts breaks, if any."""
        for holder, target, number, refusal in self._tests:
            if counts[target] > number and (holder is None or counts[holder]):
                return refusal
        return None

    def breaks(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of many clusters break a limit: counts of shape (clusters, limited namespaces) → (clusters)."""
        found: npt.NDArray[Any] = np.zeros(len(counts), bool)
        for holder, target, number, _ in self._tests:
            found |= (counts[:, target] > number) & (holder is None or counts[:, holder] > 0)
        return found
