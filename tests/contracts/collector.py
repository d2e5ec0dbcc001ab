"""A running collector for tests: the real application on a real socket; only the log is a plain file."""

import base64
import gzip
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from api.collect import create_app
from api.keys import AccessKeys
from api.serving import server
from schemas.events import Event
from schemas.log_record import AnyRecord, Events, Raw, decode, encode

NOW = 1_795_294_592_000_000
"""The collector's clock, 2026-11-21T20:56:32Z."""


class FileLog:
    """The boundary to the log: every append is written and synced by one thread, then acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.appends: list[int] = []
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._writer = ThreadPoolExecutor(1)

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        if self.failure is not None and not isinstance(self.failure, OSError):
            raise self.failure
        return self._writer.submit(self._write, [encode(record) for record in records])

    def _write(self, lines: list[bytes]) -> None:
        self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        with self.path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        self.appends.append(len(lines))

    def records(self) -> list[Any]:
        return [decode(line) for line in self.path.read_bytes().splitlines()]

    def close(self) -> None:
        self.gate.set()
        self._writer.shutdown()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Collector:
    port: int
    log: FileLog
    home: Path
    write_key: str = ""
    read_key: str = ""
    _seen: int = field(default=0)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, names)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> Reply:
        """POST of JSON (bytes as they are) with the write key in Basic authorization; key="" sends none."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = self.write_key if key is None else key
        if given:
            headers["Authorization"] = basic(f"{given}:")
        return self.call("POST", path, data, **headers)

    def new(self) -> list[Any]:
        """Records that arrived since the last call."""
        records = self.log.records()
        fresh, self._seen = records[self._seen :], len(records)
        return fresh

    def new_events(self) -> list[Event]:
        found = [record for record in self.new() if isinstance(record, Events)]
        return [msgspec.json.decode(item.e, type=Event) for record in found for item in record.batch]

    def new_rejects(self) -> list[tuple[str, str, bytes]]:
        """(code, pointer, bytes) of each."""
        found = [record for record in self.new() if isinstance(record, Raw)]
        return [(i.code, i.pointer, base64.b64decode(i.data)) for record in found for i in record.items]


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def zipped(body: Any) -> bytes:
    return gzip.compress(json.dumps(body).encode(), mtime=0)


@contextmanager
def running(home: Path, log: FileLog, limits: dict[str, Any] | None = None, **options: Any) -> Iterator[int]:
    """The port of a collector that serves in a thread; `limits` are those of connections."""
    settings = {"now": lambda: NOW, "key_generation": lambda workspace: 7, **options}
    web = server(create_app(log, AccessKeys(home), **settings), **(limits or {}))
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not web.started:
        assert time.monotonic() < deadline, "the collector does not start"
        time.sleep(0.01)
    try:
        yield web.servers[0].sockets[0].getsockname()[1]
    finally:
        web.should_exit = True
        thread.join(10)
