"""Starting and stopping the stack from the command line: in the foreground, detached, and `down`.

Invariant: a command stops what it started itself and nothing else; `down` alone stops what it found.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from kintsugi import endpoints
from kintsugi.endpoints import Endpoints
from kintsugi.flink import child_environment
from kintsugi.processes import last_lines
from kintsugi.settings import Settings
from schemas.errors import Problem

_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 180.0
_FOLDERS = ("log", "store", "checkpoints", "savepoints", "keys", "kafka", "logs", "run")
"""What a stack makes in its home; `delete_data` takes nothing else."""

Say = Callable[[str], None]


def foreground(settings: Settings, say: Say) -> None:
    """Be the supervisor until SIGINT or SIGTERM."""
    from kintsugi.supervisor import Supervisor  # loads Arrow and the store's client

    supervisor = Supervisor(settings, say)

    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    supervisor.run(lambda said: say(addresses(said)))


def detached(settings: Settings, say: Say) -> Endpoints:
    """Start a supervisor of its own session and return when it is ready; Ctrl-C until then stops it again."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    log = settings.logs / "supervisor.log"
    with log.open("ab") as output:
        seen = output.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "kintsugi.cli", "up"],
            env=dict(os.environ)
            | {"KINTSUGI_HOME": str(settings.home), "PYTHONPATH": child_environment(settings)["PYTHONPATH"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            with log.open("rb") as told:
                told.seek(seen)
                while (line := told.readline()).endswith(b"\n"):
                    seen = told.tell()
                    say(line.decode("utf-8", "replace").rstrip())
            said = endpoints.running(settings)
            if said and said.phase == "ready" and said.supervisor.pid == child.pid:
                return said
            if child.poll() is not None:
                raise Problem("bad_request", f"The stack did not start: {last_lines(log)} (more in {log})")
            time.sleep(0.1)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    child.terminate()
    child.wait()
    raise Problem("bad_request", f"The stack was not ready after {_START_TIMEOUT_S:.0f} s; see {log}")


def down(settings: Settings, say: Say) -> None:
    """The planned stop of the running stack, or the end of what a killed supervisor left."""
    said = endpoints.running(settings)
    if said is None:
        before = endpoints.read(settings)
        found = endpoints.stop_orphans(before.processes.items()) if before else []
        say(f"stopped what was left: {', '.join(found)}" if found else f"no stack runs for {settings.home}")
        return
    os.kill(said.supervisor.pid, signal.SIGTERM)
    say("stopping: collector, API, job with a savepoint, Flink, store")
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while endpoints.is_alive(said.supervisor):
        if time.monotonic() > deadline:
            raise Problem("bad_request", f"It still runs after {_STOP_TIMEOUT_S:.0f} s; see {settings.logs}")
        time.sleep(0.1)
    say("stopped")


def delete_data(settings: Settings) -> None:
    """Remove everything that a stack keeps in its home; the caller has asked, and no stack runs."""
    for folder in _FOLDERS:
        shutil.rmtree(settings.home / folder, ignore_errors=True)
    if settings.home.is_dir() and not any(settings.home.iterdir()):
        settings.home.rmdir()


def addresses(said: Endpoints) -> str:
    """Where the stack can be reached."""
    return (
        f"ready: collector {said.collector}, query API {said.api}, store {said.store}, "
        f"Flink's pages {said.flink}; "
        "stop with `kintsugi down`"
    )
