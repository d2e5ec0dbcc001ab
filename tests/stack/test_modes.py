"""Another way to run the same job: Python beside the TaskManager. Equal digests."""

from datetime import date
from pathlib import Path

from kintsugi.demo_data import journeys
from tests.load import FILES
from tests.stacks import Stack

NAME = "same-everywhere"


def test_the_digest_of_process_mode_is_that_of_thread_mode(stack: Stack, tmp_path: Path) -> None:
    events = [event for batch in journeys(41, 3000, date(2026, 11, 1), 18) for event in batch.events]
    stack.workspace(NAME, FILES)
    stack.send(NAME, events)
    other = Stack(tmp_path, KINTSUGI_PYTHON_MODE="process")
    try:
        other.up()
        other.workspace(NAME, FILES, secrets=stack.keys_file(NAME))
        assert other.send(NAME, events).accepted == 3000
        other.wait()
        stack.wait()
        expected = stack.digest(NAME)
        assert expected.profiles > 300
        assert other.count("events", NAME) == stack.count("events", NAME)
        assert other.digest(NAME) == expected
        assert other.status()["job"]["state"] == "RUNNING"
    finally:
        other.down()
