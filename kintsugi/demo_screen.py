"""The demo's screen: figures in, something that rich can print out; readable as plain text too.

Invariant: drawing is a pure function of the figures.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from identity.quality import UNEXPLAINED, CauseCount
from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_figures import Again, Figures, Fragment, Joint, Person

_UNREACHABLE = frozenset({words.UNLINKED_ACCOUNT, words.NEVER_IDENTIFIED_DEVICE})
MEANINGS = {
    words.UNLINKED_ACCOUNT: "no event ever shows the halves together",
    words.NEVER_IDENTIFIED_DEVICE: "a browser whose owner never said a name",
    words.HANDED_ON_PHONE: "a new owner who looks like the old one",
    words.SHARED_COMPUTER: "two colleagues at one browser",
    words.SECOND_ACCOUNT: "a second login; rules allow a person one",
    words.PLACEHOLDER: "13800138000, null, test@test.com",
    words.SHOP_PHONE: "staff enter the number of the shop",
    words.SHARED_TABLET: "a tablet at an exhibition",
    words.ROBOT: "a crawler",
    UNEXPLAINED: "a limit reached because of the others",
}
"""What each cause is, in a few words."""
_BOTH = " + "
_FRAGMENT_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("  first seen", "left"), ("identifier", "left"), ("masked", "left"), ("events", "right"), ("", "left"),
)  # fmt: skip
_LABEL = 12


def screen(figures: Figures) -> RenderableType:
    """Everything the demo has to show."""
    parts: list[RenderableType] = [Rule("Kintsugi: fragments become golden records", style="yellow")]
    parts += _flow(figures)
    parts += _truth(figures)
    parts += _person(figures.person)
    parts += [Rule(align="left", style="yellow"), _digest(figures)]
    return Group(*parts)


def _line(label: str, *rest: str | tuple[str, str]) -> Text:
    return Text.assemble(f"  {label:<{_LABEL}}", *rest)


def _flow(figures: Figures) -> list[RenderableType]:
    counts = figures.counts
    same = figures.sent - figures.distinct
    return [
        Text.assemble(
            "\n  ",
            (f"{counts.events:,} events", "bold"), "  →  ",
            (f"{counts.identifiers:,} identifiers", "bold"), "  →  ",
            (f"{counts.profiles:,} profiles", "bold yellow"), "\n",
        ),
        _line("sent", f"{figures.sent:,} over HTTP in {figures.send_seconds:.0f} s"
              f" ({_rate(figures.sent, figures.send_seconds)}); {same:,} copies fell together,"
              f" {figures.rejected:,} rejected"),
        _line("in profiles", f"after {figures.whole_seconds:.0f} s"
              f" ({_rate(figures.sent, figures.whole_seconds)}, the whole way);"
              f" the stack holds {figures.memory_mib:,} MiB of memory"),
        _line("not persons", f"{counts.excluded:,} identifiers are blocked or shared: they connect nobody"),
    ]  # fmt: skip


def _rate(count: int, seconds: float) -> str:
    return f"{count / max(seconds, 1e-9):,.0f} events/s"


def _truth(figures: Figures) -> list[RenderableType]:
    found = figures.quality
    table = _table("  ", "precision", "recall")
    for name, agreement in (("  pairwise", found.pairwise), ("  B-cubed", found.b_cubed)):
        table.add_row(name, f"{agreement.precision:.3f}", f"{agreement.recall:.3f}")
    return [
        Text.assemble("\n  ", (f"Against the truth: {found.people:,} people", "bold")),
        table,
        Text("\n  Every wrong pair of identifiers, by cause"),
        _causes(figures.errors),
        Text(f"  {_unreachable_share(figures.errors):.0%} of the missed pairs lie where no event connects the"
             " pieces: no rule could join them."),
    ]  # fmt: skip


def _causes(errors: list[CauseCount]) -> Table:
    """A row for each cause, and one for the pairs that several causes explain together."""
    table = _table("  ", "joined wrongly", "missed", "")
    mixed = [row for row in errors if _BOTH in row.cause]
    for row in (row for row in errors if _BOTH not in row.cause):
        meaning = Text(MEANINGS.get(row.cause, ""), style="dim")
        table.add_row(f"  {row.cause}", f"{row.false_pairs:,}", f"{row.missed_pairs:,}", meaning)
    if mixed:
        false, missed = sum(row.false_pairs for row in mixed), sum(row.missed_pairs for row in mixed)
        table.add_row("  several at once", f"{false:,}", f"{missed:,}")
    return table


def _table(first: str, *names: str) -> Table:
    """A table without lines; the columns with a name, but for the first, hold figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=bool(first))
    table.add_column(first)
    for name in names:
        table.add_column(name, justify="right" if name else "left")
    return table


