"""One engine for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.unit.scoring.engine import Engine


@pytest.fixture(scope="session")
def session_engine() -> Iterator[Engine]:
    """The engine; tests take `engine`, which is empty."""
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def engine(session_engine: Engine) -> Engine:
    """An engine with empty tables."""
    session_engine.clear()
    return session_engine
