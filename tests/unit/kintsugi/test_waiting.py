"""Waiting ends when `progress` holds every segment for every workspace, and log roots move on only then."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from kintsugi.roots import Roots
from kintsugi.waiting import missing, wait_for
from pipelines.log import LogSettings, Mark
from pipelines.log.directory import DirectoryLog
from schemas import arrow
from schemas.log_record import Date
from store.client import Store


def record(store: Store, *done: tuple[str, str]) -> None:
    rows = {
        "workspace": [workspace for _, workspace in done],
        "segment": [segment for segment, _ in done],
        "recorded_at": [datetime.now(UTC)] * len(done),
    }
    store.insert_arrow(
        "kintsugi_store.progress",
        pa.table(rows).cast(arrow.TABLES["progress"]),
    )


def test_a_mark_is_missing_until_each_of_its_workspaces_is_recorded(store: Store) -> None:
    mark = Mark("wait-1", ("wait-a", "wait-b"))
    record(store, ("wait-1", "wait-a"))
    assert missing([mark], store) == [Mark("wait-1", ("wait-b",))]
    record(store, ("wait-1", "wait-b"))
    assert missing([mark], store) == []


def test_waiting_gives_up_after_the_timeout_and_names_what_lags(store: Store) -> None:
    told: list[tuple[int, int]] = []
    marks = [Mark("wait-2", ("wait-a",)), Mark("wait-3", ("wait-a",))]
    record(store, ("wait-2", "wait-a"))
    left = wait_for(marks, store, 0.3, lambda done, total: told.append((done, total)))
    assert left == [Mark("wait-3", ("wait-a",))]
    assert told[0] == (1, 2)


def test_a_root_is_finished_once_it_is_sealed_and_recorded(store: Store, tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path)) as log:
        roots = Roots(log)
        assert (roots.source_uid, roots.has_archive) == ("source-000001", False)
        log.append([Date(workspace="wait-c", at=1, id="1", date="2026-11-20")]).result()
        segments = [mark.segment for mark in log.mark()]
        record(store, *((segment, "wait-c") for segment in segments))
        assert not roots.is_finished(store)  # not sealed
        roots.seal()
        assert roots.is_finished(store)
        assert roots.source_uid == "source-000001"
        roots.archive()
        assert (roots.source_uid, roots.has_archive) == ("source-000002", True)
        roots.unarchive()
        assert (roots.source_uid, roots.has_archive) == ("source-000001", False)


def test_a_sealed_root_with_unrecorded_segments_is_not_finished(store: Store, tmp_path: Path) -> None:
    with DirectoryLog(LogSettings(home=tmp_path)) as log:
        roots = Roots(log)
        log.append([Date(workspace="wait-d", at=1, id="1", date="2026-11-20")]).result()
        roots.seal()
        assert not roots.is_finished(store)
