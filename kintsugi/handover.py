"""Hand-over: the journal of a workspace, written change by change to where a CRM reads it.

Invariant: the place to go on from is the last change that the target itself holds durably, so nothing is missed when a
target or a hand-over dies; a change may come twice, under the same `change_id`. The journal is read in the order of
versions: what an attempt of the job that was taken for dead writes after its successor began can lie behind the cursor.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import orjson
import structlog

from api.changes import MOST_CHANGES, Change, read
from kintsugi import connections, endpoints, workspaces
from kintsugi.settings import Settings
from schemas.errors import Problem
from store.client import Store

_log = structlog.get_logger(__name__)
PAUSE_S = 1.0
_TAIL = 1 << 16
"""Bytes that the last line of a file may have."""
_HEAD = b'{"workspace":'
"""How a line begins."""


class Target(Protocol):
    """Where changes go."""

    def cursor(self) -> str:
        """Of the last change that it holds; empty: of none."""

    def write(self, changes: Sequence[tuple[str, bytes]]) -> None:
        """Takes (profile_id, line) in their order; they are durable when this returns. Raises Problem, OSError."""

    def close(self) -> None: ...


def line_of(workspace: str, change: Change) -> bytes:
    """A change as one line of JSON: what `GET /v1/changes` says of it, and the workspace."""
    return orjson.dumps({"workspace": workspace, **change.model_dump(mode="json")})


def hand_over(store: Store, workspace: str, target: Target, after: str = "") -> Iterator[int]:
    """Write what the journal holds behind the target's cursor (or `after`), a page at a time; the size of each.

    Goes on for ever, with 0 where there is nothing new.
    """
    cursor = after or target.cursor()
    while True:
        changes = read(store, workspace, cursor, MOST_CHANGES)
        if changes:
            target.write([(change.profile_id, line_of(workspace, change)) for change in changes])
            cursor = changes[-1].cursor
        yield len(changes)


class StandardOutput:
    """Lines on standard output, which holds nothing: it begins where it is told to."""

    def cursor(self) -> str:
        """See `Target`."""
        return ""

    def write(self, changes: Sequence[tuple[str, bytes]]) -> None:
        """See `Target`."""
        for _, line in changes:
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """See `Target`."""


def cursor_of(line: bytes, workspace: str, where: object) -> str:
    """Cursor of a line that was handed over. Problem when it is none of this workspace."""
    try:
        told = orjson.loads(line)
        found, cursor = told["workspace"], str(told["cursor"])
    except (ValueError, KeyError, TypeError):
        raise Problem("bad_request", f"The last line of {where} is no change that was handed over.") from None
    if found != workspace:
        raise Problem("bad_request", f"{where} holds the changes of workspace {found}, not of {workspace}.")
    return cursor


class FileTarget:
    """Lines at the end of a file; the last one says where to go on. One writer at a time."""

    def __init__(self, path: Path, workspace: str) -> None:
        """Cuts what a dead writer left of a line. Problem when another process writes it, or it is another file."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._cursor = self._last(workspace)
        except BaseException:
            self.close()
            raise

    def _last(self, workspace: str) -> str:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("bad_request", f"Another process hands over to {self._path}.") from None
        size = os.fstat(self._descriptor).st_size
        lines, _, torn = os.pread(self._descriptor, _TAIL, max(0, size - _TAIL)).rpartition(b"\n")
        cursor = cursor_of(lines.rpartition(b"\n")[2], workspace, self._path) if lines else ""
        if not torn.startswith(_HEAD[: len(torn)]):
            raise Problem("bad_request", f"{self._path} ends with something that was not handed over.")
        os.ftruncate(self._descriptor, size - len(torn))
        return cursor

    def cursor(self) -> str:
        """See `Target`."""
        return self._cursor

    def write(self, changes: Sequence[tuple[str, bytes]]) -> None:
        """See `Target`."""
        data = memoryview(b"".join(line + b"\n" for _, line in changes))
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def close(self) -> None:
        """See `Target`."""
        os.close(self._descriptor)


def target_of(settings: Settings, workspace: str, to: str) -> Target:
    """`-`, `kafka`, `kafka:TOPIC` or a file. Problem where it cannot be had."""
    if to == "-":
        return StandardOutput()
    kind, _, topic = to.partition(":")
    if kind != "kafka":
        return FileTarget(Path(to), workspace)
    from kintsugi.handover_kafka import KafkaTarget

    log = connections.log_settings(settings, endpoints.running(settings)) if settings.log == "kafka" else None
    brokers = log.kafka if log else settings.kafka_bootstrap
    if not brokers:
        raise Problem("bad_request", "No Kafka brokers are known; set KINTSUGI_KAFKA_BOOTSTRAP.")
    return KafkaTarget(brokers, topic or f"{workspace}.profile_changes", workspace)


def own_file(settings: Settings, workspace: str) -> Path:
    """The file that `up` hands over to."""
    return settings.home / "handover" / f"{workspace}.ndjson"


def main() -> None:
    """The process that `up` keeps: every workspace, new ones too, to what KINTSUGI_HANDOVER says, until it is ended."""
    settings = Settings.load(os.environ)
    store = connections.store(settings, endpoints.require_running(settings))
    running: dict[str, Iterator[int]] = {}
    with ExitStack() as held:
        while True:
            for name in sorted(set(workspaces.names(settings)) - running.keys()):
                to = "kafka" if settings.handover == "kafka" else str(own_file(settings, name))
                target = held.enter_context(closing(target_of(settings, name, to)))
                running[name] = hand_over(store, name, target)
            told: dict[str, Any] = {name: count for name, pages in running.items() if (count := next(pages))}
            if told:
                _log.info("handed_over", **told)
            else:
                time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
