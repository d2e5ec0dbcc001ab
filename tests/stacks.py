"""A whole stack for tests, started and driven as a user does: by the command line, on a home of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from kintsugi import connections, endpoints
from kintsugi.digest import Digest, digest
from kintsugi.endpoints import Endpoints
from kintsugi.send import Sent, send_events
from kintsugi.settings import Settings
from pipelines.log import Log
from schemas.log_record import Events, Item
from store import keyring
from store.client import Store

ROOT = Path(__file__).parent.parent
_PORTS = {
    f"KINTSUGI_{name}_PORT": str(20_000 + os.getpid() % 1000 * 10 + offset)
    for name, offset in (("COLLECTOR", 0), ("API", 1), ("STORE", 2), ("FLINK", 3), ("KAFKA", 6))
}
"""Where this run begins to look for free ones: two stacks that start at once must not look in one place."""


class Stack:
    """`kintsugi up` on `home`; every method does what a user of the command line or of HTTP does."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        self.config = home / "rules"
        self.config.mkdir(parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KINTSUGI_")}
        self.env = {**clean, **_PORTS, "KINTSUGI_HOME": str(home), "KINTSUGI_CONFIG": str(self.config), **env}
        self.write_keys: dict[str, str] = {}
        self.read_keys: dict[str, str] = {}

    def cli(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Output of a kintsugi command; its error text is in the failure when it does not exit with 0."""
        run = subprocess.run(
            [sys.executable, "-m", "kintsugi.cli", *arguments],
            env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check:
            assert run.returncode == 0, (
                f"{arguments}: {run.stdout[-2000:]}{run.stderr[-2000:]}\n{self.logs()}"
            )
        return run.stdout + ("" if check else run.stderr)

    def logs(self) -> str:
        """Last lines of every log, for the text of a failure."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in found)

    def up(self) -> "Stack":
        self.cli("up", "--detach", timeout=400)
        return self

    def down(self) -> None:
        self.cli("down", timeout=200)

    def kill(self) -> None:
        """End everything at once, as a power cut does."""
        said = endpoints.read(self.settings)
        if said is None:
            return
        for pid in [said.supervisor.pid, *(entry.pid for entry in said.processes.values())]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    # reading ---------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        return Settings.load(self.env)

    @property
    def said(self) -> Endpoints:
        """Addresses and processes."""
        found = endpoints.read(self.settings)
        assert found is not None
        return found

    @property
    def store(self) -> Store:
        return connections.store(self.settings, self.said)

    def log(self) -> Log:
        return connections.log(self.settings, self.said)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cli("status", "--json"))
        return found

    def digest(self, workspace: str) -> Digest:
        return digest(self.store, workspace)

    def count(self, table: str, workspace: str, condition: str = "1") -> int:
        """Distinct rows of a table of kintsugi_store."""
        sql = (
            f"SELECT count() FROM kintsugi_store.{table} FINAL WHERE workspace = {{w:String}} AND {condition}"
        )
        return int(self.store.query_rows(sql, {"w": workspace})[0][0])

    # workspaces ------------------------------------------------------------------------------------------

    def workspace(self, name: str, files: Mapping[str, str], secrets: "Path | None" = None) -> str:
        """Create a workspace with these files and put its rules in force; `secrets`: keys of another stack's."""
        folder = self.config / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        told = self.cli("workspace", "create", name)
        words = told.split()
        self.write_keys[name] = next(word for word in words if word.startswith("kw_"))
        self.read_keys[name] = next(word for word in words if word.startswith("kr_"))
        if secrets is not None:
            shutil.copyfile(secrets, self.keys_file(name))
        self.cli("rules", "apply", "--workspace", name)
        return name

    def keys_file(self, workspace: str) -> Path:
        """The only key generation of a workspace."""
        return self.home / "keys" / workspace / "1.json"

    # sending ---------------------------------------------------------------------------------------------

    def send(self, workspace: str, events: Iterable[Mapping[str, Any] | bytes], **options: Any) -> Sent:
        """Through the HTTP collector."""
        return send_events(self.said.collector, self.write_keys[workspace], events, **options)

    def append(self, workspace: str, items: list[Item], received_at: int, size: int = 1000) -> None:
        """Admitted events straight into the log, as `kintsugi ingest` does; durable when this returns."""
        generation = keyring.load(self.home, workspace).generation
        last = None
        with self.log() as log:
            for start in range(0, len(items), size):
                batch = items[start : start + size]
                record = Events(
                    workspace=workspace,
                    source="test",
                    received_at=received_at,
                    key_generation=generation,
                    batch=batch,
                )
                if last is not None and start % (50 * size) == 0:
                    last.result(60)  # the log refuses what would wait for the disk beyond measure
                last = log.append([record])
            if last is not None:
                last.result(60)

    def wait(self, timeout: float = 240) -> None:
        self.cli("wait", "--timeout", str(timeout), timeout=timeout + 30)

    def lookup(self, workspace: str, *identifiers: tuple[str, str]) -> list[dict[str, Any]]:
        """Answer of the query API for (namespace, value) pairs."""
        asked = [{"namespace": namespace, "value": value} for namespace, value in identifiers]
        answer = httpx.post(
            f"{self.said.api}/v1/profiles/lookup", json={"identifiers": asked}, timeout=30, trust_env=False,
            headers={"Authorization": f"Bearer {self.read_keys[workspace]}"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    # faults ----------------------------------------------------------------------------------------------

    def pid(self, process: str) -> int:
        return self.said.processes[process].pid

    def kill_process(self, process: str) -> int:
        """kill -9; the pid that died."""
        pid = self.pid(process)
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_new_process(self, process: str, old_pid: int, seconds: float = 60) -> float:
        """Seconds until the supervisor runs a new one."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            entry = self.said.processes[process]
            if entry.pid != old_pid and psutil.pid_exists(entry.pid) and entry.state == "running":
                return time.monotonic() - started
            time.sleep(0.05)
        raise AssertionError(f"{process} was not restarted\n{self.logs()}")
