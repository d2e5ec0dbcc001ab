"""One segment of the directory log: one writer fills it, ends it with a trailer and publishes it by rename.

Invariants: `NAME.log` is complete, ends with its trailer and never changes again; `.NAME.open` is being
written by the process that holds its lock (the kernel drops the lock with the process, so neither a reused
process id nor a restart of the machine can deceive). After a failed write or fsync a file is never written or
synced again: what it holds for certain is copied to a new file, since a second fsync may report success over
data that the first one lost.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from pipelines.log.lines import is_trailer, workspaces_of
from schemas.errors import Problem
from schemas.log_record import Trailer, decode, encode

_log = structlog.get_logger(__name__)

_TAIL = 64 << 10


class Segment:
    """An open segment. Every method raises OSError; after one from `write` only `rescue` may be called."""

    def __init__(self, folder: Path, name: str) -> None:
        """Creates and locks the file; it is in the folder durably before anything is acknowledged.

        Raises BlockingIOError in the rare case that a recovering process was faster (take another name).
        """
        self.path = folder / f".{name}.open"
        self.name = name
        self.size = 0
        self.workspaces: set[str] = set()
        self.opened_at = time.monotonic()
        self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_nlink == 0:
                raise BlockingIOError
            sync_folder(folder)
        except OSError:
            self.discard()
            raise

    def write(self, data: bytes, workspaces: Iterable[str]) -> None:
        """Adds whole lines; on return they are durable."""
        _write(self._fd, data)
        self.size += len(data)
        self.workspaces.update(workspaces)

    def publish(self) -> None:
        """Ends the segment with its trailer and makes it visible to readers."""
        _write(self._fd, _trailer(self.name, self.workspaces))
        os.rename(self.path, self.path.with_name(f"{self.name}.log"))
        os.close(self._fd)
        try:
            sync_folder(self.path.parent)
        except OSError as error:
            # at worst a power cut gives it back its open name, with all its content: then it is recovered
            _log.warning("log.folder_not_synced", segment=self.name, error=str(error))

    def rescue(self) -> None:
        """Publishes, from a copy, what was durable when this segment failed."""
        _publish_copy(self.path, self.size)
        os.close(self._fd)

    def discard(self) -> None:
        """Forgets a segment that holds nothing that was acknowledged."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(self._fd)

    def release(self) -> None:
        """Leaves a failed segment to whoever recovers it."""
        os.close(self._fd)


def recover(path: Path) -> bool:
    """Publishes what a dead writer left in this open file; False while its writer lives.

    Whole lines are kept, a torn tail is cut. Harmless when repeated, raced or interrupted. Raises OSError.
    """
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.stat()):
            _publish_copy(path)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True  # published between the two looks
    finally:
        os.close(fd)
    return True


def trailer_of(path: Path) -> Trailer:
    """The trailer of a closed segment. Raises Problem `corrupt_record` when its last line is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read().rstrip(b"\n")
        if b"\n" not in tail:
            file.seek(0)
            tail = file.read().rstrip(b"\n")
    record = decode(tail.rpartition(b"\n")[2])
    if not isinstance(record, Trailer):
        raise Problem("corrupt_record", f"{path.name} does not end with a trailer")
    return record


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _trailer(name: str, workspaces: Iterable[str]) -> bytes:
    return encode(Trailer(segment=name, workspaces=sorted(workspaces))) + b"\n"


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # there fsync stops at the drive's cache
    else:
        os.fdatasync(fd)


def _publish_copy(path: Path, limit: int | None = None) -> None:
    """Publishes the whole lines among the first `limit` bytes of an open file whose lock the caller holds."""
    name = path.name.removeprefix(".").removesuffix(".open")
    closed = path.with_name(f"{name}.log")
    data = path.read_bytes()[:limit]
    lines, workspaces = _whole_lines(data)
    if lines and not closed.exists():
        copy = path.with_name(f".{name}.copy")
        fd = os.open(copy, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            _write(fd, b"".join(line + b"\n" for line in lines) + _trailer(name, workspaces))
        finally:
            os.close(fd)
        os.rename(copy, closed)
        sync_folder(path.parent)
        cut = len(data) - sum(len(line) + 1 for line in lines)
        _log.warning("log.segment_recovered", segment=name, records=len(lines), bytes_cut=max(cut, 0))
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def _whole_lines(data: bytes) -> tuple[list[bytes], set[str]]:
    """The lines that decode, without trailers, and the workspaces they speak of."""
    kept: list[bytes] = []
    workspaces: set[str] = set()
    for line in data.split(b"\n")[:-1]:
        try:
            record = decode(line)
        except Problem:
            continue
        if not is_trailer(line):
            kept.append(line)
            workspaces |= workspaces_of([record])
    return kept, workspaces
