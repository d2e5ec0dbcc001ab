"""Starts the endpoint: `python -m store.endpoint --path DIR --host 127.0.0.1 --port N --token-file F`.

Prints one line of JSON, {"url": ..., "pid": ...}, once it answers. Ends on SIGTERM after what runs has
finished.

Exit codes: 0 stopped, 2 wrong arguments, 3 the path belongs to another process, 4 the engine does
not open it.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

import uvicorn

from store.endpoint.app import App
from store.endpoint.engine import Engine
from store.endpoint.faults import Fault
from store.endpoint.owner import Owner, PathOwned
from store.endpoint.protocol import LongUrlProtocol

DRAIN_SECONDS = 20
"""How long a stop waits for what runs."""
CLOSE_SECONDS = 5
"""How long the engine may take to close; what it acknowledged is on the disk anyway."""


class _Server(uvicorn.Server):
    """Says when it listens, and refuses new requests from the moment it is told to stop."""

    def __init__(self, app: App, url: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=LongUrlProtocol,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._app, self._url = app, url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps({"url": self._url, "pid": os.getpid()}), flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.is_draining = True
        super().handle_exit(sig, frame)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m store.endpoint", description="The embedded store")
    parser.add_argument("--path", type=Path, required=True, help="directory of the data")
    parser.add_argument(
        "--host", default="127.0.0.1", choices=["127.0.0.1", "localhost", "::1"], help="loopback only"
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="holds the password of the user `default`"
    )
    parser.add_argument(
        "--analyst-token-file", type=Path, help="holds the password of the user `analyst`, if any"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Serves until told to stop; returns the exit code."""
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        token = arguments.token_file.read_text().strip()
        analyst = arguments.analyst_token_file.read_text().strip() if arguments.analyst_token_file else ""
    except OSError as error:
        return _refuse(2, f"the token file cannot be read: {error}")
    if not token:
        return _refuse(2, f"the token file {arguments.token_file} is empty")
    try:
        owner = Owner(arguments.path)
        engine = Engine(arguments.path / "data")
    except PathOwned as error:
        return _refuse(3, str(error))
    except Fault as fault:
        return _refuse(4, f"the engine does not open {arguments.path}: {fault.message.splitlines()[0]}")
    listener = socket.create_server(
        (arguments.host, arguments.port), family=_family(arguments.host), backlog=1024
    )
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    # uvicorn raises the signal again once it has stopped; by then it has done its work
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    _Server(App(engine, token, analyst), f"http://{host}:{listener.getsockname()[1]}").run(sockets=[listener])
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(CLOSE_SECONDS)
    owner.release()
    return 0


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _refuse(code: int, sentence: str) -> int:
    print(f"store.endpoint: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a query that does not end must not keep the process
