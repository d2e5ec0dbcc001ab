"""docker/: the files say what the product does.

No container engine is asked for; what was run where is told in docs/how-to/kafka-and-flink-cluster.md, and
tests/faults/test_cluster.py runs the services.
"""

import re
from pathlib import Path

import yaml
from chdb.state.sqlitelike import connect

from kintsugi.flink import Cluster, pyflink_home
from kintsugi.settings import SETTINGS, Settings
from pipelines import broker
from store.endpoint.sessions import quoted
from store.migrate import ddl
from tests.compose_stack import COMPOSE, DOCKER, OURS, ROOT, SERVICES, image_environment

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
    script = SERVICES["kafka"]["command"][2]
    flags = re.search(r"kafka-storage.sh format (.*?) -t", script)
    assert flags is not None
    assert flags[1].split() == ["--standalone", "--ignore-formatted"], (
        "as the broker of the tests is formatted"
    )
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
            assert (" ON CLUSTER c" in clustered) == (not clustered.startswith("INSERT "))
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
