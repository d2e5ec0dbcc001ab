"""Keeps exactly one copy of the job running, from the newest restore point that works.

The JobManager forgets all jobs when it dies, and a job that restarts never reaches FAILED; so the keeper asks
over REST what runs and decides from that alone. Invariant: a job is submitted only when the JobManager has
just said that none runs, and never without state while a restore point exists, unless told so.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from kintsugi.endpoints import JobEntry
from kintsugi.flink import Cluster, file_url
from kintsugi.flink_rest import FlinkError, FlinkRest, root_cause

_ENDED = {"FINISHED", "CANCELED", "FAILED"}
_RESTORE_FAILURE = re.compile(r"StreamOperatorStateContext|[Rr]estor|[Ss]avepoint|/chk-\d")
_START_TIMEOUT_S = 90.0
_SLOTS_TIMEOUT_S = 30.0


@dataclass(frozen=True, order=True)
class RestorePoint:
    """A complete checkpoint or savepoint."""

    modified_ns: int
    folder: Path
    source_uid: str
    """uid of the source whose position it holds."""


def restore_points(cluster: Cluster, source_uid: str) -> list[RestorePoint]:
    """Those from which a job with this source may start, newest first.

    Only a folder with `_metadata` was closed. Of another source only the newest savepoint will do: it was
    taken when that source was read to its end; an older point would need segments that have been archived.
    """
    saved = sorted(_points(cluster.savepoints, "*/*/_metadata"), reverse=True)
    own = [*saved, *_points(cluster.checkpoints, "*/*/chk-*/_metadata")]
    return sorted({*(point for point in own if point.source_uid == source_uid), *saved[:1]}, reverse=True)


def _points(root: Path, pattern: str) -> list[RestorePoint]:
    found = root.glob(pattern)
    return [RestorePoint(m.stat().st_mtime_ns, m.parent, m.relative_to(root).parts[0]) for m in found]


@dataclass(frozen=True)
class Submission:
    """What to submit: arguments of Flink's Python driver, and the uid of the source of that job."""

    arguments: tuple[str, ...]
    source_uid: str
    may_start_empty: bool = True
    """False when segments were archived that no job reads again: without state it would lack them."""


