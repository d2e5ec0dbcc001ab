"""Fixtures that several folders of tests share."""

from collections.abc import Iterator

import pytest

from store.client import Store
from tests.stacks import Stack
from tests.stores import running_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One migrated store for the whole session: use a workspace of your own in it, and never `reset`."""
    with running_store(tmp_path_factory.mktemp("store") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the whole session: create a workspace of your own in it, and kill nothing."""
    running = Stack(tmp_path_factory.mktemp("金 継ぎ")).up()
    try:
        yield running
    finally:
        running.down()