def _unreachable_share(errors: Iterable[CauseCount]) -> float:
    """Share of the missed pairs whose only causes are pieces that no event connects."""
    missed = {row.cause: row.missed_pairs for row in errors}
    unreachable = sum(n for cause, n in missed.items() if set(cause.split(_BOTH)) <= _UNREACHABLE)
    return unreachable / max(sum(missed.values()), 1)


def _person(person: Person) -> list[RenderableType]:
    record = person.record
    return [
        Text.assemble(
            "\n  ", (f"One person: {len(person.fragments)} fragments, one golden record", "bold"),
            (f"   {person.profile_id}", "dim"),
        ),
        _fragments(person.fragments),
        Text(f"\n  Why they belong together: the {len(person.joints)} of its {person.links} links that joined pieces"),
        _joints(person.joints, len(person.fragments)),
        Text("\n  The record"),
        _record(record),
    ]  # fmt: skip


def _record(record: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    seen = f"{_minute(record['first_seen_at'])} to {_minute(record['last_seen_at'])} UTC"
    rows: list[tuple[str, str | Text]] = [
        ("traits", ", ".join(f"{name} {value}" for name, value in sorted(record["traits"].items()))),
        ("came by", f"{record['first_channel'] or '-'}, last by {record['last_channel'] or '-'}"),
        ("owner", record["owner"] or "-"),
        ("active", f"{seen}, {record['event_count']} events"),
        ("behaviour", _score(record["behaviour_score"], record["behaviour_points"])),
        ("fit", _score(record["identity_score"], record["identity_points"])),
    ]
    for label, value in rows:
        grid.add_row(f"  {label}", value)
    return grid


def _fragments(fragments: list[Fragment]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name, justify in _FRAGMENT_COLUMNS:
        table.add_column(name, justify=justify)
    for fragment in fragments:
        ways = f"written in {fragment.spellings} ways" if fragment.spellings > 1 else ""
        told = (f"  {fragment.first_day}", fragment.namespace, fragment.mask, f"{fragment.events:,}")
        table.add_row(*told, Text(ways, style="yellow"))
    return table


def _joints(joints: list[Joint], pieces: int) -> Table:
    table = _table("", "", "", "")
    for joint in joints:
        left = Text(f"{pieces} → {joint.pieces}", style="yellow")
        table.add_row(f"  {joint.day:%m-%d}", joint.event, " ~ ".join(joint.ends), left)
        pieces = joint.pieces
    return table


def _score(score: float, points: Mapping[str, float]) -> Text:
    parts = sorted(points.items(), key=lambda item: (-abs(item[1]), item[0]))
    made_of = ", ".join(f"{rule} {value:+.3g}" for rule, value in parts if value)
    return Text.assemble((f"{score:.1f}", "bold yellow"), f" = {made_of}" if made_of else "")


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _digest(figures: Figures) -> Text:
    told = _line("digest", (figures.digest, "bold"), f"  as of {figures.counts.as_of}")
    if figures.again:
        told.append_text(Text.assemble("\n", _again(figures.again)))
    return told


def _again(again: Again) -> Text:
    same = "same digest" if again.is_same_digest else "ANOTHER DIGEST"
    style = "bold green" if again.is_same_digest and not again.new_profiles else "bold red"
    return _line("sent again", (f"{again.new_profiles:,} new profiles, {same}", style))
