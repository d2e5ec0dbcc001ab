"""The settings of a broker of our own."""

from pipelines.broker import cluster_id, server_properties
from pipelines.log.lines import MAX_LINE


def properties(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_it_listens_on_this_machine_only() -> None:
    found = properties(server_properties("/data", 9092, 9093))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"


def test_in_a_container_it_can_listen_to_others() -> None:
    found = properties(server_properties("/data", 9092, 9093, bind="0.0.0.0", host="kafka"))
    assert found["listeners"].startswith("PLAINTEXT://0.0.0.0:9092,")
    assert found["advertised.listeners"].startswith("PLAINTEXT://kafka:9092,")


def test_any_folder_name_survives_as_a_java_property() -> None:
    assert properties(server_properties("/a b/数\\据", 1, 2))["log.dirs"] == "/a b/\\u6570\\\\\\u636e"


def test_it_takes_the_longest_line() -> None:
    assert int(properties(server_properties("/data", 1, 2))["message.max.bytes"]) > MAX_LINE


def test_the_id_of_a_cluster_is_never_read_as_an_option() -> None:
    ids = {cluster_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert not [each for each in ids if each.startswith("-")]
