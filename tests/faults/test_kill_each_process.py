"""kill -9 of each process under load: nothing acknowledged is lost, nothing counts twice, the digest is undisturbed."""

import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.load import EVENTS, FILES, NAME, ROUNDS, Undisturbed
from tests.real_data import commit_items, needs_commits
from tests.stack.test_real_data import COMMIT_FILES
from tests.stacks import Stack

WAIT = 240 + EVENTS / 500
PROCESSES = ("collector", "store", "taskmanager", "jobmanager", "api")


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The second stack of the session: the one that may be hurt."""
    running = Stack(tmp_path_factory.mktemp("hurt")).up()
    try:
        yield running
    finally:
        running.down()


class Sender(threading.Thread):
    """Sends the events again and again from where it was, slowly enough that every kill falls into the load."""

    def __init__(self, stack: Stack, workspace: str, load: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.stack, self.workspace, self.load = stack, workspace, load
        self.acked = 0
        self.error: BaseException | None = None
        self.may_finish = threading.Event()

    def run(self) -> None:
        try:
            size = max(200, len(self.load) // 60)
            for start in range(0, len(self.load), size):
                self.stack.send(self.workspace, self.load[start : start + size], connections=1)
                self.acked = start + size
                # the last tenth is kept until every process has died once
                while start > 0.9 * len(self.load) and not self.may_finish.is_set():
                    self.stack.send(self.workspace, self.load[start : start + size], connections=1)
                    time.sleep(0.2)
                time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - told to the test, which fails with it
            self.error = error


def test_every_process_dies_under_load_and_nothing_is_lost(undisturbed: Undisturbed, hurt: Stack) -> None:
    stack = undisturbed.stack
    hurt.workspace(NAME, FILES, secrets=stack.keys_file(NAME))
    chance = random.Random(5)
    sender = Sender(hurt, NAME, undisturbed.events)
    sender.start()
    landed_at_kill = []
    for process in PROCESSES * ROUNDS:
        time.sleep(chance.uniform(1.0, 3.0))
        assert sender.error is None, sender.error
        assert sender.is_alive(), "the kill must fall between the first and the last acknowledgement"
        if process != "store":
            landed_at_kill.append((sender.acked, hurt.count("events", NAME)))
        pid = hurt.kill_process(process)
        seconds = hurt.await_new_process(process, pid)
        assert seconds < 60
    sender.may_finish.set()
    sender.join(WAIT)
    assert sender.error is None, sender.error
    assert not sender.is_alive()
    assert any(landed < acked for acked, landed in landed_at_kill), "some kill met events that had not landed"
    hurt.wait(WAIT)
    stack.wait(WAIT)
    expected = stack.digest(NAME)
    assert expected.profiles > 500
    assert hurt.count("events", NAME) == stack.count("events", NAME) == undisturbed.distinct
    assert hurt.digest(NAME) == expected


@needs_commits
def test_a_taskmanager_that_dies_half_way_leaves_the_digest_as_it_is(stack: Stack, hurt: Stack) -> None:
    items, _ = commit_items()
    now = time.time_ns() // 1000
    stack.workspace("commits-killed", COMMIT_FILES)
    hurt.workspace("commits-killed", COMMIT_FILES, secrets=stack.keys_file("commits-killed"))
    stack.append("commits-killed", items, now)
    half = len(items) // 2
    hurt.append("commits-killed", items[:half], now)
    pid = hurt.kill_process("taskmanager")
    hurt.append("commits-killed", items[half:], now)
    assert hurt.count("events", "commits-killed") < len({bytes(item.e) for item in items})
    hurt.await_new_process("taskmanager", pid)
    hurt.wait(240)
    stack.wait(240)
    expected = stack.digest("commits-killed")
    assert expected.identifiers > 100
    assert hurt.digest("commits-killed") == expected
