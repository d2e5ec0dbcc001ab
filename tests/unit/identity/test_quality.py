"""Figures of a clustering against the truth equal those of counting every pair."""

import doctest
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import quality as module
from identity.quality import UNEXPLAINED, cluster_sizes, errors_by_cause, quality, worst_merges, worst_splits

ITEMS = st.integers(0, 11)
ASSIGNMENTS = st.dictionaries(ITEMS, st.integers(0, 4))
TRUTHS = st.dictionaries(ITEMS, st.none() | st.sampled_from("ABCD"))
CAUSES = st.dictionaries(ITEMS, st.sampled_from(["phone", "tablet", "shop"]))

Assignment = dict[int, int]
Owners = dict[int, str | None]


def judged(assignment: Assignment, truth: Owners) -> list[tuple[int, int, str]]:
    """(item, cluster, person); an item without cluster gets one of its own."""
    return [(i, assignment.get(i, -1 - i), p) for i, p in truth.items() if p is not None]


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@given(ASSIGNMENTS, TRUTHS)
def test_pairwise_figures_are_those_of_all_pairs(assignment: Assignment, truth: Owners) -> None:
    pairs = list(combinations(judged(assignment, truth), 2))
    joined = sum(x[1] == y[1] for x, y in pairs)
    wanted = sum(x[2] == y[2] for x, y in pairs)
    right = sum(x[1:] == y[1:] for x, y in pairs)
    found = quality(assignment, truth)
    assert found.pairwise.precision == pytest.approx(ratio(right, joined))
    assert found.pairwise.recall == pytest.approx(ratio(right, wanted))
    assert (found.false_pairs, found.missed_pairs) == (joined - right, wanted - right)


@given(ASSIGNMENTS, TRUTHS)
def test_b_cubed_figures_are_the_means_over_items(assignment: Assignment, truth: Owners) -> None:
    items = judged(assignment, truth)
    precisions, recalls = [], []
    for _, cluster, person in items:
        together = [p for _, c, p in items if c == cluster]
        own = [c for _, c, p in items if p == person]
        precisions.append(together.count(person) / len(together))
        recalls.append(own.count(cluster) / len(own))
    found = quality(assignment, truth)
    assert found.items == len(items)
    assert found.b_cubed.precision == pytest.approx(sum(precisions) / len(items) if items else 1)
    assert found.b_cubed.recall == pytest.approx(sum(recalls) / len(items) if items else 1)


def cause_of(
    x: tuple[int, int, str],
    y: tuple[int, int, str],
    assignment: Assignment,
    truth: Owners,
    causes: dict[int, str],
) -> str:
    """The rule of attribution, spelled out for one wrong pair."""
    items = judged(assignment, truth)
    near = {causes[i] for i, c, p in items if i in causes and (c, p) in (x[1:], y[1:])}
    if x[1] == y[1]:
        whole = {cause for i, cause in causes.items() if assignment.get(i, -1 - i) == x[1]}
    else:
        whole = {causes[i] for i, _, p in items if i in causes and p == x[2]}
    return " + ".join(sorted(near or whole or {UNEXPLAINED}))


@given(ASSIGNMENTS, TRUTHS, CAUSES)
def test_each_wrong_pair_is_counted_once_under_its_cause(
    assignment: Assignment, truth: Owners, causes: dict[int, str]
) -> None:
    expected: dict[str, list[int]] = {}
    for x, y in combinations(judged(assignment, truth), 2):
        if (x[1] == y[1]) != (x[2] == y[2]):
            row = expected.setdefault(cause_of(x, y, assignment, truth, causes), [0, 0])
            row[x[1] != y[1]] += 1
    found = errors_by_cause(assignment, truth, causes)
    assert {row.cause: [row.false_pairs, row.missed_pairs] for row in found} == expected


@given(ASSIGNMENTS, TRUTHS)
def test_worst_errors_add_up_to_all_wrong_pairs(assignment: Assignment, truth: Owners) -> None:
    total = quality(assignment, truth)
    for errors, pairs in (
        (worst_merges(assignment, truth, 99), total.false_pairs),
        (worst_splits(assignment, truth, 99), total.missed_pairs),
    ):
        counts = [error.pairs for error in errors]
        assert sum(counts) == pairs
        assert counts == sorted(counts, reverse=True)


def test_a_perfect_assignment_has_no_errors() -> None:
    truth: Owners = {1: "A", 2: "A", 3: "B", 4: None}
    found = quality({1: 7, 2: 7, 3: 8, 4: 7}, truth)
    assert (found.pairwise.f1, found.b_cubed.f1, found.items) == (1, 1, 3)
    assert errors_by_cause({1: 7, 2: 7, 3: 8, 4: 7}, truth, {4: "shop"}) == []


def test_an_item_that_is_nobodys_still_explains_the_merge_it_caused() -> None:
    counted = errors_by_cause({1: 7, 2: 7, 3: 7}, {1: "A", 2: "B", 3: None}, {3: "shop"})
    assert [(row.cause, row.false_pairs) for row in counted] == [("shop", 1)]


def test_many_people_in_one_cluster_are_counted_without_listing_pairs() -> None:
    many = 200_000
    found = quality(dict.fromkeys(range(many), 0), {i: str(i) for i in range(many)})
    assert found.false_pairs == many * (many - 1) // 2
    (row,) = errors_by_cause(dict.fromkeys(range(many), 0), {i: str(i) for i in range(many)}, {0: "tablet"})
    assert (row.cause, row.false_pairs) == ("tablet", found.false_pairs)


def test_cluster_sizes_count_clusters() -> None:
    assert cluster_sizes({1: "x", 2: "x", 3: "y", 4: "z"}) == {1: 2, 2: 1}


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(module).failed == 0
