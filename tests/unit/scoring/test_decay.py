"""Weights by age, and the one formula in numpy and Python; the contract of the views holds the store to it."""

from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.decay import SCALE, decayed, decayed_total, half_life_weights, weights
from scoring.ruleset import parse_scoring


@pytest.mark.parametrize("days", [1, 2, 7, 14, 30, 365, 730])
def test_a_table_halves_every_half_life_and_ends_at_zero(days: int) -> None:
    table = half_life_weights(days)
    assert table[::days] == tuple(SCALE >> n for n in range(31))
    assert all(one >= other for one, other in pairwise(table))
    assert table[0] == SCALE
    assert len(table) == 31 * days


def test_weights_are_rounded_from_the_true_value() -> None:
    with localcontext(prec=40):
        for age in (1, 5, 13, 100, 300):
            true = SCALE * Decimal(2) ** (Decimal(-age) / 14)
            assert abs(half_life_weights(14)[age] - true) <= Decimal("0.5")


def test_weights_of_half_life_rules_only() -> None:
    rule = "{{name: {0}, event: E, points: 1, decay: {1}}}"
    kinds = [rule.format("a", "none"), rule.format("b", "{half_life: 2d}"), rule.format("c", "{window: 2d}")]
    assert set(weights(parse_scoring(f"behaviour: {{rules: [{', '.join(kinds)}]}}"))) == {"b"}


PARTS = st.lists(
    st.tuples(st.integers(-(10**11), 10**11), st.integers(0, 40) | st.integers(0, 500)),
    min_size=1,
    max_size=8,
)


@given(st.lists(PARTS, min_size=1, max_size=5), st.sampled_from([1, 3, 14]))
def test_numpy_and_integers_agree(groups: list[list[tuple[int, int]]], half_life: int) -> None:
    table = half_life_weights(half_life)
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    flat = [part for group in groups for part in group]
    amounts, ages = (np.array(column, np.int64) for column in zip(*flat, strict=True))
    expected = [decayed_total(group, table) for group in groups]
    assert decayed(amounts, ages, table, starts).tolist() == expected


def test_no_groups_give_nothing() -> None:
    none = np.zeros(0, np.int64)
    assert decayed(none, none, half_life_weights(1), none).tolist() == []
