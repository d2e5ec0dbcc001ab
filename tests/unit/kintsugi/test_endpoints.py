"""endpoints.json: who runs is known by pid and start mark, and only what is ours is stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kintsugi import endpoints
from kintsugi.endpoints import Endpoints, ProcessEntry
from kintsugi.settings import Settings
from schemas.errors import Problem

STUBBORN = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.load({"KINTSUGI_HOME": str(tmp_path / "家 a")})
    settings.run.mkdir(parents=True)
    return settings


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def entry(pid: int, mark: str | None = None) -> ProcessEntry:
    return ProcessEntry(pid, endpoints.start_mark(pid) if mark is None else mark, "running")


def test_what_was_written_is_read_back(settings: Settings) -> None:
    said = Endpoints("ready", entry(os.getpid()), collector="http://127.0.0.1:1")
    endpoints.write(settings, said)
    assert endpoints.read(settings) == said
    assert endpoints.running(settings) == said


def test_a_torn_or_missing_file_is_no_stack(settings: Settings) -> None:
    assert endpoints.read(settings) is None
    settings.endpoints_file.write_text('{"phase": "rea')
    assert endpoints.running(settings) is None
    with pytest.raises(Problem, match="kintsugi up"):
        endpoints.require_running(settings)


def test_a_supervisor_that_is_gone_does_not_run(settings: Settings) -> None:
    endpoints.write(settings, Endpoints("ready", entry(os.getpid(), "an earlier boot:1")))
    assert endpoints.running(settings) is None


def test_an_orphan_that_ignores_sigterm_is_killed(child: subprocess.Popen[bytes]) -> None:
    assert endpoints.stop_orphans([("store", entry(child.pid))], grace=0.2) == ["store"]
    assert child.wait(5) == -signal.SIGKILL


def test_a_pid_that_now_belongs_to_somebody_else_is_not_signalled(child: subprocess.Popen[bytes]) -> None:
    assert endpoints.stop_orphans([("store", entry(child.pid, "another boot:5"))], grace=0.2) == []
    assert child.poll() is None


def test_a_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    known = entry(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not endpoints.is_alive(known)
