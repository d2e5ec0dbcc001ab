"""Fixtures that several folders of tests share."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from store.client import Store
from tests import reaper
from tests.load import Undisturbed, undisturbed_in
from tests.stacks import Stack
from tests.stores import running_store


def pytest_configure() -> None:
    """Whatever becomes of this run, it leaves nothing running."""
    reaper.watch_this_run()


_WANTS_THE_STACK = re.compile(r"\b(stack: Stack|undisturbed: Undisturbed)\b")


class Shares(LoadScopeScheduling):
    """What two workers share out: all files that use the stack together, other files whole, sabotages one by one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if file.endswith("test_sabotage.py"):
            return nodeid
        return "stack" if _WANTS_THE_STACK.search(Path(file).read_text(encoding="utf-8")) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shares:
    """Says to xdist how the suite is shared out."""
    return Shares(config, log)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One migrated store for the whole session: use a workspace of your own in it, and never `reset`."""
    with running_store(tmp_path_factory.mktemp("store") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the whole session: create a workspace of your own in it, and kill nothing."""
    running = Stack(tmp_path_factory.mktemp("金 継ぎ"), KINTSUGI_HANDOVER="file").up()
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session")
def undisturbed(stack: Stack) -> Undisturbed:
    """The load, sent to the session's stack once; `wait` before reading it."""
    return undisturbed_in(stack)


_SECONDS: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count set-up, call and tear-down to the folder of the test."""
    path = Path(report.nodeid.split("::")[0])
    _SECONDS[path.parts[1] if len(path.parts) > 2 else path.stem] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The suite says where its time went."""
    if len(_SECONDS) > 1:
        parts = (
            f"{name} {seconds:.0f} s" for name, seconds in sorted(_SECONDS.items(), key=lambda part: -part[1])
        )
        terminalreporter.write_line("time by folder: " + ", ".join(parts))
