"""The layout that the job and people rely on."""

import re
import stat
import threading
import time
from pathlib import Path

import pytest

from pipelines.log import LogSettings, LogUnavailable, open_log
from pipelines.log.directory import DirectoryLog
from pipelines.log.segment import trailer_of
from schemas.log_record import Date


def date(workspace: str) -> Date:
    return Date(workspace=workspace, at=1, id="d", date="2026-07-14")


def test_a_segment_is_a_file_in_a_day_of_a_root_and_says_its_workspaces(tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path), clock=lambda: 1_784_000_000.0) as log:
        log.append([date("b"), date("a")]).result(5)
        log.append([date("b")]).result(5)
        (mark,) = log.mark()
        assert mark.workspaces == ("a", "b")
        path = tmp_path / "log" / "live" / "000001" / "2026-07-14" / f"{mark.segment}.log"
        assert trailer_of(path).segment == mark.segment
        assert log.live_root() == tmp_path / "log" / "live" / "000001"


def test_a_segment_closes_by_itself_soon_after_its_first_record(tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path, segment_seconds=0.3)) as log:
        log.append([date("w")]).result(5)
        assert list(log.read()) == []
        deadline = time.monotonic() + 1.0
        while not list(log.read()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_segments_close_at_about_their_size(tmp_path: Path) -> None:
    settings = LogSettings(home=tmp_path, segment_bytes=10_000, segment_seconds=10)
    with DirectoryLog(settings) as log:
        for future in [log.append([date("w")]) for _ in range(1000)]:
            future.result(5)
        log.mark()
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.log")]
    assert len(sizes) > 5
    assert max(sizes) < 11_000


def test_only_the_owner_may_read_the_log(tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path)) as log:
        log.append([date("w")]).result(5)
        log.mark()
        assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in log.live_root().rglob("*"))


def test_archived_segments_stay_readable_in_their_order(tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path)) as log:
        for day in ("2026-07-14", "2026-07-15"):
            log.append([Date(workspace="w", at=1, id="d", date=day)]).result(5)
            log.rotate()
        assert len(log.archive()) == 2
        assert [re.findall(rb"2026-07-1\d", line)[0] for line in log.read()] == [b"2026-07-14", b"2026-07-15"]
        assert log.mark() == []


def test_reading_goes_on_while_the_root_is_archived(tmp_path: Path) -> None:
    settings = LogSettings(home=tmp_path, segment_bytes=1)
    with DirectoryLog(settings) as log:
        for _ in range(3):
            log.append([date("w")]).result(5)
        log.rotate()
        reading = log.read()
        next(reading)
        log.archive()
        assert len(list(reading)) == 2


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where a folder should be")
    with pytest.raises(LogUnavailable):
        open_log(LogSettings(home=tmp_path))


def test_an_error_of_our_own_in_the_writer_fails_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_clock() -> float:
        if threading.current_thread().name == "log-writer":
            raise ZeroDivisionError
        return 0.0

    errors: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda error: errors.append(error.exc_type))
    log = DirectoryLog(LogSettings(home=tmp_path), clock=broken_clock)
    with pytest.raises(LogUnavailable):
        log.append([date("w")]).result(5)
    log.close()
    assert errors == [ZeroDivisionError]
    with pytest.raises(LogUnavailable):
        log.append([date("w")])
