"""One copy of a job, on a real cluster: twice on the same TaskManager, and back after the JobManager was killed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from kintsugi import programs
from kintsugi.flink import Cluster
from kintsugi.flink_rest import FlinkRest
from kintsugi.job_keeper import JobKeeper, Submission, restore_points
from kintsugi.ports import free_port
from kintsugi.processes import Supervised
from kintsugi.settings import Settings

JOB = """
import sys
from pyflink.common import Duration, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat

env = StreamExecutionEnvironment.get_execution_environment()
source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "file://" + sys.argv[1])
stream = env.from_source(
    source.monitor_continuously(Duration.of_millis(200)).build(), WatermarkStrategy.no_watermarks(), "log"
)
stream.uid("log").map(len, Types.INT()).uid("length").print().uid("out")
env.execute("test")
"""


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def running(root: Path, said: list[str]) -> Iterator[tuple[Cluster, JobKeeper, Supervised]]:
    """A cluster and the keeper of JOB, on paths with spaces and Chinese characters."""
    environment = {"KINTSUGI_HOME": str(root / "家 a"), "KINTSUGI_CHECKPOINT_INTERVAL_MS": "500"}
    rest = free_port(28800)
    rpc = free_port(rest + 1)
    cluster = Cluster(Settings.load(environment), rest, rpc, free_port(rpc + 1))
    cluster.prepare()
    (root / "in put").mkdir()
    (root / "job.py").write_text(JOB)
    taskmanager = Supervised(programs.taskmanager(cluster), lambda: None)
    jobmanager = Supervised(programs.jobmanager(cluster), lambda: None, taskmanager.restart)
    submission = Submission(("-py", str(root / "job.py"), str(root / "in put")), "source-000001")
    keeper = JobKeeper(cluster, lambda: submission, taskmanager.restart, lambda: None, said.append)
    for part in (jobmanager, taskmanager, keeper):
        part.start()
    try:
        yield cluster, keeper, jobmanager
    finally:
        keeper.stop(timeout=0)
        taskmanager.stop()
        jobmanager.stop()


def test_the_job_is_kept_from_the_newest_restore_point_that_works(tmp_path: Path) -> None:
    said: list[str] = []
    with running(tmp_path, said) as (cluster, keeper, jobmanager):
        eventually(keeper.is_running.is_set, 90)
        first = keeper.entry.job_id

        keeper.pause_while(lambda: None)  # a second submission to the same TaskManager
        eventually(lambda: keeper.is_running.is_set() and keeper.entry.job_id != first)
        second = keeper.entry.job_id
        assert "/savepoints/" in keeper.entry.restored_from
        eventually(lambda: len(list(cluster.checkpoints.glob(f"*/{second}/chk-*/_metadata"))) >= 2)
        eventually(lambda: not list(cluster.checkpoints.glob(f"*/{first}")))

        jobmanager.restart()  # kill -9
        eventually(lambda: not keeper.is_running.is_set())
        newest, older, *_ = restore_points(cluster, "source-000001")
        (newest.folder / "_metadata").write_bytes(b"")
        eventually(lambda: keeper.is_running.is_set() and keeper.entry.job_id != second, 90)
        assert keeper.entry.restored_from == str(older.folder)
        assert any(newest.folder.name in line and "next older" in line for line in said)

        rest = FlinkRest(cluster.url)
        assert [job["state"] for job in rest.jobs()].count("RUNNING") == 1
        rest.close()
        assert httpx.get(f"{cluster.url}/overview", trust_env=False).status_code == 200
