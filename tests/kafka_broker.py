"""The one broker of a test run: real, or a skip that says why, or, in CI, a failure."""

import atexit
import functools
import os
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.broker import Broker
from pipelines.jars import JarsUnavailable


@functools.cache
def running_broker() -> Broker:
    """Started at first use, on free ports; it ends with the test run. Whoever kills it starts it again."""
    home = Path(tempfile.mkdtemp(prefix="kintsugi broker 代理 "))
    broker = Broker(home, *_free_ports())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(broker.kill)
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
