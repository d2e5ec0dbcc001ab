"""The command line: `kintsugi`. Commands load what they need when they run, so that `--help` is instant.

Invariant: an error is one clear line on standard error that says what to do; exit status 1 for what went
wrong, 2 for a command that cannot be understood.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kintsugi import explain_commands, lead_commands, score_commands
from kintsugi.settings import Settings
from kintsugi.words import counted, moment
from schemas.errors import Problem

if TYPE_CHECKING:
    from kintsugi.explain import Explanations
    from pipelines.log import Log
    from store.client import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Kintsugi: tracking events become golden records.",
)
workspace_app = typer.Typer(no_args_is_help=True, help="Workspaces (tenants).")
rules_app = typer.Typer(
    no_args_is_help=True, help="Rules of a workspace: check, test, preview, apply, rollback, history."
)
state_app = typer.Typer(no_args_is_help=True, help="State of the job.")
rejects_app = typer.Typer(no_args_is_help=True, help="What could not become an event.")
for name, group in (
    ("workspace", workspace_app),
    ("rules", rules_app),
    ("state", state_app),
    ("rejects", rejects_app),
):
    app.add_typer(group, name=name)

WorkspaceOption = Annotated[str, typer.Option("--workspace", "-w", help="Name of the workspace.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0, help="Seconds.")]


def main() -> None:
    """Entry point: errors become one line and exit status 1."""
    try:
        app()
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(f"kintsugi: {sentence}", file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str | None:
    """The line for people of an expected error; None for what is a defect."""
    if isinstance(error, Problem):
        return f"{error.pointer}: {error.detail}" if error.pointer else error.detail
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if type(error).__name__ in ("StoreRefused", "SendError"):
        return str(error).splitlines()[0]
    return None


def _say(line: str) -> None:
    print(line, flush=True)


def _settings() -> Settings:
    return Settings.load(os.environ)


@contextmanager
def _store_and_log() -> "Iterator[tuple[Settings, Store, Log]]":
    """Store and log of the running stack."""
    from kintsugi import connections, endpoints

    settings = _settings()
    said = endpoints.require_running(settings)
    with connections.log(settings, said) as log:
        yield settings, connections.store(settings, said), log


def _store() -> "tuple[Settings, Store]":
    from kintsugi import connections, endpoints

    settings = _settings()
    return settings, connections.store(settings, endpoints.require_running(settings))


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready.")] = False,
) -> None:
    """Start the stack: store, Flink job, collector, query API; keep it running."""
    from kintsugi import endpoints
    from kintsugi.up import addresses, detached, foreground

    settings = _settings()
    found = endpoints.running(settings)
    if found:
        _say(f"A stack runs already for {settings.home} ({found.phase}). {addresses(found)}")
    elif detach:
        detached(settings, _say)
    else:
        foreground(settings, _say)


@app.command()
def down(
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Remove all data as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack; what was accepted stays."""
    from kintsugi import up

    settings = _settings()
    if delete_data and not yes:
        if not sys.stdin.isatty():
            raise Problem(
                "bad_request", "--delete-data asks before it deletes; without a terminal add --yes."
            )
        typer.confirm(f"Delete all data in {settings.home}?", abort=True)
    up.down(settings, _say)
    if delete_data:
        up.delete_data(settings)
        _say(f"deleted the data in {settings.home}")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show processes, job, lag, counts, and files that differ from what is in force."""
    from kintsugi import status

    told, warnings = status.report(_settings())
    _say(json.dumps({**told, "warnings": warnings}, indent=2) if as_json else status.text(told, warnings))
    if told["phase"] == "stopped":
        sys.exit(1)


@app.command()
def doctor() -> None:
    """Check whether this machine can run the stack."""
    from kintsugi.doctor import findings

    failed = 0
    for finding in findings(_settings()):
        failed += not finding.is_good
        _say(f"ok    {finding.what}" if finding.is_good else f"FAIL  {finding.what}: {finding.remedy}")
    sys.exit(1 if failed else 0)


@app.command()
def demo() -> None:
    """Show the way of 100,000 events, from QR code to golden record."""
    from kintsugi import demo

    demo.run(_settings())


@workspace_app.command("create")
def workspace_create(
    name: Annotated[str, typer.Argument(help="Small letters, digits, - and _; also the name of its folder.")],
) -> None:
    """Make a workspace: folder, secrets, a write key and a read key (shown once)."""
    from kintsugi import workspaces

    created = workspaces.create(_settings(), name)
    _say(f"workspace  {created.name}")
    _say(f"folder     {created.folder}{' (new, copied from demo)' if created.is_new_folder else ''}")
    _say(f"write key  {created.write_key}")
    _say(f"read key   {created.read_key}")
    _say(
        "The keys are shown this once. Rules: `kintsugi rules apply -w "
        + name
        + "` (the first `up` does it too)."
    )


@workspace_app.command("key")
def workspace_key(
    name: Annotated[str, typer.Argument(help="The workspace that the key shall open.")],
    scope: Annotated[
        str, typer.Option(help="ingest, read, pii (in the clear) or steward (overrides).")
    ] = "read",
) -> None:
    """Make another access key of a workspace (shown once)."""
    from api.keys import create_key
    from kintsugi import workspaces

    settings = _settings()
    workspaces.require(settings, name)
    _say(create_key(settings.home, name, scope))


@app.command()
def ingest(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="NDJSON, plain or gzip; - for standard input.")
    ],
    workspace: WorkspaceOption,
    via: Annotated[
        str, typer.Option(help="log: straight into the log; http: through the collector.")
    ] = "log",
) -> None:
    """Bring events of a file into the log."""
    from kintsugi import ingest, workspaces

    if via not in ("log", "http"):
        raise typer.BadParameter("use log or http", param_hint="--via")
    settings = _settings()
    keys = workspaces.require(settings, workspace)
    told = ingest.via_http(settings, workspace, source) if via == "http" else ingest.into_log(
        settings, workspace, keys.generation, source
    )  # fmt: skip
    _say(f"{counted(told.accepted, 'event')} accepted, {told.rejected:,} rejected")
    if told.first_reject:
        _say(f"first reject: {told.first_reject}")


@app.command()
def wait(timeout: TimeoutOption = 300.0) -> None:
    """Wait until everything accepted so far is in the profiles."""
    from kintsugi import endpoints, workspaces
    from kintsugi.progress import Progress
    from kintsugi.waiting import wait_for

    with _store_and_log() as (settings, store, log):
        marks = log.mark(workspaces.names(settings))
        with Progress("in the profiles", len(marks), "segments") as bar:
            left = wait_for(marks, store, timeout, bar.at)
    if left:
        lagging = ", ".join(sorted({workspace for mark in left for workspace in mark.workspaces}))
        job = endpoints.require_running(settings).job
        raise Problem(
            "bad_request",
            f"After {timeout:.0f} s {len(left)} of {len(marks)} segments are not in the profiles "
            f"(workspaces: {lagging}; the first: {left[0].segment}). "
            f"The job is {job.state}; see `kintsugi status`.",
        )


@app.command()
def lookup(
    workspace: WorkspaceOption,
    source: Annotated[Path, typer.Option("--in", help="CSV or Parquet: namespace, scope, value.")],
    target: Annotated[Path, typer.Option("--out", help="CSV, or Parquet by its name.")],
) -> None:
    """Find the profiles of many identifiers."""
    from kintsugi.lookup import lookup

    settings, store = _store()
    count, known = lookup(settings, store, workspace, source, target)
    _say(f"{counted(count, 'identifier')}, {known:,} known")


def _explanations(workspace: str) -> "Explanations":
    from kintsugi.explain import Explanations

    return Explanations(*_store(), workspace)


explain_commands.add(app, _explanations)
score_commands.add(app, _store)
lead_commands.add(app, _store, _store_and_log)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="A SELECT; quote it for the shell.")],
    output: Annotated[
        str, typer.Option("--format", "-f", help="Any output format of ClickHouse.")
    ] = "PrettyCompact",
) -> None:
    """Run one SELECT as the login analyst: the public views, database kintsugi."""
    from kintsugi import connections, endpoints
    from kintsugi.sql import stream

    settings = _settings()
    access = connections.analyst_access(settings, endpoints.require_running(settings))
    for chunk in stream(access, statement, output):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@app.command()
def quality(
    workspace: Annotated[
        list[str] | None, typer.Option("--workspace", "-w", help="Name of a workspace; default: all.")
    ] = None,
    suite: Annotated[str, typer.Option(help="One suite alone, for instance links.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    html: Annotated[Path | None, typer.Option("--page", help="Write a page that works offline.")] = None,
) -> None:
    """Check events, identities, links, profiles and score facts; exit status 1 when an expectation is broken."""
    from kintsugi import connections, endpoints, workspaces
    from kintsugi.quality import keep, run
    from kintsugi.quality_report import page, text

    settings, store = _store()
    for name in workspace or []:
        workspaces.require(settings, name)
    access = connections.store_access(settings, endpoints.require_running(settings))
    results = run(access, workspace or workspaces.names(settings), only=suite)
    keep(store, results)
    if html is not None:
        html.write_text(page(results), encoding="utf-8")
    _say(json.dumps([result.as_json() for result in results], indent=2) if as_json else text(results))
    sys.exit(0 if all(result.is_met for result in results) else 1)


@app.command()
def migrate(
    show: Annotated[
        bool, typer.Option("--show", help="Print every statement instead of running it.")
    ] = False,
) -> None:
    """Bring the store to the newest form of its tables and views; `up` does it too."""
    from store.migrate import ddl, migrate

    cluster = _settings().store_cluster
    if show:
        _say(";\n\n".join(ddl(cluster)) + ";")
        return
    settings, store = _store()
    _say(f"applied: {', '.join(migrate(store, cluster=settings.store_cluster)) or 'nothing, all is there'}")


KeysOption = Annotated[Path | None, typer.Option("--keys", help="Folder of its own for the keyring.")]


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Folder to fill; nothing may lie in it yet.")],
    keys: KeysOption = None,
) -> None:
    """Copy log and store of the stopped stack into a new folder, with a checksum of every file."""
    from kintsugi.backup import backup

    backup(_settings(), target, keys, _say)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="Folder that `backup` made.")],
    keys: KeysOption = None,
) -> None:
    """Bring a backup into an empty home; the next `up` goes on from there."""
    from kintsugi.backup import restore

    restore(_settings(), source, keys, _say)


@app.command()
def digest(
    workspace: WorkspaceOption,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Derive the digest of this day from evidence."),
    ] = None,
) -> None:
    """One hash of everything that is believed: equal for equal evidence, rules and date."""
    from kintsugi.digest import digest

    _, store = _store()
    _say(str(digest(store, workspace, date.date().isoformat() if date else None)))


@app.command()
def evaluate(
    workspace: WorkspaceOption,
    truth: Annotated[Path, typer.Option(help="CSV or Parquet: namespace, scope, value, person.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Judge the profiles by a truth: pairwise and B-cubed precision and recall, sizes, the worst errors."""
    from kintsugi import evaluate

    settings, store = _store()
    found = evaluate.evaluate(settings, store, workspace, truth)
    _say(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if as_json else evaluate.text(found))


