"""The services of docker/compose.yaml as processes of this machine, where no container engine is at hand.

Command, environment, mounted files and health check of each service are read from the file; only names that a
container network resolves, ports, paths of volumes and secrets are put in place of each other, by `Places`.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psutil
import yaml

from kintsugi.flink_rest import FlinkError, FlinkRest
from pipelines.broker import Broker
from store.client import Store
from tests import reaper
from tests.stores import TOKEN, running_endpoint

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
_T = TypeVar("_T")
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
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "TMPDIR", "KINTSUGI_CACHE", reaper.MARK)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, **mine, "PATH": path, "PYTHONPATH": str(ROOT)}
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

    def ports(self) -> set[int]:
        """On which its main process listens."""
        assert self._process is not None
        sockets = psutil.Process(self._process.pid).net_connections("tcp")
        return {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM to the main process, as a container's stop; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def kill(self) -> None:
        """kill -9 of all its processes, as the end of its container; `start` brings it back."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class ComposeStack:
    """Every service of our image by the file, on a broker with the mounted settings, all at once and without waiting.

    The embedded endpoint stands for the ClickHouse server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.home, self.workspaces = folder / "home", folder / "workspaces"
        self.home.mkdir(mode=0o700)
        self.workspaces.mkdir()
        ports = free_ports(7)
        self._rest, self._rpc, self._blob, self._collector, self._query, self._kafka, self._controller = ports
        self.collector = f"http://127.0.0.1:{self._collector}"
        self.query = f"http://127.0.0.1:{self._query}"
        self.flink = FlinkRest(f"http://127.0.0.1:{self._rest}")
        self.broker = self._make_broker()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.callback(self.flink.close)
            endpoint = held.enter_context(running_endpoint(self._folder / "store"))
            self._clickhouse = endpoint.url.removeprefix("http://")
            self.store = held.enter_context(contextlib.closing(Store(endpoint.settings)))
            held.callback(self.broker.kill)
            self._held = held.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def service(self, name: str, replica: int = 0, **environment: str) -> Service:
        """A service, started; `environment` comes before that of the file."""
        conf = self._folder / f"flink-{name}-{replica}"
        places = Places({
            "jobmanager:8081": f"127.0.0.1:{self._rest}", "127.0.0.1:8081": f"127.0.0.1:{self._rest}",
            "rest.port: 8081": f"rest.port: {self._rest}", "kafka:9092": self.broker.servers,
            "8400": str(self._collector), "8401": str(self._query), "0.0.0.0": "127.0.0.1",
            "6123": str(self._rpc), "6124": str(self._blob), "9249": str(free_ports(1)[0]),
            "address: jobmanager": "address: 127.0.0.1", "clickhouse:8123": self._clickhouse,
            "env.java.opts.all: ": "env.java.opts.all: -XX:TieredStopAtLevel=1 -XX:+UseSerialGC ",  # starts quicker
            "/var/lib/kintsugi": str(self.home), "/etc/kintsugi/workspaces": str(self.workspaces),
            "/etc/kintsugi/flink": str(conf),
        })  # fmt: skip
        shutil.copytree(DOCKER / "flink", conf, dirs_exist_ok=True)
        (conf / "config.yaml").write_text(places.put((conf / "config.yaml").read_text()))
        # the one login of the endpoint that writes is called default
        given = {"KINTSUGI_STORE_PASSWORD": TOKEN, "KINTSUGI_STORE_USER": "default", **environment}
        made = Service(name, places, given, self._folder / f"{name}-{replica}.log").start()
        self._held.callback(made.kill)
        return made

    def replicas(self, name: str) -> list[Service]:
        """All replicas that the file asks for."""
        return [self.service(name, n) for n in range(SERVICES[name].get("deploy", {}).get("replicas", 1))]

    def running_job(self, seconds: float = 150) -> str:
        """Id of the one job, once Flink runs every task of it."""
        return until(self._running_job, seconds, "no job runs")

    def busy_ports(self) -> set[int]:
        """Data ports of the TaskManagers without a free slot."""
        told = httpx.get(f"http://127.0.0.1:{self._rest}/taskmanagers", trust_env=False).json()
        return {int(each["dataPort"]) for each in told["taskmanagers"] if not each["freeSlots"]}

    def _running_job(self) -> str:
        with contextlib.suppress(httpx.HTTPError, FlinkError):
            live = [job["jid"] for job in self.flink.jobs() if job["state"] == "RUNNING"]
            return live[0] if len(live) == 1 and self.flink.is_running(live[0]) else ""
        return ""

    def _make_broker(self) -> Broker:
        text = (DOCKER / "kafka" / "server.properties").read_text()
        data = self._folder / "kafka" / "data"
        places = {"9092": str(self._kafka), "9093": str(self._controller), "//kafka:": "//127.0.0.1:",
                  "//0.0.0.0:": "//127.0.0.1:", "/var/lib/kafka/data": str(data)}  # fmt: skip
        return Broker(data.parent, self._kafka, self._controller, properties=Places(places).put(text))


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def until(find: Callable[[], _T], seconds: float, otherwise: str) -> _T:
    """What `find` returns once that is true. AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)
    return found
