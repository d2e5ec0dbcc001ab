"""Sending events to a collector over HTTP, as a server SDK does: batches over a few kept-alive connections.

Invariant: an event is counted once, when a batch that holds it was answered; a batch without an answer is
sent again as it is, and its events have the same ids. Proxies of the environment are not used.
"""

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from queue import SimpleQueue
from threading import Event as Flag
from typing import Any
from urllib.parse import urlsplit

import orjson

MAX_BODY_BYTES = 4_000_000
"""A batch is closed before its body grows past this (the collector's cap is 5 MB)."""
_TIMEOUT = 30.0
_LONGEST_PAUSE = 5.0


class SendError(Exception):
    """The collector refused a batch for good (`status`), or could not be reached in time (`status` 0)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the collector answered {status}: {detail}" if status else detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the events."""

    accepted: int
    rejected: int
    seconds: float


def send_events(
    url: str,
    write_key: str,
    events: Iterable[Mapping[str, Any] | bytes],
    *,
    batch_size: int = 250,
    connections: int = 4,
    patience: float = 300.0,
    progress: Callable[[int, int], None] | None = None,
) -> Sent:
    """Post events (dicts, or JSON as bytes) to `url`/v1/batch, `connections` batches at a time.

    With one connection the order is kept. 429 is waited out as Retry-After says; lost connections and 5xx are
    tried again with growing pauses, until a batch stayed without answer for `patience` seconds. `progress`
    gets the totals (accepted, rejected) after each batch, in the calling thread. Raises SendError.
    """
    started = time.monotonic()
    link = _Link(url, write_key, connections, patience)
    accepted = rejected = 0
    pending: set[Future[tuple[int, int]]] = set()
    with ThreadPoolExecutor(connections) as pool:
        try:
            for body in _batches(events, batch_size):
                pending.add(pool.submit(link.post, body))
                while len(pending) >= 2 * connections:
                    accepted, rejected = _settle(pending, accepted, rejected, progress)
            while pending:
                accepted, rejected = _settle(pending, accepted, rejected, progress)
        finally:
            link.stop()
            pool.shutdown(cancel_futures=True)
            link.close()
    return Sent(accepted, rejected, time.monotonic() - started)


def _settle(
    pending: set[Future[tuple[int, int]]],
    accepted: int,
    rejected: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Wait for at least one batch, take it out of `pending`; the new totals."""
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    pending -= done
    for future in done:
        good, bad = future.result()
        accepted, rejected = accepted + good, rejected + bad
        if progress:
            progress(accepted, rejected)
    return accepted, rejected


def _batches(events: Iterable[Mapping[str, Any] | bytes], batch_size: int) -> Iterator[bytes]:
    """Bodies of at most `batch_size` events and MAX_BODY_BYTES, but at least one event."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        data = event if isinstance(event, bytes) else orjson.dumps(event)
        if batch and (len(batch) == batch_size or size + len(data) > MAX_BODY_BYTES):
            yield b'{"batch":[' + b",".join(batch) + b"]}"
            batch, size = [], 0
        batch.append(data)
        size += len(data) + 1
    if batch:
        yield b'{"batch":[' + b",".join(batch) + b"]}"


class _Link:
    """A pool of connections to one collector; every method may be called from any thread."""

    def __init__(self, url: str, write_key: str, connections: int, patience: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https URL")
        make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._path = parts.path.rstrip("/") + "/v1/batch"
        key = base64.b64encode(f"{write_key}:".encode()).decode()
        self._headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
        self._patience = patience
        self._stopped = Flag()
        self._connections: SimpleQueue[HTTPConnection] = SimpleQueue()
        self._count = connections
        for _ in range(connections):
            self._connections.put(make(parts.hostname, parts.port, timeout=_TIMEOUT))

    def stop(self) -> None:
        """Let waiting batches give up at once."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections; every batch must have ended."""
        for _ in range(self._count):
            self._connections.get().close()

    def post(self, body: bytes) -> tuple[int, int]:
        """Send one batch until it is answered; (accepted, rejected). Raises SendError."""
        connection = self._connections.get()
        try:
            return self._persist(connection, body)
        finally:
            self._connections.put(connection)

    def _persist(self, connection: HTTPConnection, body: bytes) -> tuple[int, int]:
        deadline = time.monotonic() + self._patience
        pause, trouble = 0.0, ""
        while not self._stopped.is_set():
            wanted = pause
            try:
                connection.request("POST", self._path, body, self._headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                trouble = f"{type(error).__name__}: {error}"
            else:
                if 200 <= response.status < 300:
                    return _counts(answer, response.status)
                trouble = answer[:500].decode("utf-8", "replace")
                if response.status == 429:
                    wanted = _retry_after(response)
                elif response.status < 500:
                    raise SendError(response.status, trouble)
            if time.monotonic() + wanted > deadline:
                raise SendError(0, f"no answer within {self._patience:g} s, last: {trouble}")
            self._stopped.wait(wanted)
            pause = min(_LONGEST_PAUSE, 2 * pause or 0.1)
        raise SendError(0, "sending was stopped")


def _retry_after(response: HTTPResponse) -> float:
    """Seconds that the answer asks to wait, at most a minute; 1 when it does not say."""
    try:
        return min(max(float(response.getheader("Retry-After", "1")), 0.05), 60.0)
    except ValueError:
        return 1.0


def _counts(answer: bytes, status: int) -> tuple[int, int]:
    """(accepted, rejected) as a collector's answer tells. Raises SendError when it is none of a collector."""
    try:
        told = orjson.loads(answer)
        return int(told["accepted"]), len(told["rejected"])
    except (ValueError, TypeError, KeyError):
        text = answer[:200].decode("utf-8", "replace")
        raise SendError(status, f"this is not a collector's answer: {text}") from None
