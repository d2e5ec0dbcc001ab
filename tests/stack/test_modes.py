"""Other ways to run the same job: the log on a real Kafka broker, Python beside the TaskManager. Equal digests."""

import os
from datetime import date
from pathlib import Path

import pytest

from kintsugi.demo_data import journeys
from pipelines.jars import JarsUnavailable, fetch
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}
NAME = "same-everywhere"


@pytest.fixture(scope="module")
def embedded(stack: Stack) -> Stack:
    """The embedded default, thread mode, with the events in one workspace."""
    stack.workspace(NAME, FILES)
    stack.send(NAME, events())
    stack.wait()
    return stack


def events() -> list[dict[str, object]]:
    return [event for batch in journeys(41, 3000, date(2026, 11, 1), 18) for event in batch.events]


def need_jars() -> None:
    try:
        fetch("broker")
        fetch("connector")
    except JarsUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.parametrize("mode", ["kafka", "process"])
def test_the_digest_is_the_same(embedded: Stack, tmp_path: Path, mode: str) -> None:
    if mode == "kafka":
        need_jars()
        other = Stack(tmp_path, KINTSUGI_LOG="kafka")
    else:
        other = Stack(tmp_path, KINTSUGI_PYTHON_MODE="process")
    try:
        other.up()
        other.workspace(NAME, FILES, secrets=embedded.keys_file(NAME))
        assert other.send(NAME, events()).accepted == 3000
        other.wait()
        expected = embedded.digest(NAME)
        assert expected.profiles > 300
        assert other.count("events", NAME) == embedded.count("events", NAME)
        assert other.digest(NAME) == expected
        job = other.status()["job"]
        assert job["state"] == "RUNNING"
    finally:
        other.down()
