"""Commands about scores and segments: score, segments preview."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kintsugi.words import counted

if TYPE_CHECKING:
    from api.scores import ScoreAnswer
    from kintsugi.settings import Settings
    from store.client import Store

_Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Name of the workspace.")]
_CHART_DAYS = 90


def add(app: typer.Typer, open_store: "Callable[[], tuple[Settings, Store]]") -> None:
    """Give the commands to the command line; `open_store` connects when one of them runs."""
    segments_app = typer.Typer(no_args_is_help=True, help="Segments of a workspace.")
    app.add_typer(segments_app, name="segments")

    @app.command()
    def score(
        profile: Annotated[
            str, typer.Argument(metavar="PROFILE", help="profile_id, or any identifier of it.")
        ],
        workspace: _Workspace,
        on: Annotated[
            datetime | None,
            typer.Option(formats=["%Y-%m-%d"], help="Any day, past or future; else the date in force."),
        ] = None,
        chart: Annotated[
            Path | None, typer.Option(help=f"File for a picture (SVG) of the {_CHART_DAYS} days around it.")
        ] = None,
    ) -> None:
        """Show what a behaviour score is made of, on any day."""
        from api.scores import Scores
        from kintsugi.explain import Explanations

        settings, store = open_store()
        profile_id = Explanations(settings, store, workspace).identifier(profile)
        scores = Scores(store)
        answer = scores.on(workspace, profile_id, on.date() if on else None)
        print("\n".join(_lines(answer)), flush=True)
        if chart:
            first = answer.on - timedelta(days=_CHART_DAYS * 2 // 3)
            days = [first + timedelta(days=n) for n in range(_CHART_DAYS)]
            chart.write_text(picture(scores.series(workspace, profile_id, days), answer.on), encoding="utf-8")
            print(f"chart: {chart}", flush=True)

    @segments_app.command("preview")
    def segments_preview(
        name: Annotated[str, typer.Argument(help="Name of a segment in segments/*.yaml.")],
        workspace: _Workspace,
    ) -> None:
        """Show what a segment would hold: count, sample, overlap with segments in force."""
        from kintsugi import segments

        told = segments.preview(*open_store(), workspace, name)
        share = f" ({told.count / told.profiles:.1%})" if told.profiles else ""
        print(f"{told.name}: {told.count:,} of {told.profiles:,} profiles{share}")
        for segment, shared, members in told.overlap:
            print(f"  shares {shared:,} with {segment} ({members:,} members)")
        for profile_id in told.sample:
            print(f"  {profile_id}")


def _lines(answer: "ScoreAnswer") -> list[str]:
    """A ledger as text."""
    lines = [f"profile {answer.profile_id}, behaviour score on {answer.on}: {answer.behaviour_score:g}"]
    for line in answer.lines:
        lines.append(f"{line.points:>12g}  {line.rule}")
        lines += [
            f"{'':14}{part.day}  {counted(part.event_count, 'event')}, {part.raw_points:g} points"
            + (f", {part.counted_points:g} after caps" if part.counted_points != part.raw_points else "")
            + (f", weight {part.weight:.4f}" if part.weight != 1 else "")
            for part in line.days
        ]
    for robot in answer.robots:
        days = ", ".join(f"{day.day} ({day.event_count})" for day in robot.days)
        lines.append(
            f"robots filter {robot.robot}: {counted(robot.event_count, 'event')} without effect: {days}"
        )
    if answer.next_change:
        points = ", ".join(f"{rule} {value:g}" for rule, value in answer.next_change.points.items())
        lines.append(
            f"next change on {answer.next_change.on}: {points}; score {answer.next_change.behaviour_score:g}"
        )
    return lines


def picture(series: list[tuple[date, float]], on: date) -> str:
    """The score by day as an SVG: one line, the day asked for marked.

    >>> picture([(date(2026, 1, 1), 0.0), (date(2026, 1, 2), 5.0)], date(2026, 1, 2)).count("<circle")
    1
    """
    width, height, margin = 720.0, 240.0, 40.0
    low, high = min(0.0, *(v for _, v in series)), max(1.0, *(v for _, v in series))

    def place(index: int, value: float) -> tuple[float, float]:
        x = margin + index * (width - 2 * margin) / max(len(series) - 1, 1)
        return x, height - margin - (value - low) * (height - 2 * margin) / (high - low)

    points = [place(n, value) for n, (_, value) in enumerate(series)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#b8860b"/>'
        f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{value:g}</text>'
        for (day, value), (x, y) in zip(series, points, strict=True)
        if day == on
    )
    zero = place(0, 0)[1]
    labels = "".join(
        f'<text x="{points[n][0]:.1f}" y="{height - 12:.1f}" text-anchor="middle">{series[n][0]}</text>'
        for n in (0, len(series) - 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<line x1="{margin}" y1="{zero:.1f}" x2="{width - margin}" y2="{zero:.1f}" stroke="#999"/>'
        f'<text x="4" y="{place(0, high)[1]:.1f}">{high:g}</text><text x="4" y="{place(0, low)[1]:.1f}">{low:g}</text>'
        f'<polyline points="{path}" fill="none" stroke="#b8860b" stroke-width="2"/>{marks}{labels}</svg>\n'
    )
