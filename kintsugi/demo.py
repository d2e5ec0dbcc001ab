"""`kintsugi demo`: the whole way of 100,000 events on the real stack, shown on one screen.

Invariant: a run that follows a completed one sends the same bytes, since seed and dates are fixed at the first
run, and must find every profile and the digest as they were. The demo stops the stack only when it started it.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.console import Console

from api.keys import create_key
from kintsugi import connections, endpoints, rules, up, workspaces
from kintsugi.calendar import local_date, now_us
from kintsugi.demo_data import Truth, journeys
from kintsugi.demo_data.truth import Identifier, folded, identifiers_of
from kintsugi.demo_figures import Again, Counts, Figures, counts, judged, known, person
from kintsugi.demo_screen import screen
from kintsugi.digest import digest
from kintsugi.endpoints import Endpoints
from kintsugi.progress import Progress
from kintsugi.send import Sent, send_events
from kintsugi.settings import CHECKOUT, Settings
from kintsugi.waiting import wait_for
from pipelines.log import Log
from schemas.errors import Problem
from store.client import Store

WORKSPACE = "demo"
SEED, EVENTS, DAYS = 20260, 100_000, 60
_READY_TIMEOUT_S = 300.0
_WAIT_TIMEOUT_S = 1800.0
_PLAIN_WIDTH = 108
_ASKED = "profile_id, behaviour_score, first_channel, owner"

Say = Callable[[str], None]


class Plan(msgspec.Struct):
    """What the first run fixed, kept in the home (only its owner may read it)."""

    seed: int
    events: int
    days: int
    start_day: date
    write_key: str
    read_key: str
    is_complete: bool = False
    """Whether a run has once brought all its events into profiles."""


def run(settings: Settings) -> None:
    """The demo. Problem when a repeated run changed anything, or when the stack cannot do its work."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    settings = replace(settings, home=settings.home / _home_name(settings.log))
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)
    found = endpoints.running(settings)
    plan = _plan(settings)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    try:
        said = _until_ready(settings) if found else up.detached(settings, say)
        figures = _figures(settings, said, plan, say)
        console.print(screen(figures))
        is_kept = bool(found) or sys.stdout.isatty()
        say("\n" + _what_next(settings, said, plan, figures, is_kept))
    except BaseException:
        if not found and endpoints.running(settings):
            up.down(settings, say)
        raise
    if not is_kept:
        up.down(settings, say)
    if figures.again and (figures.again.new_profiles or not figures.again.is_same_digest):
        raise Problem("bad_request", "The same events sent again changed what is believed: this is a defect.")


def _home_name(log: str) -> str:
    """Each backend of the log has a home of its own, so that one never reads the other's checkpoints."""
    return "demo" if log == "directory" else f"demo-{log}"


def _plan(settings: Settings) -> Plan:
    """The plan of the first run; made, with workspace and keys, where there is none."""
    path = settings.run / "demo.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    if WORKSPACE not in workspaces.names(settings):
        workspaces.create(settings, WORKSPACE)
    zone = workspaces.definition(settings, WORKSPACE).time_zone
    plan = Plan(
        seed=SEED,
        events=EVENTS,
        days=DAYS,
        start_day=local_date(zone, now_us()) - timedelta(days=DAYS),  # up to the end of yesterday
        write_key=create_key(settings.home, WORKSPACE, "ingest", "demo"),
        read_key=create_key(settings.home, WORKSPACE, "read", "demo"),
    )
    _keep(settings, plan)
    return plan


def _keep(settings: Settings, plan: Plan) -> None:
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.run / "demo.json"
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(plan))
    temporary.rename(path)


