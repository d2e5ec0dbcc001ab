"""Ports of one stack: the documented ones where they are free, else the next free ones.

Invariant: a port is taken only if binding it on loopback succeeds now; what was taken is recorded by the
supervisor in endpoints.json, and that file, never a default, is what other commands use.
"""

import argparse
import socket
from collections.abc import Iterable

from schemas.errors import Problem

_TRIES = 400


def listen(port: int) -> socket.socket:
    """A listening loopback socket on `port`, or on the next free one; it may be inherited by children."""
    for candidate in range(port, min(port + _TRIES, 65536)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        listener.set_inheritable(True)
        return listener
    raise Problem("bad_request", f"No port from {port} to {port + _TRIES - 1} is free on this machine.")


def free_port(port: int, taken: Iterable[int] = ()) -> int:
    """The first port from `port` on that can be listened on and is not in `taken`."""
    held = set(taken)
    candidate = port
    while True:
        with listen(candidate) as listener:
            found = int(listener.getsockname()[1])
        if found not in held:
            return found
        candidate = found + 1


def asked_listener() -> socket.socket:
    """The socket that the command line of a service names: inherited, or opened on a host and port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, help="an inherited listening socket")
    parser.add_argument("--host", default="127.0.0.1", help="the interface to listen on")
    parser.add_argument("--port", type=int, help="the port to listen on")
    asked = parser.parse_args()
    if asked.fd is not None:
        return socket.socket(fileno=asked.fd)
    if asked.port is None:
        parser.error("give --fd or --port")
    return socket.create_server((asked.host, asked.port), backlog=1024)
