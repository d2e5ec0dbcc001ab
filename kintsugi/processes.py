"""One supervised process: started, watched, restarted with back-off, stopped.

Invariant: at any time at most one copy of a program runs, and its process entry is published as soon as its
pid is known, so that a supervisor killed at any moment leaves nothing that the next one cannot recognise.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from kintsugi.endpoints import ProcessEntry, signal_group, start_mark

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _CALM_S = 0.2, 10.0, 30.0
_LOG_LIMIT = 20_000_000


@dataclass(frozen=True)
class Program:
    """What to run and how to know that it is well. Times in seconds."""

    name: str
    command: Callable[[], list[str]]
    """Made anew for each start."""
    environment: Mapping[str, str]
    log: Path
    health_url: str = ""
    """http: a GET is answered; tcp: a connection is accepted; empty: it is well while it runs."""
    needs_200: bool = True
    """False for what reports the ill health of others too: any answer shows that it is not wedged."""
    patience: float = 10.0
    """Without a good answer for this long it is killed and started again: it may be wedged."""
    startup: float = 60.0
    """The same until its first good answer."""
    grace: float = 10.0
    """From SIGTERM to SIGKILL."""
    inherited: tuple[int, ...] = field(default=())
    """File descriptors it inherits (the collector's listening socket)."""


class Supervised:
    """A program in the care of its own thread; `publish` is called after every change of `entry`.

    `after_exit` is called each time the program ended without having been asked to.
    """

    def __init__(
        self, program: Program, publish: Callable[[], None], after_exit: Callable[[], None] = lambda: None
    ) -> None:
        self.program = program
        self.entry = ProcessEntry(pid=0, start_mark="", state="stopped")
        self.is_well = threading.Event()
        self._publish = publish
        self._after_exit = after_exit
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(trust_env=False, timeout=3)
        self._thread = threading.Thread(target=self._run, name=program.name, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """SIGTERM, after the grace SIGKILL; returns when the process is gone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._http.close()
        self._set(state="stopped")

    def restart(self) -> None:
        """Kill the process; its thread starts it again."""
        process = self._process
        if process and process.poll() is None:
            signal_group(process.pid, signal.SIGKILL)

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._spawn()
            self._watch()
            self.is_well.clear()
            if self._stopping.is_set():
                return
            self._after_exit()
            pause = _FIRST_PAUSE_S if time.monotonic() - begun > _CALM_S else pause
            self._set(state="backing off", restarts=self.entry.restarts + 1)
            self._stopping.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _spawn(self) -> None:
        program = self.program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        if program.log.exists() and program.log.stat().st_size > _LOG_LIMIT:
            program.log.replace(program.log.with_suffix(".log.1"))
        with program.log.open("ab") as output:
            self._process = subprocess.Popen(
                program.command(),
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=program.inherited,
                start_new_session=True,
            )
        pid = self._process.pid
        self._set(pid=pid, start_mark=start_mark(pid), state="starting", started_at=time.time())

    def _watch(self) -> None:
        """Until the process has ended, by itself, for ill health, or because it shall stop."""
        assert self._process is not None
        deadline = time.monotonic() + self.program.startup
        next_check = 0.0
        while self._process.poll() is None:
            if self._stopping.is_set():
                self._end("stopped")
                return
            if time.monotonic() >= next_check:
                if self._answers():
                    deadline = time.monotonic() + self.program.patience
                    if not self.is_well.is_set():
                        self._set(state="running")
                        self.is_well.set()
                elif time.monotonic() > deadline:
                    signal_group(self._process.pid, signal.SIGKILL)
                    self._process.wait()
                    self._set(last_exit="killed: it did not answer its health check")
                    return
                next_check = time.monotonic() + (1.0 if self.is_well.is_set() else 0.1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.1)
        # what it started in its group (a Python worker, a driver) must not outlive it
        signal_group(self._process.pid, signal.SIGKILL)
        self._set(last_exit=exit_text(self._process.returncode))

    def _answers(self) -> bool:
        if not self.program.health_url:
            return True
        address = urlsplit(self.program.health_url)
        if address.scheme == "tcp":
            with socket.socket() as probe:
                probe.settimeout(3)
                return probe.connect_ex((address.hostname, address.port)) == 0
        try:
            answer = self._http.get(self.program.health_url)
            return answer.status_code == 200 or not self.program.needs_200
        except httpx.HTTPError:
            return False

    def _end(self, reason: str) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=self.program.grace)
        except subprocess.TimeoutExpired:
            reason = f"killed: still there {self.program.grace:.0f} s after SIGTERM"
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._set(last_exit=reason)

    def _set(self, **changes: object) -> None:
        for name, value in changes.items():
            setattr(self.entry, name, value)
        self._publish()


def exit_text(code: int) -> str:
    """How a process ended.

    >>> exit_text(-9), exit_text(3)
    ('killed by SIGKILL', 'exit code 3')
    """
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def last_lines(log: Path, count: int = 1) -> str:
    """The last non-empty lines of a log, for people; empty when there is none."""
    try:
        with log.open("rb") as content:
            content.seek(max(0, log.stat().st_size - 4096))
            lines = content.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])