@rules_app.command("check")
def rules_check(workspace: WorkspaceOption) -> None:
    """Check identity.yaml and scoring.yaml."""
    from kintsugi import rules

    compiled = rules.check(_settings(), workspace)
    _say(
        f"good: {compiled.identity_count} namespaces, {compiled.scoring_count} scoring rules; "
        f"generation {compiled.generation}"
    )


@rules_app.command("test")
def rules_test(
    folder: Annotated[Path | None, typer.Argument(help="Folder of rules files with a story.yaml.")] = None,
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="Workspace whose folder it is.")] = "",
) -> None:
    """Tell story.yaml to the files as they are now, in a throw-away store; exit status 1 when it ends otherwise."""
    from kintsugi import rules_test as story

    settings = _settings()
    if (folder is None) == (not workspace):
        raise typer.BadParameter("give a folder or --workspace")
    sys.exit(0 if story.run(settings, folder or settings.config / workspace, _say) else 1)


@contextmanager
def _deriving() -> Iterator[Callable[[int, int], None]]:
    """Shows how far a generation is, once there is anything to show."""
    from kintsugi.progress import Progress

    with ExitStack() as held:
        bars: list[Progress] = []

        def at(done: int, total: int) -> None:
            bars[:] = bars or [held.enter_context(Progress("derived", unit="profiles"))]
            bars[0].at(done, total)

        yield at


