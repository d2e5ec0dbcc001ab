"""A real store for tests: the endpoint in a process of its own, on a path of its own, with all tables."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.client import Store, StoreSettings
from store.migrate import migrate

TOKEN = "test-token"
ANALYST_TOKEN = "analyst-token"
START_SECONDS = 20.0


class EndpointProcess:
    """An endpoint on `path`; `port` 0 takes any free one. Not started when the process says why:
    `RuntimeError`.
    """

    def __init__(self, path: Path, port: int = 0) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        token_file = path.parent / f"{path.name}.token"
        token_file.write_text(TOKEN)
        analyst = path.parent / f"{path.name}.analyst.token"
        analyst.write_text(ANALYST_TOKEN)
        command = [sys.executable, "-m", "store.endpoint", "--path", str(path), "--port", str(port)]
        log = path.parent / f"{path.name}.log"
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--token-file", str(token_file), "--analyst-token-file", str(analyst)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).parent.parent,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate(timeout=START_SECONDS)
            raise RuntimeError(log.read_text().strip())
        self.url: str = json.loads(line)["url"]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.settings = StoreSettings(url=self.url, token=TOKEN, timeout=60, patience=10)

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Ends the process and returns its exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, sig)
        self.process.communicate(timeout=40)
        return self.process.returncode


@contextmanager
def running_endpoint(path: Path, port: int = 0) -> Iterator[EndpointProcess]:
    """An endpoint without tables; killed at the end."""
    endpoint = EndpointProcess(path, port)
    try:
        yield endpoint
    finally:
        endpoint.stop(signal.SIGKILL)


@contextmanager
def running_store(path: Path) -> Iterator[Store]:
    """A store with all tables, on an endpoint that lives as long as the block."""
    with running_endpoint(path) as endpoint:
        store = Store(endpoint.settings)
        migrate(store)
        try:
            yield store
        finally:
            store.close()
