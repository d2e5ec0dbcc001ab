"""The metrics that need the whole stack: measured by the supervisor, kept in run/measures.json, shown everywhere.

Invariant: names and units stand in `schemas.metrics`; what cannot be measured is left out, never guessed, and
`kintsugi_measured_seconds` tells how old the rest is.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import httpx
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kintsugi import workspaces
from kintsugi.balance import balance
from kintsugi.endpoints import Endpoints
from kintsugi.flink_rest import FlinkError, FlinkRest
from kintsugi.settings import Settings
from kintsugi.waiting import wait_for
from pipelines.log import Log
from schemas.errors import Problem
from schemas.metrics import BY_NAME
from store.client import Store, StoreRefused

INTERVAL_S = 60.0
_SETTLING_S = 15.0
"""A record may be received this long before it is durable in the log."""
_LONGEST_STRETCH_S = 600.0
_PATIENCE_S = 10.0
_MOST_DONE = 200_000
_REST = 3.0
"""Time at rest for each time of work on what nobody waits for: the job has need of the processors."""

Values = dict[str, dict[str, float]]
"""Metric -> value of its one label ("" where it has none) -> number."""

_IN_FORCE = "(workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)"
_QUESTIONS = {
    "kintsugi_stored_events": "SELECT '', count() FROM kintsugi_store.events",
    "kintsugi_stored_rejects": "SELECT toString(code), uniqExact(workspace, reject_id) FROM kintsugi_store.rejects"
    " GROUP BY code",
    "kintsugi_profiles": "SELECT '', count() FROM kintsugi_store.current_rows",
    "kintsugi_identifiers": "SELECT '', count() FROM kintsugi_store.identifiers",
    "kintsugi_excluded_identifiers": "SELECT toString(reason), count() FROM kintsugi_store.excluded_identifiers FINAL"
    f" WHERE reason != '' AND {_IN_FORCE} GROUP BY reason",
    "kintsugi_refused_links": "SELECT toString(reason), count() FROM kintsugi_store.refused_links FINAL"
    f" WHERE reason != '' AND {_IN_FORCE} GROUP BY reason",
    "kintsugi_largest_profile": "SELECT '', max(length(members)) FROM kintsugi_store.current_rows",
}


def calmly(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, and behind each a rest in proportion to what was done with it."""
    for line in lines:
        began = time.thread_time()
        yield line
        time.sleep(_REST * (time.thread_time() - began))


class Measuring:
    """A thread that measures every `INTERVAL_S` and writes what it found; a failure leaves out what failed."""

    def __init__(self, settings: Settings, said: Endpoints, store: Store, log: Log) -> None:
        self._settings, self._said, self._store, self._log = settings, said, store, log
        self._stopping = threading.Event()
        self._first_seen: dict[str, float] = {}
        self._done: set[str] = set()
        self._judged_until = time.time() - INTERVAL_S
        self._latency = 0.0
        self._thread = threading.Thread(target=self._run, name="measures", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; the last measurement stays."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            write(self._settings, self.measure())
            self._stopping.wait(INTERVAL_S)

    def measure(self) -> Values:
        """Everything that can be had now."""
        found: Values = {}
        for part in (self._way, self._stored, self._job):
            try:
                part(found)
            except (Problem, StoreRefused, httpx.HTTPError, FlinkError, OSError):
                continue
        return {"kintsugi_measured_seconds": {"": time.time()}, **found}

    def _way(self, found: Values) -> None:
        """Lag, latency and, where the job has kept up, the balance."""
        begun = time.time()
        marks = self._log.mark(workspaces.names(self._settings), self._done)
        for mark in marks:
            self._first_seen.setdefault(mark.segment, begun)
        left = wait_for(marks, self._store, _PATIENCE_S)
        lagging = {mark.segment for mark in left}
        if marks and not left:
            self._latency = time.time() - begun
        self._done = set() if len(self._done) > _MOST_DONE else self._done
        self._done |= {mark.segment for mark in marks} - lagging
        self._first_seen = {name: at for name, at in self._first_seen.items() if name in lagging}
        oldest = min(self._first_seen.values(), default=time.time())
        found["kintsugi_lag_segments"] = {"": len(left)}
        found["kintsugi_lag_seconds"] = {"": time.time() - oldest}
        found["kintsugi_event_to_profile_seconds"] = {"": self._latency}
        if not left:
            self._balance(begun, found)

    def _balance(self, marked_at: float, found: Values) -> None:
        before = marked_at - _SETTLING_S
        since = int(max(self._judged_until, before - _LONGEST_STRETCH_S) * 1e6)
        lines = calmly(self._log.read(since))
        told = balance(lines, self._store, self._settings.home, since, int(before * 1e6))
        self._judged_until = before
        for name in ("accepted", "landed", "rejected", "in_flight"):
            found[f"kintsugi_balance_{name}_events"] = {"": getattr(told, name)}
        found["kintsugi_balance_difference"] = {"": told.difference}

    def _stored(self, found: Values) -> None:
        for name, question in _QUESTIONS.items():
            found[name] = {str(label): float(value) for label, value in self._store.query_rows(question)}

    def _job(self, found: Values) -> None:
        job = self._said.job.job_id
        rest = FlinkRest(self._said.flink)
        try:
            found["kintsugi_job_running"] = {"": float(bool(job) and rest.is_running(job))}
            found["kintsugi_job_restarts"] = {"": rest.restarts(job)}
            newest = (rest.checkpoints(job).get("latest") or {}).get("completed")
            if newest:
                age = time.time() - newest["latest_ack_timestamp"] / 1000
                found["kintsugi_checkpoint_age_seconds"] = {"": age}
            found["kintsugi_step_busy_share"] = rest.busy_shares(job)
        finally:
            rest.close()


def write(settings: Settings, values: Values) -> None:
    """Replace the file; a reader sees the old one or the new one."""
    path = settings.run / "measures.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=1))
    temporary.rename(path)


def read(settings: Settings) -> Values:
    """What was measured last; empty before the first time."""
    try:
        values: Values = json.loads((settings.run / "measures.json").read_text())
    except FileNotFoundError:
        return {}
    return values


class Measured(Collector):
    """The last measurement, for Prometheus."""

    def __init__(self, last: Callable[[], Values]) -> None:
        self._last = last

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A family for each metric that was measured."""
        for name, values in self._last().items():
            metric = BY_NAME[name]
            family = GaugeMetricFamily(name, f"{metric.meaning} ({metric.unit})", labels=metric.labels)
            for label, value in values.items():
                family.add_metric([label] if metric.labels else [], value)
            yield family
