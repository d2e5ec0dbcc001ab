"""The HTTP side: one ASGI application without a framework, because a point lookup takes only 2 ms."""

import asyncio
import hmac
import json
import logging
import secrets
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

from store.endpoint.encoding import chosen, pack
from store.endpoint.engine import Answer, Engine
from store.endpoint.faults import Fault, refusal
from store.endpoint.request import MOST_BYTES, Request, read_request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

THREADS: Final = 32
MOST_WAITING: Final = 512
"""Requests under way or waiting for a thread; more are told to come back."""
MOST_ANALYSTS: Final = 8
"""Of them, requests of analysts: they never take the last thread from the job."""
PING_SECONDS: Final = 2.0
WATCH_AFTER_SECONDS: Final = 0.2
"""A request that takes longer is watched: when its client goes away, its query is killed."""

_CONTENT_TYPE: Final = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8; header=present",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Parquet": "application/octet-stream",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
}

logger = logging.getLogger("store.endpoint")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way out; `chunks` follow a body that is not known yet."""

    status: int
    headers: Headers
    body: bytes
    chunks: Iterator[bytes] | None = None


class App:
    """ASGI application over one engine.

    `token` is the password of the user `default`, `analyst_token` that of `analyst` (none: nobody is that user).
    """

    def __init__(self, engine: Engine, token: str, analyst_token: str = "") -> None:
        self._engine = engine
        self._tokens = {
            b"default": token.encode(),
            b"analyst": analyst_token.encode() or secrets.token_bytes(32),
        }
        self._analysts = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="query")
        self._ping_pool = ThreadPoolExecutor(2, thread_name_prefix="ping")
        self._ping: Future[None] | None = None
        self._waiting = 0
        self.is_draining = False
        self._always: Headers = [
            (b"x-clickhouse-timezone", engine.timezone.encode()),
            (b"x-clickhouse-server-display-name", b"kintsugi"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        query_string = scope["query_string"]
        if path in ("/ping", "/replicas_status"):
            await _send(send, await self._health())
        elif path != "/" or method not in ("GET", "POST"):
            await _send(
                send, _failed(refusal(36, "BAD_ARGUMENTS", "There is only GET and POST /"), self._always, 404)
            )
        elif method == "GET" and not query_string:
            await _send(send, _text(200, "Ok.\n"))
        elif not (user := self._user(headers, query_string)):
            fault = refusal(516, "AUTHENTICATION_FAILED", "default: wrong user or token")
            await _send(
                send, _failed(fault, [*self._always, (b"www-authenticate", b'Basic realm="kintsugi"')])
            )
        elif self.is_draining:
            await _send(send, _failed(refusal(236, "ABORTED", "The store is stopping"), self._always))
        elif self._waiting >= MOST_WAITING:
            fault = refusal(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many requests are waiting")
            await _send(send, _failed(fault, [*self._always, (b"retry-after", b"1")]))
        elif user == b"analyst" and self._analysts >= MOST_ANALYSTS:
            fault = refusal(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many requests of analysts are waiting")
            await _send(send, _failed(fault, [*self._always, (b"retry-after", b"1")]))
        else:
            self._waiting += 1
            self._analysts += user == b"analyst"
            try:
                await self._query(user, method, query_string, headers, receive, send)
            finally:
                self._waiting -= 1
                self._analysts -= user == b"analyst"

    async def _health(self) -> Reply:
        """Runs a query, so that an engine that stands still is noticed; a stuck one is not asked twice."""
        if self._ping is None or self._ping.done():
            self._ping = self._ping_pool.submit(self._engine.ping)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._ping)), PING_SECONDS)
        except TimeoutError:
            return _text(503, f"The engine did not answer within {PING_SECONDS} s\n")
        except Fault as fault:
            return _text(503, fault.message + "\n")
        return _text(200, "Ok.\n")

    def _user(self, headers: Mapping[bytes, bytes], query_string: bytes) -> bytes:
        """Whose token the request carries, in any of the places that ClickHouse's clients use; empty: nobody's."""
        user, password = b"default", headers.get(b"x-clickhouse-key", b"")
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if b"x-clickhouse-user" in headers:
            user = headers[b"x-clickhouse-user"]
        elif scheme.lower() == b"bearer":
            password = credentials
        elif scheme.lower() == b"basic":
            with suppress(ValueError):
                user, _, password = b64decode(credentials, validate=True).partition(b":")
        elif b"password=" in query_string:
            arguments = parse_qs(query_string)
            user = arguments.get(b"user", [user])[0]
            password = arguments.get(b"password", [b""])[0]
        token = self._tokens.get(user, b"")
        return user if token and hmac.compare_digest(password, token) else b""

    async def _query(
        self,
        user: bytes,
        method: str,
        query_string: bytes,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        body = await _body(receive)
        if body is None:
            await _send(
                send, _failed(refusal(299, "HTTP_LENGTH_REQUIRED", "The body is too large"), self._always)
            )
            return
        asked: list[Request] = []
        run = self._engine.run_for_analyst if user == b"analyst" else self._engine.run
        work = partial(self._work, run, method, query_string, headers, body, asked)
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        done, _ = await asyncio.wait((running,), timeout=WATCH_AFTER_SECONDS)
        if not done and not await self._finishes(running, receive, asked):
            return
        reply = await running
        if reply.chunks is None:
            await _send(send, reply)
        else:
            await self._stream(reply, reply.chunks, receive, send)

    def _work(
        self,
        run: Callable[[Request], Answer],
        method: str,
        query_string: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        asked: list[Request],
    ) -> Reply:
        """The part of a request that runs in a thread; `asked` tells the loop what is being run."""
        try:
            request = read_request(method, query_string, headers, body)
            asked.append(request)
            answer = run(request)
        except Fault as fault:
            return _failed(fault, self._always)
        return self._reply(request, answer, headers)

    def _reply(self, request: Request, answer: Answer, headers: Mapping[bytes, bytes]) -> Reply:
        described: Headers = [*self._always, (b"x-clickhouse-query-id", _header(request.query_id))]
        if answer.format is not None:
            content_type = _CONTENT_TYPE.get(answer.format, "text/plain; charset=UTF-8")
            described.append((b"x-clickhouse-format", answer.format.encode()))
            described.append((b"content-type", content_type.encode()))
        if answer.chunks is not None:
            return Reply(200, described, b"", answer.chunks)
        summary = json.dumps({name: str(value) for name, value in answer.summary.items()})
        described.append((b"x-clickhouse-summary", summary.encode()))
        body = answer.body
        encoding = chosen(headers.get(b"accept-encoding", b"").decode("latin-1")) if request.is_packed else ""
        if body and encoding:
            body = pack(body, encoding)
            described.append((b"content-encoding", encoding.encode()))
        return Reply(200, described, body)

    async def _finishes(
        self, running: "asyncio.Future[Reply]", receive: Receive, asked: list[Request]
    ) -> bool:
        """Whether a long request ends with its client still there; otherwise its query is killed."""
        gone = asyncio.ensure_future(receive())
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            gone.cancel()
            return True
        if asked:
            with suppress(Fault):
                await asyncio.get_running_loop().run_in_executor(
                    self._ping_pool, self._engine.kill, asked[0].query_id
                )
        reply = await running
        if reply.chunks is not None:
            reply.chunks.close()  # type: ignore[attr-defined]  # a generator
        return False

    async def _stream(self, reply: Reply, chunks: Iterator[bytes], receive: Receive, send: Send) -> None:
        """Sends chunk after chunk. An error in the middle is told in ClickHouse's way, and the connection is
        dropped without a proper end: a client that does not know the way must not take half a result for all
        of it.
        """
        tag = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        await _start(send, 200, [*reply.headers, (b"x-clickhouse-exception-tag", tag.encode())])
        gone = asyncio.ensure_future(receive())
        try:
            while not gone.done():
                chunk = await loop.run_in_executor(self._pool, next, chunks, None)
                if chunk is None:
                    await send({"type": "http.response.body", "body": b""})
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except Fault as fault:
            message = fault.message.encode() + b"\n"
            text = b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n"
            end = text % (tag.encode(), message, len(message), tag.encode())
            await send({"type": "http.response.body", "body": end, "more_body": True})
            logger.warning("a stream was dropped: %s", fault.message)
        finally:
            gone.cancel()
            await loop.run_in_executor(self._pool, chunks.close)  # type: ignore[attr-defined]  # a generator


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than allowed."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            return None
    return b"".join(parts)


def _failed(fault: Fault, headers: Headers, status: int = 0) -> Reply:
    named = (b"x-clickhouse-exception-code", str(fault.code).encode())
    content_type = (b"content-type", b"text/plain; charset=UTF-8")
    return Reply(status or fault.status, [*headers, named, content_type], fault.message.encode() + b"\n")


def _text(status: int, text: str) -> Reply:
    return Reply(status, [(b"content-type", b"text/html; charset=UTF-8")], text.encode())


def _header(text: str) -> bytes:
    """Text that a client chose, fit for a header."""
    return text.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await _start(send, reply.status, headers)
    await send({"type": "http.response.body", "body": reply.body})
