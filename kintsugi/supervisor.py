"""The embedded stack: store, Flink, collector and query API, kept running until told to stop.

Invariant: one supervisor per home (a lock that the kernel drops with it); whatever it started is recorded in
endpoints.json before it matters, so that nothing is ever orphaned for longer than until the next `up`.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from kintsugi import connections, endpoints, programs, requests, rules, workspaces
from kintsugi.calendar import due_dates, now_us
from kintsugi.endpoints import Endpoints, ProcessEntry
from kintsugi.flink import Cluster
from kintsugi.job_keeper import JobKeeper, Submission
from kintsugi.measures import Measuring
from kintsugi.ports import free_port, listen
from kintsugi.processes import Program, Supervised, last_lines
from kintsugi.roots import Roots
from kintsugi.settings import CHECKOUT, Settings
from pipelines.log import Log
from schemas.errors import Problem
from store.migrate import migrate, reset

_READY_TIMEOUT_S = 120.0
_MOST_EARLY_EXITS = 5
_LOOK_EVERY_S = 10.0


class StopAskedError(Exception):
    """The stack was told to stop while it was starting."""


class Supervisor:
    """One run of the stack. `say` gets a line for people at each step."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._stop = threading.Event()
        self._publishing = threading.Lock()
        self._children: dict[str, Supervised] = {}
        self._job: JobKeeper | None = None
        self._dates_told: dict[str, str] = {}
        pid = os.getpid()
        me = ProcessEntry(pid, endpoints.start_mark(pid), "running", started_at=time.time())
        self._endpoints = Endpoints(phase="starting", supervisor=me)

    def ask_to_stop(self) -> None:
        """Begin the planned stop; safe in a signal handler."""
        self._stop.set()

    def run(self, on_ready: Callable[[Endpoints], None] = lambda _: None) -> None:
        """Start everything, keep it, stop it when asked to.

        Problem when a stack runs already or cannot start.
        """
        with self._only_one(), ExitStack() as held:
            self._stop_orphans()
            requests.done(self._settings, requests.REBUILD)
            requests.done(self._settings, requests.REPLAY)
            try:
                log = self._start(held)
                self._endpoints.phase = "ready"
                self._publish()
                on_ready(self._endpoints)
                self._serve(log)
            except StopAskedError:
                pass
            finally:
                self._shut_down()

    # starting ----------------------------------------------------------------------------------------------

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        self._settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._settings.run / "supervisor.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem(
                    "bad_request",
                    f"A stack runs already for {self._settings.home}: `kintsugi down` stops it.",
                ) from None
            yield

    def _stop_orphans(self) -> None:
        before = endpoints.read(self._settings)
        found = endpoints.stop_orphans(before.processes.items()) if before else []
        if found:
            self._say(f"stopped what a killed supervisor had left: {', '.join(found)}")

    def _start(self, held: ExitStack) -> Log:
        settings, said = self._settings, self._endpoints
        sockets = {} if settings.is_distributed else {
            name: held.enter_context(listen(port))
            for name, port in (("collector", settings.collector_port), ("api", settings.api_port))
        }  # fmt: skip
        ports = {name: int(listener.getsockname()[1]) for name, listener in sockets.items()}
        said.collector, said.api = (
            f"http://127.0.0.1:{ports[name]}" if ports else "" for name in ("collector", "api")
        )
        taken = set(ports.values())
        if settings.has_embedded_store:
            self._make_tokens()
            port = _take(taken, settings.store_port)
            said.store = f"http://127.0.0.1:{port}"
            self._add(programs.store(settings, port))
        else:
            said.store = settings.store_url
        if settings.log == "kafka":
            said.kafka = settings.kafka_bootstrap or self._add_broker(taken)
        cluster = self._add_cluster(taken)
        self._publish()
        self._await("store")
        self._say("store answers")
        store = connections.store(settings, said)
        migrate(store, cluster=settings.store_cluster)
        self._await("kafka")
        log = held.enter_context(connections.log(settings, said))
        roots = Roots(log)
        self._roots, self._store = roots, store
        for name in sockets:
            make = programs.collector if name == "collector" else programs.query_api
            self._add(make(settings, sockets[name].fileno(), ports[name]))
        self._await("jobmanager")
        self._start_job(cluster, roots)
        self._tell_dates(log)
        self._await("collector", "api")
        if self._await_job():
            self._apply_first_rules(log)
        if settings.handover != "off":
            self._add(programs.handover(settings))
        measuring = Measuring(settings, said, connections.store(settings, said, patience=2.0), log)
        measuring.start()
        held.callback(measuring.stop)
        return log

    def _make_tokens(self) -> None:
        """A new password for the store; the analysts' stays, since people put it into their tools."""
        programs.token_file(self._settings).unlink(missing_ok=True)
        for path in (programs.token_file(self._settings), self._settings.run / connections.ANALYST_TOKEN):
            if not path.exists():
                with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as token:
                    token.write(secrets.token_hex(32))

    def _add_broker(self, taken: set[int]) -> str:
        port = _take(taken, self._settings.kafka_port)
        self._add(programs.broker(self._settings, port, _take(taken, port + 1)))
        return f"127.0.0.1:{port}"

    def _add_cluster(self, taken: set[int]) -> Cluster:
        if self._settings.is_distributed:
            cluster = Cluster(self._settings)
            self._endpoints.flink = cluster.url
            return cluster
        rest = _take(taken, self._settings.flink_port)
        cluster = Cluster(
            self._settings,
            rest_port=rest,
            rpc_port=_take(taken, rest + 1),
            blob_port=_take(taken, rest + 2),
            extra_jars=connections.connector_jars(self._settings),
        )
        cluster.prepare()
        self._endpoints.flink = cluster.url
        taskmanager = Supervised(programs.taskmanager(cluster), self._publish)
        # a JobManager that starts anew knows nothing; a fresh TaskManager brings it clean slots
        self._add(programs.jobmanager(cluster), after_exit=taskmanager.restart)
        self._children["taskmanager"] = taskmanager
        taskmanager.start()
        return cluster

    def _add(self, program: Program, after_exit: Callable[[], None] = lambda: None) -> None:
        child = Supervised(program, self._publish, after_exit)
        self._children[program.name] = child
        child.start()

    def _start_job(self, cluster: Cluster, roots: Roots) -> None:
        job_file = self._settings.run / "job.json"

        def prepare() -> Submission:
            said = self._endpoints
            said.source_uid = roots.source_uid
            config = connections.job_config(self._settings, said, roots)
            job_file.touch(mode=0o600)
            job_file.write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2))
            arguments = ("-py", str(CHECKOUT / "pipelines" / "job.py"), "--config", str(job_file))
            return Submission(arguments, said.source_uid, may_start_empty=not roots.has_archive)

        taskmanager = self._children.get("taskmanager")
        restart = taskmanager.restart if taskmanager else lambda: None  # elsewhere its container does that
        self._job = JobKeeper(cluster, prepare, restart, self._publish, self._say)
        self._endpoints.job = self._job.entry
        self._job.start()

    def _await(self, *names: str) -> None:
        """Until these children are well; Problem with the last line of its log for one that cannot start."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        for name in names:
            child = self._children.get(name)
            while child and not child.is_well.wait(0.1):
                self._go_on()
                if child.entry.restarts >= _MOST_EARLY_EXITS or time.monotonic() > deadline:
                    log = child.program.log
                    told = last_lines(log) or child.entry.last_exit
                    raise Problem("bad_request", f"The {name} does not start: {told} (more in {log})")

    def _await_job(self) -> bool:
        """Whether the job runs; not waiting for ever leaves the collector of use meanwhile."""
        assert self._job is not None
        self._say("waiting for the job")
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._job.is_running.wait(0.1):
            self._go_on()
            if time.monotonic() > deadline:
                entry = self._job.entry
                self._say(f"the job is {entry.state} ({entry.note}); `kintsugi status` says more")
                return False
        self._say("the job runs")
        return True

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise StopAskedError

    def _apply_first_rules(self, log: Log) -> None:
        for name in workspaces.names(self._settings):
            try:
                if not rules.in_force(self._store, name):
                    rules.apply(
                        self._settings, rules.Job(self._store, log, 120, self._say, self._go_on), name
                    )
            except Problem as problem:
                self._say(f"rules of {name} not applied: {problem}")

    # keeping -----------------------------------------------------------------------------------------------

    def _serve(self, log: Log) -> None:
        next_look = time.monotonic() + _LOOK_EVERY_S
        while not self._stop.wait(1.0):
            self._tell_dates(log)
            self._carry_out(requests.pending(self._settings))
            if time.monotonic() > next_look:
                self._rotate()
                next_look = time.monotonic() + _LOOK_EVERY_S

    def _tell_dates(self, log: Log) -> None:
        zones = workspaces.time_zones(self._settings)
        before = dict(self._dates_told)
        records = due_dates(zones, self._dates_told, now_us())
        if not records:
            return
        try:
            log.append(records).result(30)
        except (Problem, TimeoutError) as error:
            self._dates_told = before
            self._say(f"the date could not be told to the log yet: {error}")

    def _carry_out(self, request: str) -> None:
        """What a command asked for: the job from nothing, over the stored evidence or over the whole log."""
        if not request:
            return
        assert self._job is not None

        def forget() -> None:
            if request == requests.REPLAY:
                reset(self._store, cluster=self._settings.store_cluster)
                migrate(self._store, cluster=self._settings.store_cluster)
                self._roots.unarchive()

        try:
            self._job.pause_while(forget, without_state=True)
            self._await_job()
            self._say(f"{request}: the job has started from nothing")
        except (Problem, OSError) as error:
            self._say(f"{request} failed: {error}")
        finally:
            requests.done(self._settings, request)

    def _rotate(self) -> None:
        """Keep the directory source's state small: a root a day."""
        assert self._job is not None
        try:
            if self._roots.is_rotation_due:
                self._roots.seal()
            if self._roots.is_finished(self._store):
                self._job.pause_while(self._roots.archive)
                self._say(f"the log goes on as {self._roots.source_uid}")
        except (Problem, OSError) as error:
            self._say(f"the log could not be rotated: {error}")

    # stopping ----------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        self._say("stopping")
        self._endpoints.phase = "stopping"
        self._publish()
        for name in ("collector", "api", "handover"):
            self._stop_child(name)
        if self._job and self._job.entry.submitted_at:
            if self._job.stop():
                self._rotate_while_stopped()
        elif self._job:
            self._job.stop(timeout=0)
        for name in ("taskmanager", "jobmanager", "kafka", "store"):
            self._stop_child(name)
        self._settings.endpoints_file.unlink(missing_ok=True)
        self._say("stopped")

    def _rotate_while_stopped(self) -> None:
        """A planned stop is the cheapest moment: the next start reads a new, empty root."""
        try:
            self._roots.seal()
            if self._roots.is_finished(self._store):
                self._roots.archive()
        except Exception as error:  # noqa: BLE001 - whatever it is, the stop goes on and the next start reads on
            self._say(f"the log keeps its root: {error}")

    def _stop_child(self, name: str) -> None:
        if name in self._children:
            self._children[name].stop()

    def _publish(self) -> None:
        with self._publishing:
            self._endpoints.processes = {name: child.entry for name, child in self._children.items()}
            endpoints.write(self._settings, self._endpoints)


def _take(taken: set[int], port: int) -> int:
    found = free_port(port, taken)
    taken.add(found)
    return found
