"""A broker for tests that need one: real, or a skip that says why, or, in CI, a failure."""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.broker import Broker
from pipelines.jars import JarsUnavailable


def start_broker(home: Path) -> Broker:
    """A running broker on free ports; the caller stops it."""
    port, controller_port = _free_ports()
    broker = Broker(home, port, controller_port)
    try:
        broker.start()
    except JarsUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return broker


def _free_ports() -> tuple[int, int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        first, second = (one.getsockname()[1] for one in sockets)
        return first, second
