"""Commands that explain: why, why-not, how, bridges, graph, as-known."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kintsugi.words import counted

if TYPE_CHECKING:
    from kintsugi.explain import Explanations

_Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Name of the workspace.")]
_Identifier = Annotated[
    str, typer.Argument(help="namespace:value, namespace:scope:value, or an identifier_id.")
]
_Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="profile_id, or any identifier of it.")]


def add(app: typer.Typer, open_workspace: "Callable[[str], Explanations]") -> None:
    """Give the commands to the command line; `open_workspace` connects when one of them runs."""

    @app.command()
    def why(a: _Identifier, b: _Identifier, workspace: _Workspace) -> None:
        """Show why two identifiers are one person: the shortest path of accepted evidence."""
        _print(open_workspace(workspace).why(a, b))

    @app.command("why-not")
    def why_not(a: _Identifier, b: _Identifier, workspace: _Workspace) -> None:
        """Show what keeps two identifiers apart."""
        _print(open_workspace(workspace).why_not(a, b))

    @app.command()
    def how(profile: _Profile, workspace: _Workspace) -> None:
        """Show how a profile came together, in the order of time."""
        _print(open_workspace(workspace).how(profile))

    @app.command()
    def bridges(profile: _Profile, workspace: _Workspace) -> None:
        """Show the links whose removal splits a profile, with the sizes of the halves."""
        _print(open_workspace(workspace).bridges(profile))

    @app.command()
    def graph(
        profile: _Profile,
        workspace: _Workspace,
        out: Annotated[
            Path | None, typer.Option(help="File for the picture (SVG); without it: JSON.")
        ] = None,
    ) -> None:
        """Draw a profile: its identifiers and what holds them together."""
        opened = open_workspace(workspace)
        answer = opened.explainer.graph(opened.identifier(profile))
        if out is None:
            _print([answer.model_dump_json(indent=2)])
            return
        from kintsugi.picture import svg

        out.write_text(svg(answer), encoding="utf-8")
        _print([f"{counted(len(answer.nodes), 'identifier')}, {counted(len(answer.links), 'link')}: {out}"])

    @app.command("as-known")
    def as_known(
        identifier: _Identifier,
        workspace: _Workspace,
        on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day.")],
    ) -> None:
        """Show who an identifier was on a day, by the evidence received until its end."""
        _print(open_workspace(workspace).as_known(identifier, on.date()))


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)