def _until_ready(settings: Settings) -> Endpoints:
    """The stack that runs already, once it is ready."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while (said := endpoints.require_running(settings)).phase != "ready":
        if time.monotonic() > deadline:
            raise Problem("bad_request", f"The stack is {said.phase} for long; see `kintsugi status`.")
        time.sleep(0.2)
    return said


@dataclass
class _Believed:
    """What the workspace held before the events came."""

    counts: Counts
    digest: str


def _figures(settings: Settings, said: Endpoints, plan: Plan, say: Say) -> Figures:
    """Send, wait, measure."""
    store = connections.store(settings, said)
    with connections.log(settings, said) as log:
        if not rules.in_force(store, WORKSPACE):
            rules.apply(settings, rules.Job(store, log, progress=say), WORKSPACE)
        before = None
        if plan.is_complete:
            _wait(settings, store, log)
            before = _Believed(counts(store, WORKSPACE), digest(store, WORKSPACE).sha256)
        truth, spellings = Truth(), dict[Identifier, set[str]]()
        began = time.monotonic()
        sent = _send(said, plan, _told(plan, truth, spellings))
        _wait(settings, store, log)
        whole = time.monotonic() - began
    say("measuring")
    keys = workspaces.require(settings, WORKSPACE)
    facts = known(truth, workspaces.definition(settings, WORKSPACE), keys)
    after, believed = counts(store, WORKSPACE), digest(store, WORKSPACE).sha256
    if after.events < len(truth.messages()) or after.identifiers < len(facts.names):
        raise Problem("bad_request", f"{len(truth.messages()):,} events with {len(facts.names):,} identifiers were"
                      f" accepted, the store holds {after.events:,} and {after.identifiers:,}.")  # fmt: skip
    found, errors = judged(store, WORKSPACE, facts)
    figures = Figures(
        sent=sent.accepted + sent.rejected,
        distinct=len(truth.messages()),
        rejected=sent.rejected,
        send_seconds=sent.seconds,
        whole_seconds=whole,
        memory_mib=_memory_mib(said),
        counts=after,
        quality=found,
        errors=errors,
        person=person(store, WORKSPACE, facts, spellings),
        digest=believed,
        again=_again(before, after, believed) if before else None,
    )
    plan.is_complete = True
    _keep(settings, plan)
    return figures


def _again(before: _Believed, after: Counts, believed: str) -> Again | None:
    """What a repeated run changed; None when midnight passed meanwhile, since scores belong to a date."""
    if before.counts.as_of != after.as_of:
        return None
    return Again(after.profiles - before.counts.profiles, believed == before.digest)


def _told(plan: Plan, truth: Truth, spellings: dict[Identifier, set[str]]) -> Iterator[dict[str, Any]]:
    """The events of the plan; what is true of them is collected on the way."""
    for batch in journeys(plan.seed, plan.events, plan.start_day, plan.days):
        truth.add(batch)
        for event in batch.events:
            for raw in identifiers_of(event):
                spellings.setdefault(folded(*raw), set()).add(raw[2])
            yield event


def _send(said: Endpoints, plan: Plan, events: Iterator[dict[str, Any]]) -> Sent:
    with Progress("sent", plan.events, "events") as bar:
        return send_events(
            said.collector,
            plan.write_key,
            events,
            progress=lambda accepted, rejected: bar.at(accepted + rejected),
        )


def _wait(settings: Settings, store: Store, log: Log) -> None:
    marks = log.mark(workspaces.names(settings))
    with Progress("in the profiles", len(marks), "segments") as bar:
        left = wait_for(marks, store, _WAIT_TIMEOUT_S, bar.at)
    if left:
        raise Problem("bad_request", f"After {_WAIT_TIMEOUT_S:.0f} s {len(left)} of {len(marks)} segments are not"
                      " in the profiles; `kintsugi status` says why.")  # fmt: skip


def _memory_mib(said: Endpoints) -> int:
    """Resident memory of the stack's processes and their children."""
    total = 0
    for entry in (said.supervisor, *said.processes.values()):
        with _gone_is_nothing():
            process = psutil.Process(entry.pid)
            family = [process] if entry is said.supervisor else [process, *process.children(recursive=True)]
            total += sum(member.memory_info().rss for member in family)
    return total >> 20


@contextmanager
def _gone_is_nothing() -> Iterator[None]:
    try:
        yield
    except psutil.Error:
        return


def _what_next(settings: Settings, said: Endpoints, plan: Plan, figures: Figures, is_kept: bool) -> str:
    """Addresses, commands to try, how to stop; or that nothing runs any more."""
    home = _shown(settings.home)
    command = _command()
    if not is_kept:
        return f"Without a terminal the stack is stopped now; its data stays in {home}."
    namespace, value = figures.person.example
    body = msgspec.json.encode({"identifiers": [{"namespace": namespace, "value": value}]}).decode()
    return "\n".join(
        (
            "The stack keeps running:",
            f"  collector {said.collector}   query API {said.api}   Flink's pages {said.flink}",
            "Look the person up, in any spelling (the key is the demo's read key):",
            f"  curl -s {said.api}/v1/profiles/lookup -H 'Authorization: Bearer {plan.read_key}' \\",
            f"    -H 'Content-Type: application/json' -d '{body}'",
            "Ask in SQL, derive the digest anew from evidence, see how it is, stop it:",
            f"  export KINTSUGI_HOME={home}{' KINTSUGI_LOG=kafka' if settings.log == 'kafka' else ''}",
            f'  {command} sql "SELECT {_ASKED} FROM kintsugi.profiles ORDER BY behaviour_score DESC LIMIT 5"',
            f"  {command} digest --workspace {WORKSPACE} --date {figures.counts.as_of}",
            f"  {command} status",
            f"  {command} down",
        )
    )


def _shown(path: Path) -> str:
    """The path as settings take it: relative to the checkout where it lies in there."""
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else str(path)


def _command() -> str:
    """How this program was called, in words that a shell understands."""
    called = Path(sys.argv[0])
    if called.suffix == ".py":
        return f"{sys.executable} -m kintsugi.cli"
    on_path = shutil.which(called.name)
    is_same = on_path is not None and os.path.realpath(on_path) == os.path.realpath(called)
    return called.name if is_same else str(called)
