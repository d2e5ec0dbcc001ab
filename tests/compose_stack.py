"""The services of docker/compose.yaml as processes of this machine, where no container engine is at hand.

Command, environment, mounted files and health check of each service are read from the file; only names that a
container network resolves, ports, paths of volumes and secrets are put in place of each other, by `Places`.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import yaml

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "kintsugi"]


def image_environment() -> dict[str, str]:
    """ENV of the image's last stage."""
    stage = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    lines = [line for line in stage.splitlines() if line.startswith("ENV ")]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line)[1:])


class Places:
    """What stands for what: text of the files -> text on this machine; longer keys first."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places
        self._found = re.compile("|".join(re.escape(key) for key in sorted(places, key=len, reverse=True)))

    def put(self, text: str) -> str:
        return self._found.sub(lambda found: self._places[found[0]], text)


class Service:
    """One container's main process; its output goes to a file. `places` may differ per replica."""

    def __init__(self, name: str, places: Places, secrets: dict[str, str], log: Path) -> None:
        self.name, self.log, self._places = name, log, places
        service = SERVICES[name]
        given = {**image_environment(), **service.get("environment", {}), **secrets}
        mine = {k: places.put(v) for k, v in given.items() if k not in ("PATH", "KINTSUGI_CACHE")}
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "TMPDIR", "KINTSUGI_CACHE")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, **mine, "PATH": path}
        self.command = [places.put(part) for part in service["command"]]
        self.check = [places.put(part) for part in service["healthcheck"]["test"]]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, env=self.environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return self

    def is_healthy(self) -> bool:
        assert self.check[0] == "CMD"
        return subprocess.run(
            self.check[1:], env=self.environment, cwd=ROOT, capture_output=True, check=False
        ).returncode == 0  # fmt: skip

    def await_health(self, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not self.is_healthy():
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended: {self.told()}"
            assert time.monotonic() < deadline, f"{self.name} is not healthy: {self.told()}"
            time.sleep(1.0)  # each look is a process

    def told(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def run(self, *command: str) -> str:
        """What `docker compose exec` would: a command with the service's environment."""
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.told()
        return done.stdout

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM to the main process, as a container's stop; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
