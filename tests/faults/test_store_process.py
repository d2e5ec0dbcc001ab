"""The endpoint as a process: it has one owner, stops gracefully, and is back after kill -9 with all that it
said.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from store.client import Store, StoreSettings, StoreUnavailable
from tests.stores import EndpointProcess, running_endpoint

SLEEPS = "SELECT sleepEachRow(1) AS slept FROM numbers(2)"
RUNS = "SELECT 1 AS x FROM system.processes WHERE query LIKE '%slept%' AND query NOT LIKE '%processes%'"
ROWS = pa.table({"n": pa.array(range(1000), pa.uint64())})


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointProcess]:
    with running_endpoint(tmp_path / "data") as endpoint:
        yield endpoint


def _with_table(endpoint: EndpointProcess) -> Store:
    store = Store(endpoint.settings)
    store.execute("CREATE DATABASE k")
    store.execute(
        "CREATE TABLE k.t (n UInt64) ENGINE = ReplacingMergeTree ORDER BY n "
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    )
    return store


def _run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "store.endpoint", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parent.parent.parent,
    )
    return done.returncode, done.stderr


def test_a_path_has_one_owner(endpoint: EndpointProcess, tmp_path: Path) -> None:
    token = str(tmp_path / "data.token")
    code, said = _run("--path", str(tmp_path / "data"), "--token-file", token)
    assert code == 3
    assert len(said.splitlines()) == 1
    assert f"is in use by process {endpoint.process.pid}, started at 20" in said
    assert Store(endpoint.settings).query_rows("SELECT 1 AS x") == [(1,)]


def test_it_is_back_within_three_seconds_of_kill_9(tmp_path: Path) -> None:
    with running_endpoint(tmp_path / "data") as first:
        store = _with_table(first)
        store.insert_arrow("k.t", ROWS)
        first.stop(signal.SIGKILL)
        seconds = []
        for _ in range(3):  # a busy machine may slow one start, not all
            began = time.monotonic()
            with running_endpoint(tmp_path / "data", first.port):
                assert store.query_rows("SELECT count() AS rows, sum(n) AS total FROM k.t") == [
                    (1000, 499500)
                ]
                seconds.append(time.monotonic() - began)
        store.close()
    assert min(seconds) < 3


def test_calls_outlast_a_restart(tmp_path: Path) -> None:
    """Every acknowledged row is there, and no call fails, although the store dies while they run."""
    acknowledged: list[int] = []
    with running_endpoint(tmp_path / "data") as first:
        store = _with_table(first)

        def insert(worker: int) -> None:
            for i in range(30):
                n = worker * 1000 + i
                store.insert_arrow("k.t", pa.table({"n": pa.array([n], pa.uint64())}))
                acknowledged.append(n)

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(insert, worker) for worker in range(4)]
            _eventually(lambda: len(acknowledged) > 20)
            first.stop(signal.SIGKILL)
            with running_endpoint(tmp_path / "data", first.port):
                for worker in workers:
                    worker.result(timeout=30)
                found = [n for (n,) in store.query_rows("SELECT n FROM k.t FINAL ORDER BY n")]
        store.close()
    assert found == sorted(acknowledged)
    assert len(found) == 120


def test_a_stop_lets_running_queries_finish(endpoint: EndpointProcess) -> None:
    store = Store(endpoint.settings)
    store.query_rows("SELECT 1 AS x")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(store.query_rows, SLEEPS)
        _eventually(lambda: bool(store.query_rows(RUNS)))
        stopped = threading.Thread(target=endpoint.stop)
        stopped.start()
        assert running.result() == [(0,), (0,)]
        stopped.join()
    assert endpoint.process.returncode == 0
    with pytest.raises(StoreUnavailable):
        Store(_impatient(endpoint)).query_rows("SELECT 1 AS x")


def test_a_stopping_store_takes_no_new_requests(endpoint: EndpointProcess) -> None:
    store, impatient = Store(endpoint.settings), Store(_impatient(endpoint))
    impatient.query_rows("SELECT 1 AS x")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(store.query_rows, SLEEPS)
        _eventually(lambda: bool(impatient.query_rows(RUNS)))
        stopped = threading.Thread(target=endpoint.stop)
        stopped.start()
        time.sleep(0.3)
        with pytest.raises(StoreUnavailable):
            impatient.query_rows("SELECT 1 AS x")
        assert running.result() == [(0,), (0,)]
        stopped.join()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "0.0.0.0"], "invalid choice"),
        (["--token-file", "/does/not/exist"], "cannot be read"),
        (["--token-file", "/dev/null"], "is empty"),
    ],
)
def test_it_does_not_start_unsafely(tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "token").write_text("t")
    code, said = _run("--path", str(tmp_path / "data"), "--token-file", str(tmp_path / "token"), *arguments)
    assert code == 2
    assert reason in said


def test_a_path_that_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data").write_text("a file where the engine wants a directory")
    code, said = _run("--path", str(tmp_path / "data"), "--token-file", str(tmp_path / "token"))
    assert code == 4
    assert len(said.splitlines()) == 1


def _impatient(endpoint: EndpointProcess) -> StoreSettings:
    return msgspec.structs.replace(endpoint.settings, patience=0.0)


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
