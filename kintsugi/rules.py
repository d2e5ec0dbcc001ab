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
from typing import Literal, TypeVar

from identity.normalize import normalize
from identity.normalize.patterns import PATTERNS
from identity.rules import parse_rules
from kintsugi import workspaces
from kintsugi.calendar import now_us
from kintsugi.preview import Preview, difference
from kintsugi.settings import Settings
from kintsugi.waiting import wait_for
from pipelines.generations import Ruleset
from pipelines.log import Log
from schemas.errors import Problem
from schemas.ids import identifier_id
from schemas.log_record import Generation
from schemas.workspace import Workspace
from scoring.profile_rules import Segment, parse_segment
from scoring.ruleset import ScoringRules, parse_scoring, with_segments
from store.client import Store
from store.keyring import KeyGeneration

Action = Literal["open", "activate", "close"]
_T = TypeVar("_T")
_PATIENCE_S, _LOOK_EVERY_S = 10.0, 2.0
"""Seconds after which how far a generation is derived is looked at, and between two looks."""


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

    identity = parsed(
        settings,
        name,
        "identity.yaml",
        lambda text: parse_rules(
            text, identify, known_namespaces=workspace.namespaces, known_patterns=PATTERNS
        ),
    )
    scoring = with_segments(parsed(settings, name, "scoring.yaml", parse_scoring), _segments(settings, name))
    text = Ruleset(identity, scoring).to_json()
    generation = "g" + blake2b(text.encode(), digest_size=6).hexdigest()
    return Compiled(name, generation, text, len(identity.namespaces), scoring.rule_count)


@dataclass(frozen=True)
class Told:
    """One activation."""

    at: datetime
    action: str
    generation: str


@dataclass(frozen=True)
class Job:
    """The running job as this page talks to it: what it writes, the log it reads, and how long it is waited for."""

    store: Store
    log: Log
    timeout: float = 600.0
    progress: Callable[[str], None] = lambda _: None
    while_waiting: Callable[[], None] = lambda: None
    """Called often while the job works; may raise."""
    derived: Callable[[int, int], None] = lambda done, total: None
    """Told (profiles written, profiles that there will be) while a generation takes long to derive."""

    def tell(self, workspace: str, action: Action, generation: str, ruleset: str = "") -> None:
        """Append a record and return when the job has done what it says; Problem when that takes too long."""
        since = _newest(self.store, workspace, generation)
        self._append(workspace, action, generation, ruleset)
        marks = self.log.mark([workspace])
        look_at = time.monotonic() + _PATIENCE_S

        def look(*_: int) -> None:
            nonlocal look_at
            self.while_waiting()
            if action == "open" and time.monotonic() >= look_at:
                self.derived(*_derived(self.store, workspace, generation, since))
                look_at = time.monotonic() + _LOOK_EVERY_S

        if wait_for(marks, self.store, self.timeout, look):
            raise Problem("bad_request", f"{action} {generation} is in the log, but the job lags; "
                          "`kintsugi status` says why, `kintsugi wait` waits for it.")  # fmt: skip

    def close(self, workspace: str, generation: str) -> None:
        """Have a generation dropped, and return when that is on record: whoever opens it again comes after it.

        The job forgets what it derived in its own time, which nobody needs to wait for.
        """
        self._append(workspace, "close", generation)
        self.await_that(
            lambda: generation not in open_generations(self.store, workspace),
            f"{generation} is not closed yet",
        )

    def await_that(self, is_so: Callable[[], bool], otherwise: str) -> None:
        """Return when something is so in the store; Problem with what is said otherwise when that takes too long."""
        deadline = time.monotonic() + self.timeout
        while not is_so():
            if time.monotonic() > deadline:
                raise Problem("bad_request", f"{otherwise}; see `kintsugi status`.")
            self.while_waiting()
            time.sleep(0.2)

    def _append(self, workspace: str, action: Action, generation: str, ruleset: str = "") -> None:
        self.progress(f"{workspace}: {action} {generation}")
        record = Generation(
            workspace=workspace, at=now_us(), id=uuid.uuid4().hex, action=action, generation=generation, ruleset=ruleset
        )  # fmt: skip
        self.log.append([record]).result(30)


def apply(settings: Settings, job: Job, name: str) -> tuple[str, bool]:
    """Derive by the files as they are now, then switch to it; (generation, whether anything changed).

    Returns when the generation is in force; the one before stays open, so that `rollback` is instant, older ones
    are closed. Problem when that takes too long; the switch then happens as soon as the job gets there.
    """
    compiled = check(settings, name)
    if in_force(job.store, name) == compiled.generation:
        return compiled.generation, False
    _switch(job, name, compiled.generation, compiled.ruleset)
    return compiled.generation, True


def rollback(job: Job, name: str) -> str:
    """Put in force what was in force before the last switch, and name it; a second time goes forth again.

    Instant while that generation is open, as it is after `apply`; else it is derived anew from all evidence.
    Problem when there was none before.
    """
    now = in_force(job.store, name)
    before = [
        told for told in history(job.store, name) if told.action == "activate" and told.generation != now
    ]
    if not before:
        raise Problem("bad_rules", f"In {name} no other rules were ever in force.")
    generation = before[-1].generation
    _switch(job, name, generation, _ruleset_of(job.store, name, generation))
    return generation


