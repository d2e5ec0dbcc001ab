"""What `pipelines.log.Log` promises, held by every backend."""

import dataclasses
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from pipelines.log import Log, LogSettings, LogUnavailable, Overloaded, open_log
from schemas.errors import Problem
from schemas.log_record import (
    AnyRecord,
    Assertion,
    Date,
    Erasure,
    Events,
    Generation,
    Item,
    Override,
    Raw,
    RejectItem,
    Trailer,
    decode,
    encode,
)

W = "demo"


class Open(Protocol):
    def __call__(self, **changes: Any) -> Log: ...


@pytest.fixture(params=["directory", "kafka"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> LogSettings:
    home = tmp_path / "a home 数据"
    if request.param == "directory":
        return LogSettings(home=home, segment_seconds=0.2)
    servers: str = request.getfixturevalue("kafka_servers")
    return LogSettings(home=home, kafka=servers, topic=f"log.{uuid.uuid4().hex}", partitions=2)


@pytest.fixture
def writer(settings: LogSettings) -> Iterator[Open]:
    """Opens writers on one and the same log; closes them at the end."""
    opened: list[Log] = []

    def open_writer(**changes: Any) -> Log:
        opened.append(open_log(dataclasses.replace(settings, **changes)))
        return opened[-1]

    yield open_writer
    for log in opened:
        log.close()


def of_bodies(*bodies: bytes, workspace: str = W) -> Events:
    batch = [Item(e=msgspec.Raw(body)) for body in bodies]
    return Events(workspace=workspace, source="web", received_at=1, key_generation=1, batch=batch)


def events(*texts: str, workspace: str = W) -> Events:
    bodies = (msgspec.json.encode({"type": "track", "messageId": text}) for text in texts)
    return of_bodies(*bodies, workspace=workspace)


def texts(log: Log) -> list[str]:
    """messageIds of all events in the log, in the order of reading."""
    log.mark([W])
    records = (decode(line) for line in log.read())
    return [msgspec.json.decode(item.e)["messageId"] for record in records for item in record.batch]


def test_every_kind_of_record_is_read_back_as_it_was_appended(writer: Open) -> None:
    log = writer()
    written: list[AnyRecord] = [
        events("a", "金 😀 \r\n"),
        Raw(workspace=W, source="web", received_at=2, items=[RejectItem("AAA=", "bad_text", "/x")]),
        Override(workspace=W, at=3, id="o1", verb="force", a="1", b="2"),
        Assertion(workspace=W, at=4, id="s1", identifier="1", what="status", value="recycled"),
        Generation(workspace=W, at=5, id="g1", action="open", generation="1", ruleset="{}"),
        Date(workspace=W, at=6, id="d1", date="2026-07-14"),
        Erasure(workspace=W, at=7, id="e1", identifiers=["1"]),
    ]
    log.append(written).result(20)
    log.mark([W])
    assert sorted(log.read()) == sorted(encode(record) for record in written)


def test_records_of_one_writer_keep_their_order(writer: Open) -> None:
    log = writer(partitions=1, segment_bytes=2000)
    futures = [log.append([events(f"{n:03d}")]) for n in range(200)]
    for future in futures:
        future.result(20)
    assert texts(log) == [f"{n:03d}" for n in range(200)]


def test_concurrent_writers_lose_nothing(writer: Open) -> None:
    logs = [writer(), writer()]

    def write(thread: int) -> None:
        for n in range(25):
            logs[thread % 2].append([events(f"{thread}-{n}")]).result(20)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for log in logs:
        assert sorted(texts(log)) == sorted(f"{thread}-{n}" for thread in range(8) for n in range(25))


def test_what_was_appended_survives_a_restart(writer: Open) -> None:
    first = writer()
    unfinished = first.append([events("before")])
    first.close()
    assert unfinished.result(0) is None
    second = writer()
    second.append([events("after")]).result(20)
    assert sorted(texts(second)) == ["after", "before"]


def test_a_mark_covers_what_any_writer_had_acknowledged(writer: Open) -> None:
    ours, other = writer(), writer()
    ours.append([events("1")]).result(20)
    other.append([events("2")]).result(20)
    marks = ours.mark([W])
    assert marks
    assert all(mark.workspaces == (W,) for mark in marks)
    assert len({mark.segment for mark in marks}) == len(marks)
    assert sorted(texts(ours)) == ["1", "2"]


def test_a_mark_leaves_out_what_is_done(writer: Open) -> None:
    log = writer()
    log.append([events("1")]).result(20)
    done = {mark.segment for mark in log.mark([W])}
    log.append([events("2")]).result(20)
    later = log.mark([W], done)
    assert later
    assert done.isdisjoint(mark.segment for mark in later)


def test_a_mark_of_an_empty_log_is_possible(writer: Open) -> None:
    log = writer()
    log.mark([W])
    assert list(log.read()) == []


def test_an_empty_append_is_acknowledged(writer: Open) -> None:
    writer().append([]).result(0)


def test_a_full_queue_is_refused_and_loses_nothing_acknowledged(writer: Open) -> None:
    log = writer(queue_bytes=200_000)
    big = "x" * 50_000
    lock = threading.Lock()
    taken, refused = [], 0

    def write(thread: int) -> None:
        nonlocal refused
        for n in range(20):
            name = f"{thread}-{n}-{big}"
            try:
                future = log.append([events(name)])
            except Overloaded:
                with lock:
                    refused += 1
            else:
                with lock:
                    taken.append((name, future))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for _, future in taken:
        future.result(20)
    assert refused
    assert sorted(texts(log)) == sorted(name for name, _ in taken)


@pytest.mark.parametrize(
    "bad",
    [
        Trailer(segment="mine", workspaces=[]),
        of_bodies(b'{"a":'),
        of_bodies(b'{"a":\n1}'),
        of_bodies(b'{"a":"\xff"}'),
        events(workspace="\ud800"),
        Date(workspace=W, at="now", id="d", date="2026-07-14"),  # type: ignore[arg-type]
        events(*"x" * 1001),
        "no record",
    ],
    ids=[
        "trailer",
        "cut",
        "line break",
        "no utf-8",
        "surrogate",
        "wrong type",
        "too many events",
        "no record",
    ],
)
def test_a_record_that_could_not_be_read_is_refused_with_all_that_came_with_it(
    writer: Open, bad: Any
) -> None:
    log = writer()
    with pytest.raises(Problem, match="corrupt_record"):
        log.append([events("good"), bad])
    assert texts(log) == []


def test_a_batch_too_long_for_a_line_is_split(writer: Open) -> None:
    log = writer()
    names = [f"{n:02d}" + "x" * 250_000 for n in range(40)]
    log.append([events(*names)]).result(30)
    assert sorted(texts(log)) == names


def test_one_item_that_is_too_long_is_refused(writer: Open) -> None:
    item = RejectItem("A" * (9 << 20), "body_too_large")
    with pytest.raises(Problem, match="body_too_large"):
        writer().append([Raw(workspace=W, source="s", received_at=1, items=[item])])


def test_a_closed_log_takes_nothing(writer: Open) -> None:
    log = writer()
    log.close()
    log.close()
    with pytest.raises(LogUnavailable):
        log.append([events("late")])


def test_reading_since_a_time_leaves_out_nothing_accepted_after_it(writer: Open) -> None:
    log = writer()
    log.append([events("1")]).result(20)
    log.mark([W])
    since = int(time.time() * 1e6)
    log.append([events("2")]).result(20)
    log.mark([W])
    assert any(b'"2"' in line for line in log.read(since))
    assert list(log.read(since + 3 * 86_400_000_000)) == []
