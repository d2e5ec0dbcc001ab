"""A cluster by docker/compose.yaml: each kind of its processes dies by kill -9, its job moves to two TaskManagers by
savepoint and `flink run`, and it ends with the digest of the embedded stack that nobody disturbed.

As the container engine would, the test starts again what died; all else is done by the services themselves.
"""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from kintsugi.digest import digest
from kintsugi.flink import file_url
from kintsugi.send import send_events
from tests.compose_stack import OURS, ComposeStack, Service, until
from tests.load import EVENTS, FILES, NAME, ROUNDS, Undisturbed, need_jars

VICTIMS = ("taskmanager", "kafka", "jobmanager") * ROUNDS
WAIT = 240 + EVENTS / 500


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ComposeStack]:
    need_jars()
    with ComposeStack(tmp_path) as made:
        yield made


def test_every_process_dies_the_job_is_rescaled_and_nothing_is_lost(
    undisturbed: Undisturbed, cluster: ComposeStack
) -> None:
    services, write_key, read_key = begin(cluster, undisturbed)
    size = -(-EVENTS // (len(VICTIMS) + 1))
    acked = 0
    met_some = False

    def send(events: list[bytes]) -> int:
        return send_events(cluster.collector, write_key, events).accepted

    with ThreadPoolExecutor(1) as pool:
        for number, name in enumerate(VICTIMS):
            cluster.running_job()
            sending = pool.submit(send, undisturbed.events[number * size :][:size])
            until(lambda: landed(cluster) > acked, WAIT, "nothing lands")  # noqa: B023 - asked at once
            victim = cluster.broker if name == "kafka" else busy(cluster, services[name])
            victim.kill()
            acked += size
            met_some |= landed(cluster) < len(set(undisturbed.events[:acked]))
            victim.start()
            assert sending.result(WAIT) == size
    assert met_some, "some kill met events on their way"
    savepoint = rescale(cluster, services)
    send(undisturbed.events[acked:])
    keeper = services["keeper"][0]
    keeper.run("kintsugi", "wait", "--timeout", f"{WAIT:.0f}")

    undisturbed.stack.wait(WAIT)
    expected = undisturbed.stack.digest(NAME)
    assert expected.profiles > 500
    assert landed(cluster) == undisturbed.stack.count("events", NAME) == undisturbed.distinct
    assert digest(cluster.store, NAME) == expected
    assert_same_answer(cluster, undisturbed, read_key)
    assert keeper.stop(90) == 0
    (last,) = set(cluster.home.glob("savepoints/source-topic/*/_metadata")) - {savepoint / "_metadata"}
    assert last.stat().st_size > 0, "the job that the keeper did not submit ends with a savepoint too"


def begin(cluster: ComposeStack, undisturbed: Undisturbed) -> tuple[dict[str, list[Service]], str, str]:
    """All services of our image, well, the job on one TaskManager; write key and read key of the workspace."""
    rules = cluster.workspaces / NAME
    rules.mkdir()
    for file, text in FILES.items():
        (rules / file).write_text(text)
    services = {name: cluster.replicas(name) for name in ("jobmanager", "taskmanager", "collector")}
    told = services["collector"][0].run("kintsugi", "workspace", "create", NAME)
    write_key, read_key = re.findall(r"(?:write|read) key +(\S+)", told)
    shutil.copyfile(undisturbed.stack.keys_file(NAME), cluster.home / "keys" / NAME / "1.json")
    services["keeper"] = [cluster.service("keeper", KINTSUGI_PARALLELISM="1")]
    cluster.broker.start()
    services["query"] = cluster.replicas("query")
    assert set(services) == set(OURS)
    for service in [each for replicas in services.values() for each in replicas]:
        service.await_health()
    return services, write_key, read_key


def rescale(cluster: ComposeStack, services: dict[str, list[Service]]) -> Path:
    """The keeper stops the job with a savepoint, which is returned; `flink run` goes on from there on both
    TaskManagers; the keeper that is started then, by the file, keeps that job.
    """
    job = cluster.running_job()
    assert parallelism(cluster, job) == 1
    shared = f"checkpoints/source-topic/{job}/shared/*"
    until(lambda: any(cluster.home.glob(shared)), 60, "no incremental checkpoint (of RocksDB) was made")
    assert services["keeper"][0].stop(90) == 0, services["keeper"][0].told()
    (savepoint,) = (cluster.home / "savepoints" / "source-topic").iterdir()
    config = cluster.home / "run" / "job.json"
    wider = config.with_name("wider.json")
    wider.write_text(json.dumps(json.loads(config.read_text()) | {"parallelism": 2}))
    wider.chmod(0o600)
    jobmanager = services["jobmanager"][0]
    told = jobmanager.run(
        *("python", "-m", "kintsugi.flink_node", "client", "--conf", jobmanager.command[-1], "run", "--detached"),
        f"-Dexecution.checkpointing.dir={file_url(cluster.home / 'checkpoints' / 'source-topic')}",
        *("--fromSavepoint", str(savepoint), "--python", "pipelines/job.py", "--config", str(wider)),
    )  # fmt: skip
    services["keeper"] = cluster.replicas("keeper")
    services["keeper"][0].await_health()
    job = cluster.running_job()
    assert f"JobID {job}" in told
    assert parallelism(cluster, job) == len(services["taskmanager"]) == 2
    assert str(savepoint) in cluster.flink.checkpoints(job)["latest"]["restored"]["external_path"]
    return savepoint


def parallelism(cluster: ComposeStack, job: str) -> int:
    (found,) = {vertex["parallelism"] for vertex in cluster.flink.job(job)["vertices"]}
    return int(found)


def landed(cluster: ComposeStack) -> int:
    """Distinct events in the store."""
    sql = "SELECT count() FROM kintsugi_store.events FINAL WHERE workspace = {w:String}"
    return int(cluster.store.query_rows(sql, {"w": NAME})[0][0])


def busy(cluster: ComposeStack, services: list[Service]) -> Service:
    """The replica on which the job runs; the only one of a service that has no other."""
    taken = cluster.busy_ports()
    return next(each for each in services if len(services) == 1 or taken & each.ports())


def assert_same_answer(cluster: ComposeStack, undisturbed: Undisturbed, read_key: str) -> None:
    """Both query APIs tell the same of the person of the first phone number."""
    phone = next(
        found[1].decode()
        for event in undisturbed.events
        if (found := re.search(rb'"phone":"([^"]+)"', event))
    )
    answer = httpx.post(
        f"{cluster.query}/v1/profiles/lookup", json={"identifiers": [{"namespace": "phone", "value": phone}]},
        headers={"Authorization": f"Bearer {read_key}"}, trust_env=False,
    )  # fmt: skip
    (here,) = answer.json()["items"]
    (there,) = undisturbed.stack.lookup(NAME, ("phone", phone))
    assert here["profile"]["identifiers"] == there["profile"]["identifiers"] != []
    assert here["profile_id"] == there["profile_id"]