def preview(settings: Settings, job: Job, name: str, *, keep: bool = False) -> Preview:
    """What would change if the files as they are now were applied; the live generation goes on meanwhile.

    The files' generation is opened beside it, unless it is open, and closed again afterwards, unless `keep`: then
    `apply` need not derive it again. Problem when nothing is in force yet, or when the files are what is in force.
    """
    compiled = check(settings, name)
    now = in_force(job.store, name)
    if not now:
        raise Problem("bad_rules", f"Nothing is in force in {name} yet: `kintsugi rules apply -w {name}`.")
    if now == compiled.generation:
        raise Problem("bad_rules", f"The files of {name} are what is in force ({now}).")
    was_open = compiled.generation in open_generations(job.store, name)
    try:
        if not was_open:
            job.tell(name, "open", compiled.generation, compiled.ruleset)
        return difference(job.store, name, now, compiled.generation)
    finally:
        if not was_open and not keep:
            job.close(name, compiled.generation)


def _switch(job: Job, name: str, generation: str, ruleset: str) -> None:
    """Open unless it is open, activate, and close what is neither in force nor was before."""
    before = in_force(job.store, name)
    opened = open_generations(job.store, name)
    if generation not in opened:
        job.tell(name, "open", generation, ruleset)
    job.tell(name, "activate", generation)
    job.await_that(lambda: in_force(job.store, name) == generation, f"{generation} is not in force yet")
    for old in sorted(opened - {generation, before}):
        job.close(name, old)


def open_generations(store: Store, name: str) -> set[str]:
    """Generations that the job derives, or will when it gets there: those whose newest word is not `close`."""
    newest = {told.generation: told.action for told in history(store, name) if told.action != "activate"}
    return {generation for generation, action in newest.items() if action == "open"}


def _newest(store: Store, name: str, generation: str) -> dict[str, int]:
    """Newest versions of a generation's rows of profiles and map."""
    of = "WHERE workspace = {w:String} AND generation = {g:String}"
    ((row, mapped),) = store.query_rows(
        f"SELECT (SELECT max(version) FROM kintsugi_store.profile_rows {of}),"
        f" (SELECT max(version) FROM kintsugi_store.identity_map {of})",
        {"w": name, "g": generation},
    )
    return {"row": int(row or 0), "mapped": int(mapped or 0)}


def _derived(store: Store, name: str, generation: str, since: dict[str, int]) -> tuple[int, int]:
    """Profiles of a generation written `since`, and about how many there will be; the map is there before them."""
    of = "WHERE workspace = {w:String} AND generation = {g:String} AND version >"
    ((written, known, mapped),) = store.query_rows(
        f"SELECT (SELECT count() FROM kintsugi_store.profile_rows {of} {{row:UInt64}} AND is_tombstone = 0),"
        " (SELECT uniqExact(identifier_id) FROM kintsugi_store.identifiers WHERE workspace = {w:String}),"
        f" (SELECT count() FROM kintsugi_store.identity_map {of} {{mapped:UInt64}} AND profile_id != identifier_id)",
        {"w": name, "g": generation, **since},
    )
    return int(written), max(0, int(known) - int(mapped))


def _ruleset_of(store: Store, name: str, generation: str) -> str:
    ((ruleset,),) = store.query_rows(
        "SELECT ruleset FROM kintsugi_store.generations FINAL"
        " WHERE workspace = {w:String} AND generation = {g:String}",
        {"w": name, "g": generation},
    )
    return str(ruleset)


def in_force(store: Store, name: str) -> str:
    """Name of the generation in force; empty before the first one."""
    rows = store.query_rows(
        "SELECT generation FROM kintsugi_store.in_force FINAL WHERE workspace = {workspace:String}",
        {"workspace": name},
    )
    return str(rows[0][0]) if rows else ""


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
    scope = ""
    if spec.scope:
        scope, colon, value = value.partition(":")
        if not (scope and colon):
            raise Problem("bad_rules", f"{namespace} needs its {spec.scope}: {spec.scope}:value.")
    form = normalize(spec, value, workspace.region)
    if form is None:
        raise Problem("bad_rules", f"{value!r} has no normal form as {namespace}: no event can carry it.")
    return identifier_id(keys.pepper, namespace, scope, form)


def scoring_of(settings: Settings, name: str) -> ScoringRules:
    """What scoring.yaml and the files of segments/ say now. Problem with file, line and column."""
    return with_segments(parsed(settings, name, "scoring.yaml", parse_scoring), _segments(settings, name))


def _segments(settings: Settings, name: str) -> list[Segment]:
    """Segments of the folder `segments/`, one a file. Problem when two have one name."""
    found: dict[str, Segment] = {}
    for file in workspaces.files_in(settings, name, "segments"):
        segment = parsed(settings, name, file, parse_segment)
        if segment.name in found:
            raise Problem(
                "bad_rules", f"{settings.config / name / file}: there is another segment {segment.name}"
            )
        found[segment.name] = segment
    return list(found.values())


def parsed(settings: Settings, name: str, file: str, parse: Callable[[str], _T]) -> _T:
    """What a file of the workspace says. Problem with the file before line and column."""
    try:
        return parse(workspaces.read_file(settings, name, file))
    except Problem as problem:
        if not problem.pointer:
            raise
        where = f"{settings.config / name / file}:{problem.pointer}"
        raise Problem(problem.code, f"{where}: {problem.detail}") from None
