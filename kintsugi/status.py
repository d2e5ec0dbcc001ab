"""`kintsugi status`: what runs, how the job is, what lags, what differs from the files.

Invariant: nothing here changes anything, and what cannot be had is said instead of left out.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from kintsugi import connections, endpoints, measures, rules, workspaces
from kintsugi.endpoints import Endpoints
from kintsugi.flink_rest import FlinkError, FlinkRest
from kintsugi.processes import last_lines
from kintsugi.settings import Settings
from kintsugi.waiting import missing
from schemas.errors import Problem
from store.client import Store, StoreRefused

_ALARM_S = 30.0
"""A job that does not run, or a checkpoint older than this, is worth a warning."""


def report(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Everything as data, and the warnings; both are empty of secrets."""
    said = endpoints.running(settings) or endpoints.elsewhere(settings)
    if said is None:
        return {"home": str(settings.home), "phase": "stopped"}, []
    warnings: list[str] = []
    told: dict[str, Any] = {
        "home": str(settings.home),
        "phase": said.phase,
        "endpoints": {
            name: getattr(said, name)
            for name in ("collector", "api", "store", "flink", "kafka")
            if getattr(said, name)
        },
        "processes": {
            name: _process(settings, name, entry, warnings) for name, entry in said.processes.items()
        },
        "job": _job(said, warnings),
    }
    store = connections.store(settings, said, patience=2.0)
    for part, ask in (
        ("workspaces", lambda: _workspaces(settings, store, warnings)),
        ("lag", lambda: _lag(settings, said, store)),
    ):
        told[part] = _unless_unavailable(ask, warnings)
    told["measures"] = measures.read(settings)
    lost = told["measures"].get("kintsugi_balance_difference", {}).get("", 0)
    if lost:
        warnings.append(
            f"{lost:.0f} of the newest accepted events are neither stored, rejected nor under way"
        )
    return told, warnings


def text(told: dict[str, Any], warnings: list[str]) -> str:
    """The report for people."""
    lines = [f"home       {told['home']}", f"stack      {told['phase']}"]
    lines += [f"{name:<10} {url}" for name, url in told.get("endpoints", {}).items()]
    for name, process in told.get("processes", {}).items():
        since = f"for {_age(process['seconds'])}" if process["state"] == "running" else ""
        restarts = f", {process['restarts']} restarts ({process['last_exit']})" if process["restarts"] else ""
        lines.append(f"{name:<10} {process['state']} {since}, pid {process['pid']}{restarts}")
    if "job" in told:
        job = told["job"]
        age = job.get("checkpoint_age")
        checkpoint = "no checkpoint yet" if age is None else f"checkpoint {_age(age)} ago"
        note = f", {job['note']}" if job["note"] and job["note"] != job.get("last_exception") else ""
        lines.append(f"{'job':<10} {job['state']}, {checkpoint}{note}")
        if job.get("last_exception"):
            lines.append(f"{'':<10} last exception {job['last_exception_at']}: {job['last_exception']}")
    for name, workspace in (told.get("workspaces") or {}).items():
        counts = ", ".join(f"{count:,} {what}" for what, count in workspace["counts"].items())
        ruleset = workspace["generation"] or "no ruleset"
        lines.append(f"workspace  {name}: {counts}; {ruleset} as of {workspace['as_of'] or 'no date yet'}")
    if told.get("measures"):
        lines += _measured(told["measures"])
    if told.get("lag") is not None:
        lag = told["lag"]
        lines.append(f"{'lag':<10} {lag} segments are not in the profiles yet" if lag else "lag        none")
    return "\n".join([*lines, *(f"warning    {warning}" for warning in warnings)])


def _process(
    settings: Settings, name: str, entry: endpoints.ProcessEntry, warnings: list[str]
) -> dict[str, Any]:
    if not endpoints.is_alive(entry):
        reason = last_lines(settings.logs / f"{name}.log") or entry.last_exit
        warnings.append(f"{name} is {entry.state}: {reason}")
    return {
        "state": entry.state,
        "pid": entry.pid,
        "restarts": entry.restarts,
        "last_exit": entry.last_exit,
        "seconds": max(0.0, time.time() - entry.started_at),
    }


