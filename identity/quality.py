"""How good a clustering is against the truth: pairwise and B-cubed agreement, worst errors, their causes.

An *assignment* maps items (identifiers, messages) to clusters, a *truth* maps items to people. Invariant:
exactly the items whose person is known (not None) are judged; one that the assignment lacks is its own
cluster. All figures come from the counts of the *cells* (items of one person in one cluster), so they are
linear in the items; no pair of items is ever listed.

References: Bagga and Baldwin, Algorithms for scoring coreference chains, 1998 (B-cubed); Amigó, Gonzalo,
Artiles and Verdejo, A comparison of extrinsic clustering evaluation metrics, 2009.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
Label = Hashable
"""Name of a cluster or of a person."""
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision and recall, each 0 to 1; 1 where nothing was there to be right or wrong about."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one assignment over the judged items."""

    items: int
    clusters: int
    people: int
    pairwise: Agreement
    b_cubed: Agreement
    false_pairs: int
    """Pairs of items of different people in one cluster."""
    missed_pairs: int
    """Pairs of items of one person in different clusters."""


@dataclass(frozen=True, slots=True)
class Error:
    """A cluster that holds several people, or a person spread over several clusters."""

    where: Label
    """The cluster of a false merge, the person of a split."""
    parts: dict[Label, int]
    """Items by person (false merge) or by cluster (split), largest first."""
    pairs: int
    """Pairs of items that are wrong here."""


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Wrong pairs that one cause, or several together, explain."""

    cause: str
    false_pairs: int
    missed_pairs: int


class _Alone:
    """Cluster of one item that the assignment lacks."""


def _cells(
    assignment: Mapping[Item, Label], truth: Mapping[Item, Label | None]
) -> Iterable[tuple[Item, Label, Label]]:
    """(item, cluster, person) of every judged item."""
    for item, person in truth.items():
        if person is not None:
            yield item, assignment[item] if item in assignment else _Alone(), person


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def quality(assignment: Mapping[Item, Label], truth: Mapping[Item, Label | None]) -> Quality:
    """Pairwise and B-cubed agreement. O(items) time and memory.

    >>> found = quality({"a": 1, "b": 1, "c": 1}, {"a": "x", "b": "x", "c": "y", "d": "y"})
    >>> found.pairwise.precision, found.pairwise.recall, found.b_cubed.recall
    (0.3333333333333333, 0.5, 0.75)
    """
    cells = Counter((cluster, person) for _, cluster, person in _cells(assignment, truth))
    clusters: Counter[Label] = Counter()
    people: Counter[Label] = Counter()
    for (cluster, person), count in cells.items():
        clusters[cluster] += count
        people[person] += count
    right = sum(map(_pairs, cells.values()))
    joined = sum(map(_pairs, clusters.values()))
    wanted = sum(map(_pairs, people.values()))
    items = sum(people.values())
    precision = sum(n * n / clusters[cluster] for (cluster, _), n in cells.items())
    recall = sum(n * n / people[person] for (_, person), n in cells.items())
    return Quality(
        items=items,
        clusters=len(clusters),
        people=len(people),
        pairwise=Agreement(right / joined if joined else 1.0, right / wanted if wanted else 1.0),
        b_cubed=Agreement(precision / items if items else 1.0, recall / items if items else 1.0),
        false_pairs=joined - right,
        missed_pairs=wanted - right,
    )


def cluster_sizes(assignment: Mapping[Item, Label]) -> dict[int, int]:
    """How many clusters have how many items, by size ascending.

    >>> cluster_sizes({"a": 1, "b": 1, "c": 2})
    {1: 1, 2: 1}
    """
    return dict(sorted(Counter(Counter(assignment.values()).values()).items()))


def worst_merges(
    assignment: Mapping[Item, Label], truth: Mapping[Item, Label | None], limit: int = 10
) -> list[Error]:
    """Clusters with the most pairs of items of different people, worst first; `parts` are items by person.

    >>> worst_merges({"a": 1, "b": 1, "c": 1}, {"a": "x", "b": "x", "c": "y"})
    [Error(where=1, parts={'x': 2, 'y': 1}, pairs=2)]
    """
    return _worst(((cluster, person) for _, cluster, person in _cells(assignment, truth)), limit)


def worst_splits(
    assignment: Mapping[Item, Label], truth: Mapping[Item, Label | None], limit: int = 10
) -> list[Error]:
    """People with the most pairs of items in different clusters; `parts` are items by cluster."""
    return _worst(((person, cluster) for _, cluster, person in _cells(assignment, truth)), limit)


def _worst(places: Iterable[tuple[Label, Label]], limit: int) -> list[Error]:
    parts: dict[Label, Counter[Label]] = {}
    for whole, part in places:
        parts.setdefault(whole, Counter())[part] += 1
    errors = [
        Error(whole, dict(counts.most_common()), _pairs(counts.total()) - sum(map(_pairs, counts.values())))
        for whole, counts in parts.items()
        if len(counts) > 1
    ]
    return sorted(errors, key=lambda error: -error.pairs)[:limit]


def errors_by_cause(
    assignment: Mapping[Item, Label], truth: Mapping[Item, Label | None], causes: Mapping[Item, str]
) -> list[CauseCount]:
    """Every wrong pair with its cause, most wrong pairs first; sums equal those of `quality`.

    A wrong pair lies between two cells. Its causes are those of the items of both cells; if they have none,
    those of all items of the cluster (false pair: items that are nobody's count too) or of the person (missed
    pair); else it is `unexplained`. Several causes are joined by " + ".
    O(items + cells x distinct sets of causes).

    >>> errors_by_cause({"a": 1, "b": 1}, {"a": "x", "b": "y"}, {"b": "shop phone"})
    [CauseCount(cause='shop phone', false_pairs=1, missed_pairs=0)]
    """
    cells: Counter[tuple[Label, Label]] = Counter()
    cell_causes: dict[tuple[Label, Label], set[str]] = {}
    whole_causes: dict[tuple[bool, Label], set[str]] = {}
    for item, cluster, person in _cells(assignment, truth):
        cells[cluster, person] += 1
        if item in causes:
            cell_causes.setdefault((cluster, person), set()).add(causes[item])
            whole_causes.setdefault((False, person), set()).add(causes[item])
    for item, cause in causes.items():
        if item in assignment:
            whole_causes.setdefault((True, assignment[item]), set()).add(cause)
    wrong: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for index, is_merge in enumerate((True, False)):
        wholes: dict[Label, dict[frozenset[str], list[int]]] = {}
        for cell, count in cells.items():
            whole = cell[0] if is_merge else cell[1]
            why = frozenset(cell_causes.get(cell, ()))
            wholes.setdefault(whole, {}).setdefault(why, []).append(count)
        for whole, groups in wholes.items():
            fallback = frozenset(whole_causes.get((is_merge, whole), ())) or frozenset({UNEXPLAINED})
            for why, pairs in _pairs_between(groups):
                wrong[index][" + ".join(sorted(why or fallback))] += pairs
    rows = [CauseCount(cause, wrong[0][cause], wrong[1][cause]) for cause in sorted({*wrong[0], *wrong[1]})]
    return sorted(rows, key=lambda row: -(row.false_pairs + row.missed_pairs))


def _pairs_between(groups: dict[frozenset[str], list[int]]) -> Iterable[tuple[frozenset[str], int]]:
    """Pairs of items of different cells by both cells' causes; `groups`: sizes of cells by their causes."""
    totals = [(why, sum(counts), counts) for why, counts in groups.items()]
    for i, (why, total, counts) in enumerate(totals):
        if len(counts) > 1:
            yield why, _pairs(total) - sum(map(_pairs, counts))
        for other, other_total, _ in totals[:i]:
            yield why | other, total * other_total
