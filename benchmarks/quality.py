"""Figures of identity resolution against the truth, written into docs/quality.md.

Usage: python -m benchmarks.quality [--commits FILE] [--events 100000] [--check]

What stands between `<!-- NAME -->` and `<!-- end -->` there is replaced, the rest is left alone. `--commits` judges
another project's file with the same columns. `--check` writes nothing and fails where the page says something else.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

from benchmarks import commits
from identity.clusters import clusters
from identity.evidence import Link, Sighting
from identity.quality import (
    CauseCount,
    Quality,
    cluster_sizes,
    errors_by_cause,
    quality,
    worst_merges,
    worst_splits,
)
from identity.rules import parse_rules
from kintsugi.demo_data import journeys
from kintsugi.demo_data.truth import Truth
from kintsugi.demo_figures import known
from pipelines.normalize import Normalizer, empty
from schemas.admission import admit
from schemas.log_record import Events
from schemas.workspace import parse_workspace
from store.keyring import KeyGeneration

PAGE = commits.ROOT / "docs" / "quality.md"
DEMO = commits.ROOT / "workspaces" / "demo"
_PLAIN = "namespaces: []\nblocked: {patterns: []}"
_EMAIL, _HANDLE = (
    "namespaces: [{{name: email, {}}}, {{name: handle}}]",
    "namespaces: [{{name: email}}, {{name: handle, {}}}]",
)
_VARIANTS = {
    "plain union-find": _PLAIN,
    "both `shared_above`": "namespaces: [{name: email, shared_above: {handle: 5}},"
    " {name: handle, shared_above: {email: 10}}]",
    **{
        f"handle: `max_per_profile: {most}, keep: {keep}`": _HANDLE.format(f"max_per_profile: {most}, keep: {keep}")
        for most in (1, 2, 3, 4)
        for keep in ("first", "latest")
    },
    **{f"email: `max_per_profile: {most}`": _EMAIL.format(f"max_per_profile: {most}") for most in (3, 5, 10)},
    **{f"handle: `shared_above: email: {n}`": _HANDLE.format(f"shared_above: {{email: {n}}}") for n in (3, 5, 10)},
    **{f"email: `shared_above: handle: {n}`": _EMAIL.format(f"shared_above: {{handle: {n}}}") for n in (2, 3, 5)},
}  # fmt: skip
"""Each rule alone, and its neighbours."""


_YEARS = [(2005, 2008), (2008, 2011), (2011, 2014), (2014, 2017), (2017, 2020), (2020, 2023), (2023, 2027)]
_YEARS += [(2005, 2012), (2012, 2019), (2019, 2027)]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figures(rows: Iterable[tuple[str, Quality]]) -> str:
    """Precision, recall and F1 of several assignments of the same items."""
    head = ("rules", "precision", "recall", "F1", "B-cubed P", "R", "F1", "false pairs", "missed", "clusters")
    return table(
        head,
        (
            (
                name,
                *(f"{x:.4f}" for x in (q.pairwise.precision, q.pairwise.recall, q.pairwise.f1)),
                *(f"{x:.4f}" for x in (q.b_cubed.precision, q.b_cubed.recall, q.b_cubed.f1)),
                q.false_pairs,
                q.missed_pairs,
                q.clusters,
            )
            for name, q in rows
        ),
    )


def by_cause(rows: Iterable[CauseCount]) -> str:
    """Wrong pairs by cause."""
    return table(
        ("cause", "false merges", "missed"), ((r.cause, r.false_pairs, r.missed_pairs) for r in rows)
    )


def commits_figures(path: Path) -> str:
    """The committed rules beside plain union-find, causes, sizes, the worst errors."""
    found = commits.read(path)
    wanted = {
        "plain union-find": _PLAIN,
        "workspaces/commits/identity.yaml": commits.RULES.read_text("utf-8"),
    }
    assigned = {name: commits.assign(found, commits.rules(text))[1] for name, text in wanted.items()}
    ours = assigned["workspaces/commits/identity.yaml"]
    merges = [(" + ".join(map(str, e.parts.values())), e.pairs) for e in worst_merges(ours, found.people, 5)]
    splits = [(" + ".join(map(str, e.parts.values())), e.pairs) for e in worst_splits(ours, found.people, 5)]
    sizes = cluster_sizes(ours)
    people = len(set(found.people.values()))
    return "\n\n".join(
        [
            f"{len(found.days):,} distinct pairs of {people:,} people.",
            figures((name, quality(pairs, found.people)) for name, pairs in assigned.items()),
            "Wrong pairs that remain under the committed rules:",
            by_cause(commits.causes(found, ours)),
            "The worst false merges (pairs by person) and splits (pairs by profile):",
            table(("merged people", "wrong pairs"), merges),
            table(("split person", "wrong pairs"), splits),
            "Profiles by number of pairs: " + ", ".join(f"{size}: {n:,}" for size, n in sizes.items()) + ".",
        ]
    )


def variants_figures(path: Path) -> str:
    """What each rule alone does, and its neighbours."""
    found = commits.read(path)
    return figures(
        (name, quality(commits.assign(found, commits.rules(text))[1], found.people))
        for name, text in _VARIANTS.items()
    )


def years_figures(path: Path) -> str:
    """Parts of the history as projects of their own: union-find and the committed rules."""
    rows = []
    for first, end in _YEARS:
        found = commits.read(path, range(first, end))
        by_rules = [
            quality(commits.assign(found, commits.rules(text))[1], found.people)
            for text in (_PLAIN, commits.RULES.read_text("utf-8"))
        ]
        told = [x for q in by_rules for x in (f"{q.pairwise.f1:.4f}", q.false_pairs, q.missed_pairs)]
        rows.append((f"{first} to {end - 1}", len(found.days), *told))
    return table(("years", "pairs", "union-find F1", "false", "missed", "rules F1", "false", "missed"), rows)


def demo_figures(count: int) -> str:
    """The generator's events under the demo's rules; items are the identifiers of people."""
    definition = parse_workspace("demo", (DEMO / "workspace.yaml").read_text("utf-8"))
    truth, rows = Truth(), empty()
    # rivals of equal rank are decided by id: secrets of every run's own would move some figures
    keys = KeyGeneration(1, bytes(32), bytes(32), definition.to_json())
    normalizer = Normalizer(definition, keys)
    received_at = (date(2026, 11, 21).toordinal() - date(1970, 1, 1).toordinal()) * 86_400_000_000
    for batch in journeys(7, count, date(2026, 8, 1), 90):
        truth.add(batch)
        items = [admit(event) for event in batch.events]
        normalizer.batch(
            Events(workspace="demo", source="", received_at=received_at, key_generation=0, batch=items), rows
        )
        del rows["events"][:], rows["traits"][:]
    facts = known(truth, definition, keys)
    links = [Link(a, b, day) for _, a, b, day, *_ in rows["links"]]
    sightings = [Sighting(i, kind, day) for _, i, kind, day, *_ in rows["sightings"]]
    last_day = max(sighting.day for sighting in sightings)
    listed: list[tuple[str, Quality]] = []
    for name, text in (("plain union-find", _PLAIN), ("workspaces/demo/identity.yaml", None)):
        wanted = parse_rules(text or (DEMO / "identity.yaml").read_text("utf-8"), lambda *key: "".join(key))
        assigned = clusters(links, sightings, [], wanted, last_day).profile_of
        listed.append((name, quality(assigned, facts.people)))
    return "\n\n".join(
        [
            f"{count:,} events, {listed[0][1].items:,} identifiers of {listed[0][1].people:,} people.",
            figures(listed),
            "Wrong pairs that remain, by what the generator planted:",
            by_cause(errors_by_cause(assigned, facts.people, facts.causes)),
        ]
    )


def with_figures(page: str, name: str, text: str) -> str:
    """The page with another text between the marks of this name."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert marked.search(page), f"{PAGE} has no mark <!-- {name} -->"
    return marked.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)


def main() -> int:
    """Measure and write; 1 when `--check` finds another text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commits", type=Path, default=commits.DATA)
    parser.add_argument("--events", type=int, default=100_000, help="events of the demo's generator")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if not given.commits.exists():
        print(
            f"{given.commits} is missing: the data is no part of the repository; name a file with --commits"
        )
        return 1
    if given.commits != commits.DATA:
        print(commits_figures(given.commits), variants_figures(given.commits), sep="\n\n")
        return 0
    page = before = PAGE.read_text("utf-8")
    parts: dict[str, Callable[[], str]] = {
        "commits": lambda: commits_figures(given.commits),
        "variants": lambda: variants_figures(given.commits),
        "years": lambda: years_figures(given.commits),
        "demo": lambda: demo_figures(given.events),
    }
    for name, measure in parts.items():
        page = with_figures(page, name, measure())
    if not given.check:
        PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE.name}: {'as it was' if page == before else 'differs' if given.check else 'written'}")
    return int(given.check and page != before)


if __name__ == "__main__":
    sys.exit(main())
