"""What the age of a day does to its points: integer weights of scale 2^30, the same on every machine.

Invariant: points of a half-life rule on a date are `sum(amount * weight(age))` divided by 2^30 towards
zero; numpy, Python and ClickHouse give the same integer. Ages are days; day and date included, age 0 weighs
all.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.ruleset import Decay, ScoringRules

Int64s = npt.NDArray[np.int64]

SCALE_BITS = 30
SCALE = 1 << SCALE_BITS
_LOW_BITS = 15
"""Weights are multiplied in two halves of 15 bits, so sums of up to 2^47 thousandths fit 64 bits."""


@lru_cache(maxsize=256)
def half_life_weights(days: int) -> tuple[int, ...]:
    """`round(2^30 * 2^(-age / days))` by age from 0, until it reaches 0 (after 31 half-lives).

    >>> half_life_weights(1)[:3]
    (1073741824, 536870912, 268435456)
    """
    with localcontext() as context:
        context.prec = 60
        fractions = [Decimal(2) ** (Decimal(-r) / Decimal(days)) for r in range(days)]
        return tuple(
            int((fraction * SCALE / (1 << halvings)).to_integral_value(ROUND_HALF_EVEN))
            for halvings in range(SCALE_BITS + 1)
            for fraction in fractions
        )


@lru_cache(maxsize=256)
def linear_weights(days: int) -> tuple[int, ...]:
    """Weights that fall by the same amount every day, from all at age 0 to nothing at `days`.

    >>> [weight / SCALE for weight in linear_weights(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    return tuple((2 * SCALE * (days - age) + days) // (2 * days) for age in range(days))


def table_of(decay: Decay) -> tuple[int, ...]:
    """Weights by age of points that fade; empty for those that stay or go all at once."""
    if decay.kind == "half_life":
        return half_life_weights(decay.days)
    return linear_weights(decay.days) if decay.kind == "linear" else ()


def weights(rules: ScoringRules) -> dict[str, tuple[int, ...]]:
    """Weights by age for each rule whose points fade: column `weights` of `generations`."""
    return {r.name: table for r in rules.behaviour if (table := table_of(r.decay))}


@lru_cache(maxsize=256)
def _by_age(table: tuple[int, ...]) -> Int64s:
    """The weights, and 0 for all that is older."""
    return np.array([*table, 0], np.int64)


def is_narrow(amounts: Int64s, starts: npt.NDArray[Any]) -> bool:
    """Whether weighted sums of any groups of such parts fit 64 bits, where the longest group is one of these."""
    if not len(starts):
        return True
    longest = int(np.max(np.diff(starts, append=len(amounts))))
    return longest * int(np.max(np.abs(amounts), initial=0)) < 1 << (62 - SCALE_BITS)


def decayed(
    amounts: Int64s,
    ages: Int64s,
    table: tuple[int, ...],
    starts: npt.NDArray[Any],
    narrow: bool | None = None,
) -> Int64s:
    """Points of groups of parts under one table of weights.

    `amounts`, `ages`: one per part, parts of a group side by side, nothing from below age 0; `starts`: index of each
    group's first part, ascending; `narrow`: what `is_narrow` says, where it is known already. Returns one value per
    group, in the unit of the amounts.
    """
    if not len(starts):
        return np.zeros(0, np.int64)
    place = np.minimum(ages.view(np.uint64), np.uint64(len(table))).view(
        np.int64
    )  # below 0 is beyond the table
    weight = _by_age(table)[place]
    if is_narrow(amounts, starts) if narrow is None else narrow:
        total = np.add.reduceat(amounts * weight, starts)
        return np.asarray(np.where(total < 0, -(-total >> SCALE_BITS), total >> SCALE_BITS), np.int64)
    mask = (1 << _LOW_BITS) - 1
    high = np.add.reduceat(amounts * (weight >> _LOW_BITS), starts)
    low = np.add.reduceat(amounts * (weight & mask), starts)
    high += low >> _LOW_BITS
    low &= mask
    quotient = high >> (SCALE_BITS - _LOW_BITS)
    has_rest = ((high & mask) | low) != 0
    return np.asarray(quotient + ((quotient < 0) & has_rest), np.int64)


def decayed_total(parts: Sequence[tuple[int, int]], table: Sequence[int]) -> int:
    """Points of (amount, age) parts, for one group in plain integers."""
    total = sum(amount * table[age] for amount, age in parts if age < len(table))
    return -(-total >> SCALE_BITS) if total < 0 else total >> SCALE_BITS
