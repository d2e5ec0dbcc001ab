"""Commands about leads: assert, outcomes, handover."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from kintsugi.words import counted
from schemas.log_record import What

if TYPE_CHECKING:
    from kintsugi.settings import Settings
    from pipelines.log import Log
    from store.client import Store

_Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Name of the workspace.")]


def add(
    app: typer.Typer,
    open_store: "Callable[[], tuple[Settings, Store]]",
    open_both: "Callable[[], AbstractContextManager[tuple[Settings, Store, Log]]]",
) -> None:
    """Give the commands to the command line; `open_store` and `open_both` (with the log) connect when one runs."""

    @app.command("assert")
    def say(
        identifier: Annotated[
            str, typer.Argument(help="namespace:value, namespace:scope:value, or an identifier_id.")
        ],
        what: Annotated[str, typer.Argument(help=f"One of {', '.join(get_args(What))}.")],
        value: Annotated[str, typer.Argument(help="The stage, the tag, or the name of the outcome.")],
        workspace: _Workspace,
        author: Annotated[str, typer.Option(help="Who says it, for the record.")],
        reason: Annotated[str, typer.Option(help="Why, for the record.")],
        on: Annotated[
            datetime | None,
            typer.Option(formats=["%Y-%m-%d"], help="Day from which it holds; default: today."),
        ] = None,
    ) -> None:
        """Say a status, a tag or an outcome of a lead."""
        from api.assertions import Sayings
        from api.stewardship import Word, now_us
        from kintsugi.explain import Explanations

        if what not in get_args(What):
            raise typer.BadParameter(f"use one of {', '.join(get_args(What))}", param_hint="WHAT")
        with open_both() as (settings, store, log):
            explanations = Explanations(settings, store, workspace)
            sayings = Sayings(store, explanations.secrets)
            day = on.date() if on else None
            found = explanations.identifier(identifier)
            record = sayings.record(found, cast(What, what), value, Word(author, reason), now_us(), day)
            log.append([record]).result()
        print(f"{record.what} {record.value} from {record.day} on ({record.id})", flush=True)

    @app.command()
    def outcomes(
        source: Annotated[
            Path, typer.Argument(metavar="FILE", help="CSV: namespace, scope, value, outcome or status, at.")
        ],
        workspace: _Workspace,
        rejects: Annotated[
            Path | None, typer.Option(help="File for rows that cannot be said; default: FILE.rejects.csv.")
        ] = None,
    ) -> None:
        """Say outcomes and statuses of a file; exit status 1 when a row could not be said."""
        from kintsugi.outcomes import into_log

        refused = rejects or source.with_suffix(".rejects.csv")
        with open_both() as (settings, store, log):
            taken = into_log(settings, store, log, workspace, source, refused)
        print(f"{taken.said:,} said, {taken.rejected:,} rejected", flush=True)
        if taken.rejected:
            print(f"rejects: {refused}; the first: {taken.first_reject}", flush=True)
            sys.exit(1)

    @app.command()
    def handover(
        workspace: _Workspace,
        to: Annotated[str, typer.Option(help="kafka, kafka:TOPIC, a file, or - for standard output.")] = "-",
        follow: Annotated[
            bool, typer.Option("--follow", help="Go on as changes come, until interrupted.")
        ] = False,
        after: Annotated[
            str, typer.Option(help="Cursor to begin behind; default: the last one of the target.")
        ] = "",
    ) -> None:
        """Hand changes of stages, segments and tags over to where a CRM reads them, each at least once."""
        from kintsugi import workspaces
        from kintsugi.handover import PAUSE_S, hand_over, target_of

        settings, store = open_store()
        workspaces.require(settings, workspace)
        with closing(target_of(settings, workspace, to)) as target, suppress(KeyboardInterrupt):
            count = 0
            for size in hand_over(store, workspace, target, after):
                count += size
                if not size and not follow:
                    break
                time.sleep(0 if size else PAUSE_S)
        print(f"{counted(count, 'change')} handed over", file=sys.stderr, flush=True)