@rules_app.command("apply")
def rules_apply(workspace: WorkspaceOption, timeout: TimeoutOption = 600.0) -> None:
    """Derive everything by the files as they are now, then switch to it."""
    from kintsugi import rules

    with _store_and_log() as (settings, store, log), _deriving() as at:
        job = rules.Job(store, log, timeout, _say, derived=at)
        generation, is_new = rules.apply(settings, job, workspace)
    _say(f"{generation} is in force" + ("" if is_new else " already"))


@rules_app.command("preview")
def rules_preview(
    workspace: WorkspaceOption,
    timeout: TimeoutOption = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it derived, so that apply is instant.")] = False,
) -> None:
    """Show what would change if the files as they are now were applied; nothing changes for readers."""
    from kintsugi import rules
    from kintsugi.preview_text import text

    with _store_and_log() as (settings, store, log), _deriving() as at:
        job = rules.Job(store, log, timeout, (lambda _: None) if as_json else _say, derived=at)
        found = rules.preview(settings, job, workspace, keep=keep)
    _say(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if as_json else text(found))


@rules_app.command("rollback")
def rules_rollback(workspace: WorkspaceOption, timeout: TimeoutOption = 600.0) -> None:
    """Put in force what was in force before; the files stay as they are."""
    from kintsugi import rules, workspaces

    with _store_and_log() as (settings, store, log), _deriving() as at:
        workspaces.require(settings, workspace)
        generation = rules.rollback(rules.Job(store, log, timeout, _say, derived=at), workspace)
    _say(f"{generation} is in force")


