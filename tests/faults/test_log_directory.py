"""The directory log under kill -9, torn files, full disks, failing fsyncs and stopped processes.

Checker: whatever was acknowledged is read, and whatever is read is whole.
"""

import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from pipelines.log import LogSettings, LogUnavailable, Overloaded
from pipelines.log.directory import DirectoryLog
from pipelines.log.segment import Segment, recover, trailer_of
from schemas.log_record import Events, Item, Trailer, decode, encode

_WRITER = Path(__file__).with_name("log_writer.py")


def events(name: str, size: int = 0) -> Events:
    body = msgspec.Raw(msgspec.json.encode({"messageId": name, "fill": "x" * size}))
    return Events(workspace="w", source="s", received_at=1, key_generation=1, batch=[Item(e=body)])


def names(log: DirectoryLog) -> list[str]:
    """messageIds of everything in the log; fails on a line that does not decode."""
    log.mark()
    return [msgspec.json.decode(item.e)["messageId"] for line in log.read() for item in decode(line).batch]


def start_writer(home: Path, *more: str) -> "subprocess.Popen[str]":
    """A process that appends as fast as it can and prints what was acknowledged."""
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, str(_WRITER), str(home), *more],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def said(writer: "subprocess.Popen[str]", count: int = sys.maxsize) -> list[str]:
    """What a writer said, up to `count` times; waits for it."""
    assert writer.stdout is not None
    lines = (line for line in writer.stdout if line.startswith("said ") and line.endswith("\n"))
    return [line.split()[1] for line in itertools.islice(lines, count)]


def end(writer: "subprocess.Popen[str]") -> list[str]:
    """Kills a writer; what it had said that was not asked for before."""
    writer.kill()
    rest = said(writer)
    assert writer.stdout is not None
    writer.stdout.close()
    writer.wait()
    return rest


@pytest.fixture
def settings(tmp_path: Path) -> LogSettings:
    return LogSettings(home=tmp_path / "数据 home", segment_seconds=0.2, patience=5)


@pytest.fixture
def log(settings: LogSettings) -> Iterator[DirectoryLog]:
    with DirectoryLog(settings) as opened:
        yield opened


def test_a_killed_writer_loses_nothing_it_acknowledged(settings: LogSettings) -> None:
    acknowledged: set[str] = set()
    for _ in range(4):
        writer = start_writer(settings.home)
        acknowledged.update(said(writer, 1))
        time.sleep(random.uniform(0.05, 0.4))
        acknowledged.update(end(writer))
    with DirectoryLog(settings) as log:
        found = names(log)
        assert len(acknowledged) > 40
        assert acknowledged <= set(found)
        log.recover()
        assert names(log) == found
    assert not list(settings.home.rglob(".*.open"))


def test_a_mark_recovers_a_dead_writer_but_waits_for_a_living_one(
    settings: LogSettings, log: DirectoryLog
) -> None:
    writer = start_writer(settings.home)
    assert said(writer, 1)[0] in names(log)
    writer.send_signal(signal.SIGSTOP)
    try:
        time.sleep(0.1)
        if list(settings.home.rglob(".*.open")):
            impatient = DirectoryLog(LogSettings(home=settings.home, patience=0.2))
            with pytest.raises(LogUnavailable, match="held open"):
                impatient.mark()
            impatient.close()
        writer.send_signal(signal.SIGCONT)
        log.mark()
    finally:
        end(writer)
    log.mark()
    assert not list(settings.home.rglob(".*.open"))


