"""The embedded log: `<home>/log/live/<root>/<day>/<segment>.log`, written by any number of processes at once.

One thread per writer commits in groups: what queued up during one fsync goes into the next write. Invariants:
a future resolves only after the fsync that covers its records; nothing inside a root is renamed, moved or
deleted once it is visible, since the job may be reading it; a sealed root gets no new segment.
"""

import contextlib
import itertools
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import structlog

from pipelines.log import LogSettings, LogUnavailable, Mark, Overloaded
from pipelines.log.lines import is_trailer, lines_of, workspaces_of
from pipelines.log.segment import Segment, recover, sync_folder, trailer_of
from schemas.log_record import AnyRecord

_log = structlog.get_logger(__name__)

_MAX_QUEUED = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESCUE_SECONDS = 1.0
_POLL_SECONDS = 0.02


@dataclass(slots=True)
class _Append:
    """Lines that wait for their fsync; without any, the wish that the open segment be closed."""

    data: bytes
    workspaces: set[str]
    done: "Future[None]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.done.set_running_or_notify_cancel()  # what is on its way to the disk cannot be called back


class DirectoryLog:
    """A writer and reader of the log in `settings.home`. See `pipelines.log.Log` for what it promises."""

    def __init__(self, settings: LogSettings, clock: Callable[[], float] = time.time) -> None:
        """Opens the log for writing; `clock` (seconds UTC) names day folders only, no order depends on it.

        Raises LogUnavailable when the folders cannot be made.
        """
        self._settings = settings
        self._clock = clock
        self._live = settings.home / "log" / "live"
        self._archive = settings.home / "log" / "archive"
        started = datetime.fromtimestamp(clock(), UTC)
        self._writer = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._queue: deque[_Append] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._segment: Segment | None = None
        self._failed: list[Segment] = []
        try:
            for folder in (self._live, self._archive):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.roots():
                self._make_root(1)
        except OSError as error:
            raise LogUnavailable(f"{self._live}: {error}") from error
        self.recover()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    # ---- writing

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        """See `Log.append`."""
        data = b"".join(line + b"\n" for line in lines_of(records))
        entry = _Append(data, workspaces_of(records))
        if not data:
            entry.done.set_result(None)
            return entry.done
        with self._changed:
            full = self._queued_bytes + len(data) > self._settings.queue_bytes and self._queue
            if full or len(self._queue) >= _MAX_QUEUED:
                raise Overloaded(f"{self._queued_bytes} bytes wait for the disk")
            self._put(entry)
        return entry.done

    def _put(self, entry: _Append) -> None:
        if self._closed:
            raise LogUnavailable("the log is closed")
        self._queue.append(entry)
        self._queued_bytes += len(entry.data)
        self._changed.notify_all()

    def _run(self) -> None:
        """The writer thread: commits until the log is closed and the queue is empty."""
        group: list[_Append] = []
        try:
            while group or self._queue or not self._closed:
                group = self._next_group()
                self._commit(group)
        finally:  # normally nothing is left; after an error of ours nobody may wait for ever
            with self._changed:
                self._closed = True
                group.extend(self._queue)
            _refuse([entry for entry in group if not entry.done.done()], "the log's writer has ended")
            for segment in (*self._failed, self._segment):
                if segment:
                    segment.release()

    def _next_group(self) -> list[_Append]:
        """What is queued, up to a segment's size or a wish to close it; empty when it is time to look."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, self._seconds_left())
            group: list[_Append] = []
            room = self._settings.segment_bytes - (self._segment.size if self._segment else 0)
            while self._queue and room > 0:
                group.append(self._queue.popleft())
                self._queued_bytes -= len(group[-1].data)
                room -= len(group[-1].data)
                if not group[-1].data:
                    break
            return group

    def _seconds_left(self) -> float | None:
        """Until the open segment is due or a failed one is tried again."""
        if self._segment:
            return max(0.0, self._segment.opened_at + self._settings.segment_seconds - time.monotonic())
        return _RESCUE_SECONDS if self._failed else None

    def _commit(self, group: list[_Append]) -> None:
        """Makes a group durable and tells it so; closes the segment when it is full, due, or asked for."""
        appends = [entry for entry in group if entry.data]
        closings = [entry for entry in group if not entry.data]
        try:
            if appends:
                self._segment = self._segment or self._new_segment()
                data = b"".join(entry.data for entry in appends)
                self._segment.write(data, set().union(*(entry.workspaces for entry in appends)))
        except OSError as error:
            self._abandon(error)
            _refuse(appends, str(error))
        else:
            for entry in appends:
                entry.done.set_result(None)
        if self._segment and (closings or self._closed or self._is_due(self._segment)):
            self._close_segment()
        self._rescue()
        if self._failed:
            _refuse(closings, "a segment could not be closed")
        else:
            for entry in closings:
                entry.done.set_result(None)

    def _is_due(self, segment: Segment) -> bool:
        age = time.monotonic() - segment.opened_at
        return segment.size >= self._settings.segment_bytes or age >= self._settings.segment_seconds

    def _new_segment(self) -> Segment:
        """An open segment in the newest root. Raises OSError."""
        while True:
            root = self.live_root()
            folder = root / f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%d}"
            try:
                if not folder.exists():
                    folder.mkdir(exist_ok=True, mode=0o700)
                    sync_folder(root)
                segment = Segment(folder, f"{self._writer}-{next(self._numbers):08d}")
            except (FileNotFoundError, BlockingIOError):
                continue  # the root was archived, or another process recovered the file before it was locked
            if root == self.live_root():
                return segment
            segment.discard()  # sealed meanwhile: whoever sealed it need not wait for us

    def _close_segment(self) -> None:
        assert self._segment is not None
        try:
            self._segment.publish()
            self._segment = None
        except OSError as error:
            self._abandon(error)

    def _abandon(self, error: OSError) -> None:
        """Never touches the segment again; what is durable in it waits for its rescue."""
        _log.error("log.segment_failed", error=str(error))
        segment, self._segment = self._segment, None
        if segment and segment.size:
            self._failed.append(segment)
        elif segment:
            with contextlib.suppress(OSError):
                segment.discard()

    def _rescue(self) -> None:
        while self._failed:
            try:
                self._failed[0].rescue()
            except OSError:
                return
            self._failed.pop(0)

    # ---- marks and recovery

    def mark(self, workspaces: Sequence[str] = (), done: Container[str] = frozenset()) -> list[Mark]:
        """See `Log.mark`. O(segments in the live roots that are not in `done`)."""
        self._end_segments()
        marks = []
        for path in self._segments(self.roots()):
            if path.stem not in done:
                trailer = trailer_of(path)
                marks.append(Mark(trailer.segment, tuple(trailer.workspaces)))
        return marks

    def recover(self) -> None:
        """Publishes what dead writers left. Never raises: what fails now is tried again by the next mark."""
        for path in self._open_files():
            try:
                recover(path)
            except OSError as error:
                _log.error("log.recovery_failed", segment=path.name, error=str(error))

    def _open_files(self) -> list[Path]:
        """Segments that other writers had open a moment ago, or left behind."""
        found = [path for root in self.roots() for path in _files(root, ".open")]
        return [path for path in found if not path.name.startswith(f".{self._writer}")]

    def _end_segments(self) -> None:
        """Returns when each segment that any process has open now is closed. Raises LogUnavailable."""
        deadline = time.monotonic() + self._settings.patience
        closing = _Append(b"", set())
        with self._changed:
            self._put(closing)
        try:
            closing.done.result(self._settings.patience)
        except TimeoutError as error:
            raise LogUnavailable("the disk does not answer") from error
        waiting = self._open_files()
        while True:
            try:
                waiting = [path for path in waiting if not recover(path)]
            except OSError as error:
                raise LogUnavailable(f"a dead writer's segment cannot be recovered: {error}") from error
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{waiting[0]} is held open by a process that does not close it")
            time.sleep(_POLL_SECONDS)

    # ---- roots

    def roots(self) -> list[Path]:
        """Live roots, oldest first: one, or, between `rotate` and `archive`, also the sealed ones."""
        return _numbered(self._live)

    def live_root(self) -> Path:
        """The root that gets new segments; the job reads `file://<this>`."""
        return self.roots()[-1]

    def rotate(self) -> Path:
        """Seals the roots there are and returns a new one, which from now on gets what every writer appends.

        The sealed ones stay where they are until `archive`, so that the job can read them to their end.
        Raises LogUnavailable.
        """
        sealed = self.roots()
        try:
            root = self._make_root(int(sealed[-1].name) + 1)
        except OSError as error:
            raise LogUnavailable(str(error)) from error
        self._end_segments()
        return root

    def archive(self) -> list[Path]:
        """Moves the sealed roots away. Only while no job reads them and all their marks are done."""
        moved = []
        for root in self.roots()[:-1]:
            target = self._archive / root.name
            root.rename(target)
            moved.append(target)
        for folder in (self._archive, self._live):
            sync_folder(folder)
        return moved

    def _make_root(self, number: int) -> Path:
        root = self._live / f"{number:06d}"
        root.mkdir(exist_ok=True, mode=0o700)
        sync_folder(self._live)
        return root

    # ---- reading

    def read(self, since: int = 0) -> Iterator[bytes]:
        """See `Log.read`."""
        # a segment lies in the folder of the day on which it was opened
        opened = datetime.fromtimestamp(since / 1e6, UTC) - timedelta(minutes=1) if since else _EPOCH
        # live before archived: a root that is moved meanwhile is then seen at least once
        names = {root.name for root in self.roots()} | {root.name for root in _numbered(self._archive)}
        for name in sorted(names):
            for path in self._segments([self._live / name, self._archive / name]):
                if path.parent.name >= f"{opened:%Y-%m-%d}":
                    yield from self._lines(path)

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # its root was archived while another segment was read
            file = (self._archive / path.relative_to(self._live)).open("rb")
        with file:
            for line in file:
                if not is_trailer(line):
                    yield line.rstrip(b"\n")

    def _segments(self, roots: Sequence[Path]) -> list[Path]:
        """Closed segments in the order of their names: by writer, and of one writer in its order."""
        found = [path for root in roots for path in _files(root, ".log")]
        return sorted(found, key=lambda path: path.name)

    # ---- closing

    def close(self) -> None:
        """See `Log.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _refuse(entries: Sequence[_Append], why: str) -> None:
    for entry in entries:
        entry.done.set_exception(LogUnavailable(why))


def _numbered(folder: Path) -> list[Path]:
    """Roots in a folder, oldest first."""
    return [folder / name for name in sorted(os.listdir(folder)) if name.isdecimal()]


def _files(root: Path, suffix: str) -> Iterator[Path]:
    """Files of the day folders of a root; none when the root is elsewhere by now."""
    with contextlib.suppress(FileNotFoundError):
        for day in os.listdir(root):
            yield from (root / day / name for name in os.listdir(root / day) if name.endswith(suffix))
