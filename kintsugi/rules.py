"""Rules of a workspace: files are the desired state, the log's activations are what is in force.

Invariant: the name of a generation is a hash of its whole ruleset, so the same files always are the same
generation, and what is in force can be compared with the files without asking what was applied when.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TypeVar

from identity.normalize import normalize
from identity.rules import parse_rules
from kintsugi import workspaces
from kintsugi.calendar import now_us
from kintsugi.settings import Settings
from kintsugi.waiting import wait_for
from pipelines.generations import Ruleset
from pipelines.log import Log
from schemas.errors import Problem
from schemas.ids import identifier_id
from schemas.log_record import Generation
from schemas.workspace import Workspace
from scoring.ruleset import parse_scoring
from store.client import Store
from store.keyring import KeyGeneration

_T = TypeVar("_T")


@dataclass(frozen=True)
class Compiled:
    """The rules files of a workspace, checked."""

    workspace: str
    generation: str
    """Name of the generation that derives by them."""
    ruleset: str
    """Canonical JSON."""
    identity_count: int
    scoring_count: int


def check(settings: Settings, name: str) -> Compiled:
    """Compile identity.yaml and scoring.yaml; Problem with file, line and column of the first mistake."""
    keys = workspaces.require(settings, name)
    workspace = Workspace.from_json(name, keys.workspace)

    def identify(namespace: str, value: str) -> str:
        return _identify(workspace, keys, namespace, value)

    identity = _parsed(
        settings,
        name,
        "identity.yaml",
        lambda text: parse_rules(text, identify, known_namespaces=workspace.namespaces),
    )
    scoring = _parsed(settings, name, "scoring.yaml", parse_scoring)
    text = Ruleset(identity, scoring).to_json()
    generation = "g" + blake2b(text.encode(), digest_size=6).hexdigest()
    return Compiled(
        name, generation, text, len(identity.namespaces), len(scoring.behaviour) + len(scoring.identity)
    )


def apply(
    settings: Settings,
    store: Store,
    log: Log,
    name: str,
    *,
    timeout: float = 600.0,
    progress: Callable[[str], None] = lambda _: None,
    while_waiting: Callable[[], None] = lambda: None,
) -> tuple[str, bool]:
    """Derive by the files as they are now, then switch to it; (generation, whether anything changed).

    Returns when the generation is in force. Problem when that takes longer than `timeout` seconds; the switch
    then happens as soon as the job gets there. `while_waiting` is called often and may raise.
    """
    compiled = check(settings, name)
    if in_force(store, name) == compiled.generation:
        return compiled.generation, False
    deadline = time.monotonic() + timeout
    for action in ("open", "activate"):
        progress(f"{name}: {action} {compiled.generation}")
        record = Generation(
            workspace=name,
            at=now_us(),
            id=uuid.uuid4().hex,
            action=action,
            generation=compiled.generation,
            ruleset=compiled.ruleset if action == "open" else "",
        )
        log.append([record]).result(30)
        marks = log.mark([name])
        if wait_for(marks, store, deadline - time.monotonic(), lambda done, total: while_waiting()):
            raise Problem("bad_request", f"{action} {compiled.generation} is in the log, but the job lags; "
                          "`kintsugi status` says why, `kintsugi wait` waits for it.")  # fmt: skip
    while in_force(store, name) != compiled.generation:
        if time.monotonic() > deadline:
            raise Problem("bad_request", f"{compiled.generation} is not in force yet; see `kintsugi status`.")
        while_waiting()
        time.sleep(0.2)
    return compiled.generation, True


def in_force(store: Store, name: str) -> str:
    """Name of the generation in force; empty before the first one."""
    rows = store.query_rows(
        "SELECT generation FROM kintsugi_store.in_force FINAL WHERE workspace = {workspace:String}",
        {"workspace": name},
    )
    return str(rows[0][0]) if rows else ""


@dataclass(frozen=True)
class Told:
    """One activation."""

    at: datetime
    action: str
    generation: str


def history(store: Store, name: str) -> list[Told]:
    """What was opened, activated and closed, oldest first."""
    rows = store.query_rows(
        "SELECT at, JSONExtractString(body, 'action'), JSONExtractString(body, 'generation') "
        "FROM kintsugi_store.control_records FINAL "
        "WHERE workspace = {workspace:String} AND kind = 'generation' ORDER BY at, id",
        {"workspace": name},
    )
    return [Told(*row) for row in rows]


def _identify(workspace: Workspace, keys: KeyGeneration, namespace: str, value: str) -> str:
    spec = workspace.namespaces.get(namespace)
    if spec is None:
        raise Problem("unknown_namespace", f"The workspace declares no namespace {namespace}.")
    form = normalize(spec, value, workspace.region)
    if form is None:
        raise Problem("bad_rules", f"{value!r} has no normal form as {namespace}: no event can carry it.")
    return identifier_id(keys.pepper, namespace, "", form)


def _parsed(settings: Settings, name: str, file: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(workspaces.read_file(settings, name, file))
    except Problem as problem:
        if not problem.pointer:
            raise
        where = f"{settings.config / name / file}:{problem.pointer}"
        raise Problem(problem.code, f"{where}: {problem.detail}") from None
