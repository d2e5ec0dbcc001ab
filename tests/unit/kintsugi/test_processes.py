"""A supervised process comes back however it went, and goes when it shall."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kintsugi.endpoints import is_alive
from kintsugi.flink import child_environment
from kintsugi.ports import free_port
from kintsugi.processes import Program, Supervised, last_lines
from kintsugi.settings import Settings

SERVER = """
import http.server, pathlib, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if pathlib.Path(sys.argv[2]).exists() else 200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

Start = Callable[..., Supervised]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    children: list[Supervised] = []

    def start(code: str, *arguments: str, **options: object) -> Supervised:
        program = Program(
            name="child",
            command=lambda: [sys.executable, "-c", code, *arguments],
            environment=child_environment(Settings.load({"KINTSUGI_HOME": str(tmp_path)})),
            log=tmp_path / "logs" / "child.log",
            **options,  # type: ignore[arg-type]
        )
        children.append(Supervised(program, lambda: None))
        children[-1].start()
        return children[-1]

    yield start
    for child in children:
        child.stop()


def eventually(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_process_comes_back(start: Start) -> None:
    child = start("import time; time.sleep(60)")
    eventually(child.is_well.is_set)
    first = child.entry.pid
    child.restart()
    eventually(lambda: child.is_well.is_set() and child.entry.pid != first)
    assert (child.entry.restarts, child.entry.last_exit) == (1, "killed by SIGKILL")


def test_pauses_grow_while_it_cannot_start(start: Start) -> None:
    child = start("print('no such port'); raise SystemExit(3)")
    eventually(lambda: child.entry.restarts >= 3)
    assert child.entry.last_exit == "exit code 3"
    assert last_lines(child.program.log) == "no such port"
    time.sleep(0.5)
    assert child.entry.restarts <= 4


def test_a_process_that_answers_badly_for_too_long_is_replaced(start: Start, tmp_path: Path) -> None:
    port, ill = free_port(28700), tmp_path / "ill"
    child = start(SERVER, str(port), str(ill), health_url=f"http://127.0.0.1:{port}/", patience=0.5)
    eventually(child.is_well.is_set)
    first = child.entry.pid
    ill.touch()
    eventually(lambda: child.entry.pid != first)
    assert "health" in child.entry.last_exit
    ill.unlink()
    eventually(child.is_well.is_set)


def test_a_process_that_reports_the_illness_of_others_is_left_alone(start: Start, tmp_path: Path) -> None:
    port, ill = free_port(28720), tmp_path / "ill"
    ill.touch()
    url = f"http://127.0.0.1:{port}/"
    child = start(SERVER, str(port), str(ill), health_url=url, patience=0.3, needs_200=False)
    eventually(child.is_well.is_set)
    time.sleep(1.0)
    assert child.entry.restarts == 0


def test_stop_takes_the_whole_process_group(start: Start, tmp_path: Path) -> None:
    code = "import subprocess,sys,time; subprocess.Popen(['sleep', '61']); print('up', flush=True); time.sleep(60)"
    child = start(code)
    eventually(lambda: last_lines(child.program.log) == "up")
    known = child.entry
    child.stop()
    assert not is_alive(known)
    assert child.entry.state == "stopped"


def test_children_see_no_proxy_and_a_utf8_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("LC_ALL", "C")
    environment = child_environment(Settings.load({"KINTSUGI_HOME": str(tmp_path)}))
    assert "HTTP_PROXY" not in environment
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
