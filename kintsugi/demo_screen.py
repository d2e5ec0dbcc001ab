"""The demo's screen: figures in, something that rich can print out; readable as plain text too.

Invariant: drawing is a pure function of the figures.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from identity.quality import UNEXPLAINED, CauseCount
from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_figures import Again, Figures, Fragment, Joint, Person

_MOST_CAUSES = 6
_UNREACHABLE = frozenset({words.UNLINKED_ACCOUNT, words.NEVER_IDENTIFIED_DEVICE})
_MEANINGS = {
    words.UNLINKED_ACCOUNT: "no event ever shows the two halves together",
    words.NEVER_IDENTIFIED_DEVICE: "a browser whose owner never said who they are",
    words.HANDED_ON_PHONE: "a new owner, known by little else, looks like the old one",
    words.SHARED_COMPUTER: "colleagues at one browser, too few to tell that it is shared",
    words.SECOND_ACCOUNT: "two logins of one person; the rules allow one per profile",
    UNEXPLAINED: "what the above broke elsewhere: a limit reached, a link refused",
}
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
    same = figures.sent - counts.events - figures.rejected
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
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  ")
    for name in ("precision", "recall"):
        table.add_column(name, justify="right")
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
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  ")
    for name in ("joined wrongly", "missed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in errors[:_MOST_CAUSES]:
        table.add_row(
            f"  {row.cause}",
            f"{row.false_pairs:,}",
            f"{row.missed_pairs:,}",
            Text(_MEANINGS.get(row.cause, "both at once" if " + " in row.cause else ""), style="dim"),
        )
    rest = errors[_MOST_CAUSES:]
    if rest:
        false, missed = sum(row.false_pairs for row in rest), sum(row.missed_pairs for row in rest)
        table.add_row(
            f"  {len(rest)} more", f"{false:,}", f"{missed:,}", Text("mixtures of these", style="dim")
        )
    return table


def _unreachable_share(errors: Iterable[CauseCount]) -> float:
    """Share of the missed pairs whose only causes are pieces that no event connects."""
    missed = {row.cause: row.missed_pairs for row in errors}
    unreachable = sum(n for cause, n in missed.items() if set(cause.split(" + ")) <= _UNREACHABLE)
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
        _line("traits", ", ".join(f"{name} {value}" for name, value in sorted(record["traits"].items()))),
        _line("came by", f"{record['first_channel'] or '-'}, last by {record['last_channel'] or '-'};"
              f" owner {record['owner'] or '-'}"),
        _line("active", f"{_minute(record['first_seen_at'])} to {_minute(record['last_seen_at'])},"
              f" {record['event_count']} events"),
        _score("behaviour", record["behaviour_score"], record["behaviour_points"]),
        _score("fit", record["identity_score"], record["identity_points"]),
    ]  # fmt: skip


def _fragments(fragments: list[Fragment]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  first seen")
    table.add_column("identifier")
    table.add_column("masked")
    table.add_column("events", justify="right")
    table.add_column("")
    for fragment in fragments:
        ways = f"written in {fragment.spellings} ways" if fragment.spellings > 1 else ""
        table.add_row(
            f"  {fragment.first_day}", fragment.namespace, fragment.mask, f"{fragment.events:,}",
            Text(ways, style="yellow"),
        )  # fmt: skip
    return table


def _joints(joints: list[Joint], pieces: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=False)
    for _ in range(4):
        table.add_column()
    for joint in joints:
        table.add_row(
            f"  {joint.day}",
            joint.event,
            f"{joint.ends[0]} ~ {joint.ends[1]}",
            Text(f"{pieces} → {joint.pieces}", style="yellow"),
        )
        pieces = joint.pieces
    return table


def _score(label: str, score: float, points: Mapping[str, float]) -> Text:
    parts = sorted(points.items(), key=lambda item: (-abs(item[1]), item[0]))
    made_of = ", ".join(f"{rule} {value:+.3g}" for rule, value in parts if value)
    return _line(label, (f"{score:.1f}", "bold yellow"), f"  = {made_of}" if made_of else "")


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
