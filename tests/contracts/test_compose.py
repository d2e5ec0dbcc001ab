"""docker/: the files say what the product does, and every service built from our image runs by them.

No container engine is asked for; what was run where is told in docs/how-to/kafka-and-flink-cluster.md.
"""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from chdb.state.sqlitelike import connect

from kintsugi.flink import Cluster, pyflink_home
from kintsugi.settings import SETTINGS, Settings
from pipelines import broker, jars
from store.endpoint.sessions import quoted
from store.migrate import ddl
from tests.compose_stack import COMPOSE, DOCKER, OURS, ROOT, SERVICES, Places, Service, image_environment
from tests.stores import TOKEN, running_endpoint

CONFIG = yaml.safe_load((DOCKER / "flink" / "config.yaml").read_text())


def test_kafka_gets_the_settings_of_the_embedded_broker() -> None:
    mounted = (DOCKER / "kafka" / "server.properties").read_text()
    assert mounted == broker.server_properties(
        "/var/lib/kafka/data", 9092, 9093, bind="0.0.0.0", host="kafka"
    )


def test_flink_gets_the_settings_of_the_embedded_cluster(tmp_path: Path) -> None:
    own = Cluster(Settings.load({"KINTSUGI_HOME": str(tmp_path)})).configuration()
    places = re.compile(r"address|host|port$|executable|dir|Slots|tmp")
    for key, value in own.items():
        if not places.search(key):
            assert str(CONFIG[key]).lower() == value.lower(), key
    shipped = yaml.safe_load((pyflink_home() / "conf" / "config.yaml").read_text())
    assert CONFIG["env.java.opts.all"] == shipped["env"]["java"]["opts"]["all"]


def test_the_file_refers_only_to_what_exists() -> None:
    for name, service in SERVICES.items():
        assert "healthcheck" in service, name
        assert ":" in service["image"] or service["image"] == "kintsugi", f"{name}: the image has no version"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    known = {setting.name for setting in SETTINGS} | {"KINTSUGI_CACHE"}
    used = {name for service in OURS for name in SERVICES[service].get("environment", {})} | set(
        image_environment()
    )
    assert {name for name in used if name.startswith("KINTSUGI_")} <= known


def test_the_image_holds_every_package_and_the_locked_requirements() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    packages = [
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name not in ("tests", "benchmarks")
    ]
    for package in packages:
        assert f"COPY {package} {package}" in text
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()
    assert text.count("--require-hashes") == 2
    assert text.rpartition("USER ")[2].startswith("kintsugi\n")


def test_ddl_of_a_cluster_is_that_of_one_server_with_cluster_clauses() -> None:
    engine = connect(":memory:")

    def formatted(sql: str) -> str:
        return str(engine.query(f"SELECT formatQuerySingleLine({quoted(sql)})", "TSVRaw"))

    try:
        for one, many in zip(ddl(), ddl("c"), strict=True):
            clustered = formatted(many)
            assert " ON CLUSTER c" in clustered
            assert ("MergeTree" in one) == ("ENGINE = Replicated" in clustered)
            plain = clustered.replace(" ON CLUSTER c", "")
            plain = plain.replace("ENGINE = Replicated", "ENGINE = ")
            plain = re.sub(
                r"\('/clickhouse/tables/\{shard\}/\{database\}/\{table\}', '\{replica\}'(, )?", "(", plain
            )
            assert plain.replace("MergeTree()", "MergeTree") == formatted(one).replace(
                "MergeTree()", "MergeTree"
            )
    finally:
        engine.close()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[int]:
    """The port of a broker that runs by the mounted server.properties, formatted with the file's flags."""
    port, controller = _free_ports(2)
    text = (DOCKER / "kafka" / "server.properties").read_text()
    places = {"9092": str(port), "9093": str(controller), "//kafka:": "//127.0.0.1:", "//0.0.0.0:": "//127.0.0.1:",
              "/var/lib/kafka/data": str(tmp_path / "kafka" / "data")}  # fmt: skip
    home = tmp_path / "kafka"
    home.mkdir()
    script = SERVICES["kafka"]["command"][2]
    flags = re.search(r"kafka-storage.sh format (.*?) -t", script)
    assert flags is not None
    assert flags[1].split() == ["--standalone", "--ignore-formatted"]
    try:
        jars.fetch("broker")
    except jars.JarsUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    running = broker.Broker(home, port, controller, properties=Places(places).put(text))
    with running:
        yield port


