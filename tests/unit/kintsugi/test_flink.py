"""The cluster's files and commands, and which restore point a job starts from."""

import os
from pathlib import Path

import pytest
import yaml

from kintsugi.flink import Cluster, file_url
from kintsugi.flink_rest import root_cause
from kintsugi.job_keeper import restore_points
from kintsugi.settings import Settings


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    settings = Settings.load({"KINTSUGI_HOME": str(tmp_path / "家 a"), "KINTSUGI_PARALLELISM": "2"})
    return Cluster(settings, rest_port=1, rpc_port=2, blob_port=3)


def test_configuration_survives_spaces_and_chinese(cluster: Cluster) -> None:
    cluster.prepare()
    read = yaml.safe_load((cluster.folder / "conf" / "config.yaml").read_text(encoding="utf-8"))
    assert read["execution.checkpointing.dir"] == f"file://{cluster.settings.home}/checkpoints"
    assert read["taskmanager.numberOfTaskSlots"] == 2
    assert read["classloader.parent-first-patterns.additional"] == "pemja."


def test_flink_python_lies_in_the_lib_folder_of_both(cluster: Cluster) -> None:
    cluster.prepare()
    for command in (cluster.jobmanager(), cluster.taskmanager()):
        jars = command[command.index("-cp") + 1].split(os.pathsep)
        assert any(Path(jar).name.startswith("flink-python-") for jar in jars)


def test_the_heap_of_the_task_manager_is_what_its_parts_add_up_to(cluster: Cluster) -> None:
    cluster.prepare()
    command = cluster.taskmanager()
    given = dict(part.split("=") for part in command if part.startswith("taskmanager.memory."))
    parts = [given[f"taskmanager.memory.{part}.heap.size"] for part in ("task", "framework")]
    assert f"-Xmx{sum(int(part.removesuffix('m')) for part in parts)}m" in command


def test_file_urls_are_not_percent_encoded() -> None:
    assert file_url(Path("/家 a/x")) == "file:///家 a/x"


def point(root: Path, name: str, modified: int, *, whole: bool = True) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    if whole:
        (folder / "_metadata").write_bytes(b"x")
        os.utime(folder / "_metadata", (modified, modified))
    return folder


def test_the_newest_complete_point_comes_first(cluster: Cluster) -> None:
    old = point(cluster.checkpoints, "source-1/job/chk-9", 100)
    new = point(cluster.savepoints, "source-1/savepoint-1", 200)
    point(cluster.checkpoints, "source-1/job/chk-10", 300, whole=False)
    assert [p.folder for p in restore_points(cluster, "source-1")] == [new, old]


def test_of_an_earlier_source_only_its_last_savepoint_is_used(cluster: Cluster) -> None:
    point(cluster.checkpoints, "source-1/job/chk-9", 250)
    point(cluster.savepoints, "source-1/savepoint-1", 200)
    last = point(cluster.savepoints, "source-1/savepoint-2", 300)
    own = point(cluster.checkpoints, "source-2/job/chk-1", 400)
    assert [p.folder for p in restore_points(cluster, "source-2")] == [own, last]


def test_without_any_point_there_is_none(cluster: Cluster) -> None:
    assert restore_points(cluster, "source-1") == []


def test_the_root_cause_is_the_line_that_says_why() -> None:
    java = "a.B: outer\n\tat x.Y\nCaused by: c.D: middle\nCaused by: java.io.IOException: disk full\n\tat x.Z"
    python = "Traceback (most recent call last):\n  File \"job.py\", line 1\nKeyError: 'mode'"
    assert root_cause(java) == "java.io.IOException: disk full"
    assert root_cause(python) == "KeyError: 'mode'"
    thread_mode = "x.Y: outer\nCaused by: pemja.core.PythonException: <class 'store.client.StoreRefused'>: no"
    assert root_cause(thread_mode) == "StoreRefused: no"
