"""What the contract suites share."""

import pytest

from tests.kafka_broker import running_broker


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    """Bootstrap servers of the test run's broker."""
    return running_broker().servers
