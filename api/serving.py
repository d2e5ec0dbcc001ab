"""The HTTP server of the collector and of the query API: uvicorn, with an end to connections that ask nothing.

Invariant: a connection is closed when its head of a request is not complete `head_timeout` seconds after it was opened
or after that head began, when that head grows past HEAD_CAP, and when a body goes on for as long after its answer. When
more than `most` are open, the one that has asked nothing for longest goes, so that idle ones never keep a caller out.
No paths and no peers are logged.
"""

import asyncio
import resource
from typing import Literal

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 10.0
HEAD_CAP = 128 * 1024
"""Bytes of a head that is not complete; one that comes in one piece may be as large as the piece (256 KiB)."""
_FILES = 65_536
"""Open files that a server asks for, where the system allows it."""
_SPARE = 128
"""Of them those that are not connections: the log, the store, the runtime."""


def server(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    lifespan: Literal["on", "off"] = "off",
    most: int | None = None,
    head_timeout: float = HEAD_TIMEOUT_S,
) -> uvicorn.Server:
    """A server for `app`; `most` connections at once (default: what the limit of open files leaves)."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_protocol(most or _connections(), head_timeout),
        ws="none",
        lifespan=lifespan,
        access_log=False,
        log_level="error",  # a warning is what a stranger sent
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=15,
    )
    return uvicorn.Server(config)


def _connections() -> int:
    """Connections that the limit of open files leaves room for, once it is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted - _SPARE, 1)


def _protocol(most: int, head_timeout: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, with these limits; its connections share the order in which they began to wait."""
    waiting: dict[HttpToolsProtocol, None] = {}

    class Connection(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head_size = 0
        _is_in_body = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            self._expect_head()
            if len(self.connections) > most:
                next(iter(waiting)).transport.close()

        def data_received(self, data: bytes) -> None:
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._expect_head()
            super().data_received(data)
            if self._deadline is not None and not self._is_in_body:
                self._head_size += len(data)
                if self._head_size > HEAD_CAP:
                    self.transport.close()

        def on_headers_complete(self) -> None:
            self._is_in_body = True
            self._stop_waiting()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._is_in_body = False
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete:  # no other request was pipelined
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            waiting.pop(self, None)
            waiting[self] = None

        def _expect_head(self) -> None:
            self._deadline = self.loop.call_later(head_timeout, self.transport.close)
            self._head_size = 0

        def _stop_waiting(self) -> None:
            waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Connection
