"""How well the profiles agree with a truth that somebody holds: a file of identifiers and whose they are.

Invariant: judged is what readers see now; values of the file leave it only as ids. An identifier that the truth gives
to two people is judged as one item of each, since no profile can be right about both.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from identity.quality import Error, Quality, cluster_sizes, quality, worst_merges, worst_splits
from kintsugi import lookup
from kintsugi.settings import Settings
from schemas.errors import Problem
from store.client import Store

Item = tuple[str, str]
"""identifier_id and person."""
WORST = 10


@dataclass(frozen=True)
class Evaluation:
    """Agreement of profiles with the truth."""

    quality: Quality
    sizes: dict[int, int]
    """Number of profiles by number of judged identifiers."""
    merges: list[Error]
    """Profiles that hold several people, worst first; `parts` by person."""
    splits: list[Error]
    """People in several profiles; `parts` by profile."""
    unknown: int
    """Rows of the file whose identifier was never seen, or is none; they are not judged."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        told = asdict(self)
        for name in ("pairwise", "b_cubed"):
            told["quality"][name]["f1"] = getattr(self.quality, name).f1
        return told


def evaluate(settings: Settings, store: Store, workspace: str, truth: Path) -> Evaluation:
    """Judge the profiles by a CSV or Parquet file with the columns namespace, scope (may be absent), value, person.

    A row without a person is not judged. Problem for a file that lacks a column, or of which nothing is known.
    """
    table = lookup.read(truth, {"namespace", "value", "person"})
    ids = lookup.ids_of(settings, workspace, table)
    profiles = lookup.profiles_of(store, workspace, ids)
    people: dict[Item, str] = {}
    assigned: dict[Item, str] = {}
    unknown = 0
    for identifier, profile, person in zip(ids, profiles, table["person"].to_pylist(), strict=True):
        if person is None or person == "":
            continue
        if not profile:
            unknown += 1
            continue
        item = (identifier, str(person))
        people[item], assigned[item] = str(person), profile
    if not people:
        raise Problem("bad_request", f"None of the identifiers of {truth} was ever seen in {workspace}.")
    return Evaluation(
        quality(assigned, people),
        cluster_sizes(assigned),
        worst_merges(assigned, people, WORST),
        worst_splits(assigned, people, WORST),
        unknown,
    )


def text(found: Evaluation) -> str:
    """The evaluation as lines."""
    q = found.quality
    lines = [
        f"{q.items:,} identifiers of {q.people:,} people in {q.clusters:,} profiles; {found.unknown:,} rows never seen",
        "",
        f"{'':<12}{'precision':>10}{'recall':>10}{'F1':>10}",
    ]
    for name, agreement in (("pairwise", q.pairwise), ("B-cubed", q.b_cubed)):
        figures = (agreement.precision, agreement.recall, agreement.f1)
        lines.append(f"{name:<12}" + "".join(f"{figure:>10.4f}" for figure in figures))
    lines += ["", f"{q.false_pairs:,} false pairs, {q.missed_pairs:,} missed"]
    lines.append(
        "profiles by size: " + ", ".join(f"{size}: {count:,}" for size, count in _bands(found.sizes))
    )
    for what, errors in (
        ("profiles that hold several people", found.merges),
        ("people in several profiles", found.splits),
    ):
        if errors:
            lines += ["", f"worst {what}"]
            for error in errors:
                parts = sorted(error.parts.values(), reverse=True)
                sizes = " + ".join(map(str, parts[:8])) + (
                    f" and {len(parts) - 8} more" if len(parts) > 8 else ""
                )
                lines.append(f"  {str(error.where)[:32]:<34}{sizes}  ({error.pairs:,} wrong pairs)")
    return "\n".join(lines)


def _bands(sizes: dict[int, int]) -> list[tuple[str, int]]:
    """Sizes 1 to 9 each, then by powers of ten."""
    banded: Counter[str] = Counter()
    for size, count in sorted(sizes.items()):
        low = 10 ** (len(str(size)) - 1)
        banded[str(size) if size < 10 else f"{low}-{low * 10 - 1}"] += count
    return list(banded.items())
