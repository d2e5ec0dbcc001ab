"""What the contract suites share."""

from collections.abc import Iterator

import pytest

from tests.kafka_broker import start_broker


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker that runs as long as the tests do."""
    broker = start_broker(tmp_path_factory.mktemp("a broker 代理"))
    yield broker.servers
    broker.stop()