def test_every_service_of_our_image_runs_by_the_file(kafka: int, tmp_path: Path) -> None:
    rest, rpc, blob, collector, query = _free_ports(5)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copytree(ROOT / "workspaces" / "demo", tmp_path / "workspaces" / "demo")
    common = {"jobmanager:8081": f"127.0.0.1:{rest}", "kafka:9092": f"127.0.0.1:{kafka}",
              "/var/lib/kintsugi": str(home), "/etc/kintsugi/workspaces": str(tmp_path / "workspaces"),
              "8400": str(collector), "8401": str(query), "0.0.0.0": "127.0.0.1"}  # fmt: skip

    def service(name: str, replica: int = 0) -> Service:
        conf = tmp_path / f"flink-{name}-{replica}"
        places = Places({
            **common, "127.0.0.1:8081": f"127.0.0.1:{rest}", "rest.port: 8081": f"rest.port: {rest}", "6123": str(rpc),
            "6124": str(blob), "9249": str(_free_ports(1)[0]), "address: jobmanager": "address: 127.0.0.1",
            "env.java.opts.all: ": "env.java.opts.all: -XX:TieredStopAtLevel=1 -XX:+UseSerialGC ",  # starts quicker
            "/etc/kintsugi/flink": str(conf), "clickhouse:8123": endpoint.url.removeprefix("http://"),
        })  # fmt: skip
        shutil.copytree(DOCKER / "flink", conf)
        (conf / "config.yaml").write_text(places.put((conf / "config.yaml").read_text()))
        # the embedded endpoint stands for the server; its one login that writes is called default
        secrets = {"KINTSUGI_STORE_PASSWORD": TOKEN, "KINTSUGI_STORE_USER": "default"}
        made = Service(name, places, secrets, tmp_path / f"{name}-{replica}.log").start()
        held.callback(made.kill)
        return made

    with running_endpoint(tmp_path / "store") as endpoint, ExitStack() as held:
        started = [service("jobmanager")]
        started += [service("taskmanager", n) for n in range(SERVICES["taskmanager"]["deploy"]["replicas"])]
        started += [service("collector")]
        told = started[-1].run("kintsugi", "workspace", "create", "demo")
        write_key, read_key = re.findall(r"(?:write|read) key +(\S+)", told)
        for each in started:
            each.await_health()
        keeper = service("keeper")
        keeper.await_health()
        api = service("query")
        api.await_health()
        assert {each.name for each in (*started, keeper, api)} == set(OURS)

        event = {"type": "identify", "messageId": "m1", "userId": "u1", "traits": {"phone": "13987650123"}}
        sent = httpx.post(f"http://127.0.0.1:{collector}/v1/identify", json=event, auth=(write_key, ""))
        assert sent.json()["accepted"] == 1
        keeper.run("kintsugi", "wait", "--timeout", "60")
        found = httpx.post(
            f"http://127.0.0.1:{query}/v1/profiles/lookup",
            json={"identifiers": [{"namespace": "phone", "value": "+86 139 8765 0123"}]},
            headers={"Authorization": f"Bearer {read_key}"},
        )
        profile = found.json()["items"][0]["profile"]
        assert profile, found.text
        assert {each["namespace"] for each in profile["identifiers"]} == {"phone", "user_id"}
        assert keeper.stop(90) == 0
        assert list(home.glob("savepoints/*/*/_metadata")), keeper.told()