class JobKeeper:
    """Thread that keeps the job; `entry` is what `status` shows, `publish` is called when it changes.

    `prepare` is called before each submission and says what to submit.
    """

    def __init__(
        self,
        cluster: Cluster,
        prepare: Callable[[], Submission],
        restart_taskmanager: Callable[[], None],
        publish: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.entry = JobEntry()
        self.is_running = threading.Event()
        self._cluster = cluster
        self._prepare = prepare
        self._restart_taskmanager = restart_taskmanager
        self._publish = publish
        self._say = say
        self._rest = FlinkRest(cluster.url)
        self._stopping = threading.Event()
        self._without_state = False
        self._source_uid = ""
        self._refused: set[RestorePoint] = set()
        self._tried: RestorePoint | None = None
        self._suspect: RestorePoint | None = None
        self._no_slots_since = 0.0
        self._not_before = 0.0
        self._cleaned_for = ""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, timeout: float = 60.0) -> str:
        """Stop the job with a savepoint and keep it stopped; location of the savepoint, or empty."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            location = self._stop_with_savepoint(timeout)
        self._rest.close()
        return location

    def pause_while(self, action: Callable[[], None], *, without_state: bool = False) -> None:
        """Stop the job, do `action` if that gave a savepoint, go on (`without_state`: from nothing)."""
        with self._lock:
            location = self._stop_with_savepoint(60.0)
            if location or without_state:
                action()
            self._without_state = without_state
            self._refused.clear()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._lock:
                    self._keep()
            except httpx.HTTPError:
                self.is_running.clear()
                self._set(state="unknown", note="the JobManager does not answer")
            except FlinkError as error:
                self._set(note=error.reason)
            self._stopping.wait(0.5 if not self.is_running.is_set() else 1.0)

    def _keep(self) -> None:
        live = [job for job in self._rest.jobs() if job["state"] not in _ENDED]
        for extra in sorted(live, key=lambda job: int(job["start-time"]))[:-1]:
            self._say(f"two copies of the job run; cancelling {extra['jid']}")
            self._rest.cancel(extra["jid"])
        if not live:
            self.is_running.clear()
            if self._tried and self.entry.job_id and self._submitted_job_failed():
                self._refuse(self._tried, self.entry.note)
            self._submit()
            return
        newest = max(live, key=lambda job: int(job["start-time"]))
        job = newest["jid"]
        # it may be one that a killed keeper, or Flink's own client, has submitted
        self._source_uid = self._source_uid or self._prepare().source_uid
        if self._rest.is_running(job):
            self._tried = None
            self.is_running.set()
            self._set(job_id=job, state="RUNNING", note="", submitted_at=int(newest["start-time"]) / 1000)
            self._clean(job)
        else:
            self.is_running.clear()
            failure = self._rest.last_exception(job)
            note = failure[1] if failure else ""
            self._set(job_id=job, state=str(self._rest.job(job)["state"]), note=note)
            self._watch_start(job)

    def _submitted_job_failed(self) -> bool:
        """Whether the job of the last submission ended before it ran."""
        try:
            state = str(self._rest.job(self.entry.job_id)["state"])
        except FlinkError:
            return False
        if state == "FAILED":
            failure = self._rest.last_exception(self.entry.job_id)
            self._set(note=failure[1] if failure else "the job failed to start")
        return state == "FAILED"

    def _watch_start(self, job: str) -> None:
        """While a restored job comes up: when restoring itself fails, go back to the next older point."""
        if self._tried is None:
            return
        trace = self._rest.last_trace(job)
        if trace and _RESTORE_FAILURE.search(trace):
            self._refuse(self._tried, root_cause(trace))
            self._rest.cancel(job)
            self._await_end(job, 20.0)

    def _refuse(self, point: RestorePoint, why: str) -> None:
        self._say(f"restoring from {point.folder.name} failed ({why}); going back to the next older one")
        self._refused.add(point)
        self._tried = None

    def _submit(self) -> None:
        if time.monotonic() < self._not_before and not self._without_state:
            return
        if self._rest.slots() < self._cluster.settings.parallelism:
            self._set(state="waiting", note="no TaskManager is registered yet")
            self._no_slots_since = self._no_slots_since or time.monotonic()
            if time.monotonic() - self._no_slots_since > _SLOTS_TIMEOUT_S:
                self._say("the TaskManager does not register; restarting it")
                self._restart_taskmanager()
                self._no_slots_since = 0.0
            return
        self._no_slots_since = 0.0
        submission = self._prepare()
        points = [] if self._without_state else restore_points(self._cluster, submission.source_uid)
        usable = [point for point in points if point not in self._refused]
        if not usable and not self._without_state and (points or not submission.may_start_empty):
            self._refused.clear()
            self._set(state="waiting", note="no restore point works; `kintsugi state rebuild` derives anew")
            self._not_before = time.monotonic() + 30.0
            return
        point = usable[0] if usable else None
        self._source_uid = submission.source_uid
        self._set(state="submitting", note="", restored_from=str(point.folder) if point else "")
        driver_log = self._cluster.settings.logs / "jobmanager.log"
        told_before = driver_log.stat().st_size if driver_log.exists() else 0
        try:
            job = self._rest.submit(
                self._cluster.python_jar,
                list(submission.arguments),
                file_url(point.folder) if point else None,
                allow_unclaimed=point is not None and point.source_uid != self._source_uid,
                configuration={
                    "execution.checkpointing.dir": file_url(self._cluster.checkpoints / self._source_uid)
                },
            )
        except FlinkError as error:
            # the driver prints why; Flink's answer only says that it failed
            printed = _from(driver_log, told_before)
            self._set(state="refused", note=root_cause(printed) if printed.strip() else error.reason)
            self._refuse_second_time(point)
            self._stopping.wait(2.0)
            return
        self._tried, self._without_state = point, False
        self._set(job_id=job, state="submitted", submitted_at=time.time())

    def _refuse_second_time(self, point: RestorePoint | None) -> None:
        """One refusal may have had any cause; after two, an older point is tried."""
        if point and point == self._suspect:
            self._refuse(point, self.entry.note)
        self._suspect = point

    def _stop_with_savepoint(self, timeout: float) -> str:
        """Stop what runs; where it cannot write a savepoint it is cancelled, and its checkpoints remain."""
        location = ""
        try:
            for job in [job["jid"] for job in self._rest.jobs() if job["state"] not in _ENDED]:
                location = self._savepoint(job, timeout) or location
                if not location:
                    self._rest.cancel(job)
                self._await_end(job, 20.0)
        except (httpx.HTTPError, FlinkError) as error:
            self._say(f"the job did not stop in order ({error}); it will restart from its last checkpoint")
        self.is_running.clear()
        self._tried = None
        self._set(state="stopped", note="")
        return location

    def _savepoint(self, job: str, timeout: float) -> str:
        if not self._rest.is_running(job):
            return ""
        deadline = time.monotonic() + timeout
        try:
            request = self._rest.stop(job, file_url(self._cluster.savepoints / self._source_uid))
            while time.monotonic() < deadline:
                location = self._rest.stopped(job, request)
                if location:
                    return location
                time.sleep(0.1)
        except FlinkError as error:
            self._say(f"no savepoint: {error.reason}")
        return ""

    def _await_end(self, job: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._rest.job(job)["state"] not in _ENDED:
            time.sleep(0.1)

    def _clean(self, job: str) -> None:
        """After the second checkpoint of a job nothing of earlier jobs is needed."""
        if self._cleaned_for == job or self._rest.checkpoints(job)["counts"]["completed"] < 2:
            return
        kept = self._cluster.checkpoints / self._source_uid / job
        if not any(kept.glob("chk-*/_metadata")):
            return
        for folder in [*self._cluster.checkpoints.glob("*/*"), *self._cluster.savepoints.glob("*/*")]:
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)
        self._cleaned_for = job

    def _set(self, **changes: object) -> None:
        before = {name: getattr(self.entry, name) for name in changes}
        if before != changes:
            for name, value in changes.items():
                setattr(self.entry, name, value)
            self._publish()


def _from(log: Path, start: int) -> str:
    """What was printed after the first `start` bytes, at most the last 64 kB of it; empty where it is elsewhere."""
    if not log.exists():
        return ""
    with log.open("rb") as content:
        content.seek(max(start, log.stat().st_size - 65_536))
        return content.read().decode("utf-8", "replace")
