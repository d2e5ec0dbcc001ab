"""A filled store that queries and notebooks share."""

from collections.abc import Iterator

import pytest

from tests.filled_store import Filled, filled_store


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled_store(tmp_path_factory.mktemp("filled")) as ready:
        yield ready