def left_behind(folder: Path, name: str, data: bytes) -> Path:
    """An open segment whose writer is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.open"
    path.write_bytes(data)
    return path


def test_a_torn_tail_is_cut_at_the_last_whole_line(tmp_path: Path) -> None:
    lines = [encode(events(str(n))) for n in range(3)]
    data = b"".join(line + b"\n" for line in lines)
    for cut in range(len(data) + 1):
        path = left_behind(tmp_path / str(cut), "s", data[:cut])
        assert recover(path)
        whole = data[:cut].count(b"\n")
        closed = path.with_name("s.log")
        if whole:
            *kept, last = closed.read_bytes().splitlines()
            assert kept == lines[:whole]
            assert decode(last) == Trailer(segment="s", workspaces=["w"])
        assert closed.exists() == bool(whole)
        assert not path.exists()


def test_a_second_recovery_changes_nothing(tmp_path: Path) -> None:
    line = encode(events("1")) + b"\n"
    path = left_behind(tmp_path, "s", line + b"half")
    assert recover(path)
    before = path.with_name("s.log").read_bytes()
    assert recover(path)
    assert path.with_name("s.log").read_bytes() == before


def test_a_recovery_that_was_itself_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    line = encode(events("1")) + b"\n"
    path = left_behind(tmp_path, "s", line)
    path.with_name(".s.copy").write_bytes(line[:10])
    assert recover(path)
    published = path.with_name("s.log").read_bytes()
    left_behind(tmp_path, "s", line)  # as if it had been killed before it removed the open file
    assert recover(path)
    assert path.with_name("s.log").read_bytes() == published
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.log"]


def test_a_segment_killed_between_trailer_and_rename_gets_one_trailer(tmp_path: Path) -> None:
    data = encode(events("1")) + b"\n" + encode(Trailer(segment="s", workspaces=["w"])) + b"\n"
    path = left_behind(tmp_path, "s", data)
    assert recover(path)
    assert path.with_name("s.log").read_bytes() == data
    assert trailer_of(path.with_name("s.log")).workspaces == ["w"]


def test_a_living_writers_segment_is_left_alone(tmp_path: Path) -> None:
    segment = Segment(tmp_path, "s")
    segment.write(encode(events("1")) + b"\n", ["w"])
    assert not recover(segment.path)
    segment.publish()
    assert recover(segment.path)


def test_a_line_rotten_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    lines = [encode(events(str(n))) for n in range(3)]
    lines[1] = lines[1].replace(b'"w"', b'"v"')
    path = left_behind(tmp_path, "s", b"".join(line + b"\n" for line in lines))
    assert recover(path)
    assert path.with_name("s.log").read_bytes().splitlines()[:-1] == [lines[0], lines[2]]


def test_a_full_disk_refuses_appends_and_takes_them_again_once_there_is_room(settings: LogSettings) -> None:
    writer = start_writer(settings.home, "limited")
    told = set(said(writer))
    end(writer)
    assert {"0", "LogUnavailable", "after"} <= told
    with DirectoryLog(settings) as log:
        assert told - {"LogUnavailable"} <= set(names(log))


def test_after_a_failed_fsync_the_file_is_never_synced_again(
    settings: LogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DirectoryLog(replace(settings, segment_seconds=60))  # no segment closes, and syncs, by itself
    real, calls, synced = os.fdatasync, itertools.count(), []

    def fail_third(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        if next(calls) == 2:
            raise OSError(errno.EIO, "the disk said no")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fail_third)
    log.append([events("1")]).result(5)
    with next(log.live_root().glob("*/.*.open")).open():  # so that its inode number is not given out again
        log.append([events("2")]).result(5)
        with pytest.raises(LogUnavailable, match="the disk said no"):
            log.append([events("lost")]).result(5)
        log.append([events("3")]).result(5)
        assert names(log) == ["1", "2", "3"]
    log.close()
    assert synced[0] == synced[2]
    assert synced[0] not in synced[3:]


def test_a_segment_that_cannot_be_saved_now_is_saved_later(
    log: DirectoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([events("1")]).result(5)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "the disk said no")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(LogUnavailable):
            log.append([events("lost")]).result(5)
        with pytest.raises(LogUnavailable, match="could not be closed"):
            log.mark()
    assert names(log) == ["1"]


def test_a_disk_that_hangs_makes_the_log_refuse_and_not_wait(
    settings: LogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync

    def hang(fd: int) -> None:
        time.sleep(0.5)
        real(fd)

    with DirectoryLog(LogSettings(home=settings.home, queue_bytes=100_000)) as log:
        with monkeypatch.context() as slow:
            slow.setattr(os, "fdatasync", hang)
            taken: list[Future[None]] = []
            begun = time.monotonic()
            with pytest.raises(Overloaded):
                taken.extend(log.append([events(str(n), 10_000)]) for n in range(100))
            assert time.monotonic() - begun < 0.4
        for future in taken:
            future.result(5)
        assert len(names(log)) == len(taken)


def test_rotation_and_archiving_lose_nothing_while_others_write(
    settings: LogSettings, log: DirectoryLog
) -> None:
    writer = start_writer(settings.home)
    acknowledged = said(writer, 1)
    try:
        for _ in range(3):
            sealed = log.live_root()
            root = log.rotate()
            assert log.roots() == [sealed, root]
            before = sorted(sealed.rglob("*.log"))
            acknowledged += said(writer, 50)
            assert sorted(sealed.rglob("*.log")) == before
            assert log.archive() == [settings.home / "log" / "archive" / sealed.name]
            assert log.roots() == [root]
            time.sleep(0.2)
    finally:
        acknowledged += end(writer)
    found = names(log)
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))


def test_a_clock_that_jumps_back_changes_neither_order_nor_content(settings: LogSettings) -> None:
    times = iter([1_800_000_000.0, 1_800_000_000.0, 1_700_000_000.0, 1_900_000_000.0])
    with DirectoryLog(settings, clock=lambda: next(times)) as log:
        for name in ("1", "2", "3"):
            log.append([events(name)]).result(5)
            log.mark()
        assert names(log) == ["1", "2", "3"]