@rules_app.command("history")
def rules_history(workspace: WorkspaceOption) -> None:
    """Show which rulesets were opened and activated."""
    from kintsugi import rules, workspaces

    settings, store = _store()
    workspaces.require(settings, workspace)
    in_force = rules.in_force(store, workspace)
    history = rules.history(store, workspace)
    if not history:
        _say(f"Nothing was ever in force in {workspace}: `kintsugi rules apply -w {workspace}`.")
    for told in history:
        mark = "  (in force)" if told.generation == in_force and told.action == "activate" else ""
        _say(f"{moment(told.at)}  {told.action:<8}  {told.generation}{mark}")


@app.command()
def replay(timeout: TimeoutOption = 3600.0) -> None:
    """Empty the store and derive everything anew from the whole log."""
    from kintsugi import requests

    requests.ask(_settings(), requests.REPLAY)
    wait(timeout)


@state_app.command("rebuild")
def state_rebuild(timeout: TimeoutOption = 600.0) -> None:
    """Start the job without state and derive its state anew from the stored evidence."""
    from kintsugi import controls, requests

    requests.ask(_settings(), requests.REBUILD)
    with _store_and_log() as (_, store, log):
        count = controls.tell_again(store, log)
    _say(f"the job started without state; {count} control records told again")
    wait(timeout)


@rejects_app.command("retry")
def rejects_retry(workspace: WorkspaceOption) -> None:
    """Admit the open rejects once more, for instance after a correction of the rules of admission.

    One that becomes an event names it in the view `rejects`, and is not tried again.
    """
    from kintsugi import ingest, workspaces

    with _store_and_log() as (settings, store, log):
        told = ingest.retry(store, log, workspace, workspaces.require(settings, workspace))
    _say(f"{counted(told.accepted, 'event')} accepted, {told.rejected:,} still rejected")


if __name__ == "__main__":
    main()