def _job(said: Endpoints, warnings: list[str]) -> dict[str, Any]:
    entry = said.job
    told: dict[str, Any] = {"id": entry.job_id, "state": entry.state, "note": entry.note}
    told["restored_from"] = entry.restored_from
    rest = FlinkRest(said.flink)
    try:
        if not entry.job_id:
            return told
        checkpoints = rest.checkpoints(entry.job_id)
        newest = (checkpoints.get("latest") or {}).get("completed")
        told["checkpoint_age"] = time.time() - newest["latest_ack_timestamp"] / 1000 if newest else None
        told["failed_checkpoints"] = checkpoints["counts"]["failed"]
        failure = rest.last_exception(entry.job_id)
        if failure:
            at = datetime.fromtimestamp(failure[0] / 1000, UTC)
            told["last_exception_at"], told["last_exception"] = f"{at:%Y-%m-%d %H:%M:%S} UTC", failure[1]
    except (httpx.HTTPError, FlinkError) as error:
        told["note"] = f"{entry.note}; {error}".strip("; ")
    finally:
        rest.close()
    since = time.time() - entry.submitted_at
    age = told.get("checkpoint_age")
    if entry.state != "RUNNING" and since > _ALARM_S:
        warnings.append(f"the job is {entry.state} for more than {_ALARM_S:.0f} s")
    elif since > _ALARM_S and (age is None or age > _ALARM_S):
        warnings.append("the job completes no checkpoints")
    return told


def _workspaces(settings: Settings, store: Store, warnings: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    pointers = {
        str(row[0]): row
        for row in store.query_rows(
            "SELECT workspace, generation, toString(as_of) FROM kintsugi_store.in_force FINAL"
        )
    }
    counts = {
        what: dict(store.query_rows(f"SELECT workspace, {counted} FROM {table} GROUP BY workspace"))
        for what, counted, table in (
            ("events", "uniqExact(event_id)", "kintsugi_store.events"),
            ("identifiers", "uniqExact(identifier_id)", "kintsugi_store.identifiers"),
            ("profiles", "count()", "kintsugi.profiles"),
            ("rejects", "count()", "kintsugi.rejects WHERE event_id = ''"),
        )
    }
    for name in workspaces.names(settings):
        _, generation, as_of = pointers.get(name, (name, "", ""))
        told[name] = {
            "generation": generation,
            "as_of": as_of,
            "counts": {what: int(found.get(name, 0)) for what, found in counts.items()},
        }
        warnings += differences(settings, name, str(generation))
    return told


def differences(settings: Settings, name: str, generation: str) -> list[str]:
    """What the files say differently from what is in force."""
    try:
        found = []
        if not workspaces.is_file_in_force(settings, name):
            found.append(f"{name}: workspace.yaml differs from the key generation in force; see the docs")
        wanted = rules.check(settings, name).generation
        if not generation:
            found.append(f"{name}: no rules are in force: `kintsugi rules apply -w {name}`")
        elif wanted != generation:
            found.append(
                f"{name}: the rules files differ from what is in force: `kintsugi rules preview -w {name}`"
            )
        return found
    except Problem as problem:
        return [f"{name}: {problem.detail}"]


def _lag(settings: Settings, said: Endpoints, store: Store) -> int:
    with connections.log(settings, said, patience=5.0) as log:
        return len(missing(log.mark(workspaces.names(settings)), store))


def _unless_unavailable(ask: Callable[[], Any], warnings: list[str]) -> Any:
    try:
        return ask()
    except Problem as problem:
        warnings.append(problem.detail)
    except StoreRefused as refusal:
        warnings.append(f"the store refuses: {refusal.message.splitlines()[0]}")
    return None


def _measured(values: measures.Values) -> list[str]:
    """The last measurement for people: latency, and the law that nothing is lost."""
    lines = []
    if "kintsugi_event_to_profile_seconds" in values:
        lines.append(
            f"{'latency':<10} {values['kintsugi_event_to_profile_seconds']['']:.1f} s from event to profile"
        )
    parts = {
        name: values.get(f"kintsugi_balance_{name}_events", {}).get("")
        for name in ("accepted", "landed", "rejected", "in_flight")
    }
    if None not in parts.values():
        accepted, *rest = (f"{value:,.0f} {name.replace('_', ' ')}" for name, value in parts.items())
        lines.append(f"{'balance':<10} of the newest: {accepted} = {' + '.join(rest)}")
    return lines


def _age(seconds: float) -> str:
    """A duration for people.

    >>> _age(3), _age(125), _age(7300)
    ('3 s', '2 min', '2 h')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
