"""The collector: takes events from tracking SDKs and answers once they are durable in the log.

Invariants: an event is acknowledged only after its append is durable; 4xx (other than 429) means that
nothing of the request was taken, since SDKs then drop it; one bad event never costs the others; no answer
redirects. The routes and answers are those that the official SDKs of Segment and RudderStack were seen to
need.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import orjson
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems, wire
from api.body import ROOM, Body, Gone, Room, read_body
from api.intake import Taken, admit_all, reject, take_apart
from api.keys import Access, AccessKeys
from api.limits import STRANGER_RATE, Buckets, address_of
from api.metrics import Metrics
from schemas.errors import Problem
from schemas.log_record import MAX_BATCH, AnyRecord, Events, Raw, RejectItem

_log = structlog.get_logger(__name__)

_TYPES = ("track", "identify", "page", "screen", "group", "alias")
_EVENT_PATHS: dict[str, str | None] = {
    **{f"/v1/{kind}": kind for kind in _TYPES},
    **{f"/v1/{kind[0]}": kind for kind in _TYPES},
    **dict.fromkeys(("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")),
}
_SETTINGS = re.compile(r"/v1/projects/([^/]+)/settings")
_GETS = frozenset({"/sourceConfig", "/health", "/metrics"})
_UNSAID = ("unknown_key", "too_many_requests")
"""Refusals that are counted and not logged: whoever sends them could fill the disk."""
_QUARANTINE_CAP = 256 * 1024
"""Bytes kept of a body that could not be read."""
_BYTES_OF_A_TOKEN = 64 * 1024
"""A body takes one more token of its key's bucket for so many bytes, unpacked."""


class _Busy(Problem):
    """Nothing counts as taken; the client may send again after so many seconds."""

    def __init__(self, retry_after: int, detail: str = "") -> None:
        super().__init__("overloaded", detail)
        self.retry_after = retry_after


class Appender(Protocol):
    """What the collector asks of the log."""

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        """Adds records, in this order; the future resolves when they are durable.

        Both may raise: then nothing counts as taken and the client is asked to send again.
        """


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    status: int = 200
    headers: wire.Headers = ((b"content-type", b"application/json"),)


_DONE = _Answer(b'{"success":true}')


def create_app(
    log: Appender,
    keys: AccessKeys,
    *,
    key_generation: Callable[[str], int] = lambda workspace: 1,
    public_url: str = "",
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ack_timeout: float = 10.0,
    body_timeout: float = 30.0,
    rate: float = 2000,
    room: int = ROOM,
) -> ASGIApp:
    """The collector as an ASGI application.

    `key_generation` tells the one in force for a workspace; `public_url` is where browsers reach the
    collector (default: as the request says); `now` is the clock (µs, UTC); time-outs are in seconds; `rate` is
    how many requests per second a write key may send for long; `room` is for bytes of unfinished bodies.
    """
    return _Collector(log, keys, key_generation, public_url, now, ack_timeout, body_timeout, rate, room)


class _Collector:
    def __init__(
        self,
        log: Appender,
        keys: AccessKeys,
        key_generation: Callable[[str], int],
        public_url: str,
        now: Callable[[], int],
        ack_timeout: float,
        body_timeout: float,
        rate: float,
        room: int,
    ) -> None:
        self._append = log.append
        self._keys = keys
        self._key_generation = key_generation
        self._public_url = public_url.rstrip("/")
        self._now = now
        self._ack_timeout = ack_timeout
        self._body_timeout = body_timeout
        self._metrics = Metrics()
        self._room = Room(room)
        self._buckets = Buckets(rate)
        self._strangers = Buckets(STRANGER_RATE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except Gone:
            return
        except Problem as problem:
            answer = self._refusal(problem)
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body)), *wire.CORS]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        """Answers one request. Raises Problem, Gone."""
        method = scope["method"]
        path = "/" + "/".join(part for part in scope["path"].split("/") if part)
        if path in _EVENT_PATHS:
            if method == "POST":
                return await self._take(scope, receive, _EVENT_PATHS[path])
        elif path == "/v1/m":
            if method == "POST":
                await self._body(scope, receive)
                return _DONE
        elif path in _GETS or _SETTINGS.fullmatch(path):
            if method in ("GET", "HEAD"):
                return self._get(scope, path)
        else:
            return _problem(Problem("bad_request", "There is nothing at this path."), 404)
        if method == "OPTIONS":
            return _Answer(b"", headers=wire.preflight(scope))
        return _problem(Problem("bad_request", "This path does not know the method."), 405)

    async def _take(self, scope: Scope, receive: Receive, default_type: str | None) -> _Answer:
        """Takes the events of a body; answers when they are durable. Raises Problem, Gone."""
        received_at = self._now()
        sent_key = wire.key_of(scope)
        access = self._access(scope, sent_key) if sent_key else None
        body = await self._body(scope, receive)
        if body.problem:
            raise await self._quarantined(body, body.problem, access, received_at)
        try:
            request = take_apart(body.plain)
        except Problem as problem:
            raise await self._quarantined(body, problem, access, received_at) from None
        access = access or self._access(scope, request.key)
        self._buckets.charge(access.id, len(body.plain) / _BYTES_OF_A_TOKEN)
        request.sent_at = request.sent_at or wire.header(scope, b"sentat") or None
        taken = Taken()
        for _ in admit_all(request, default_type, received_at, taken):
            await asyncio.sleep(0)
        await self._write(self._records(access, received_at, taken))
        self._metrics.accepted.inc(len(taken.items))
        for entry in taken.report:
            self._metrics.rejected.labels(entry["code"]).inc()
        body_of = {"success": True, "accepted": len(taken.items), "rejected": taken.report}
        return _Answer(orjson.dumps(body_of))

    def _records(self, access: Access, received_at: int, taken: Taken) -> list[AnyRecord]:
        """Records of what a request brought, rejects last."""
        generation = self._key_generation(access.workspace)
        records: list[AnyRecord] = [
            Events(
                workspace=access.workspace,
                source=access.source,
                received_at=received_at,
                key_generation=generation,
                batch=taken.items[start : start + MAX_BATCH],
            )
            for start in range(0, len(taken.items), MAX_BATCH)
        ]
        if taken.rejects:
            records.append(_raw(access, received_at, taken.rejects))
        return records

    async def _write(self, records: Sequence[AnyRecord]) -> None:
        """Returns when the records are durable. Raises Problem `overloaded` when that cannot be said."""
        if not records:
            return
        started = time.perf_counter()
        try:
            future = asyncio.wrap_future(self._append(records))
            future.add_done_callback(_look)
            # not wait_for: giving up waiting must not cancel the append
            done, _ = await asyncio.wait((future,), timeout=self._ack_timeout)
            if not done:
                raise _Busy(2, "the log did not confirm in time")
            future.result()
        except Problem as problem:
            if problem.code != "overloaded":
                _log.error("append refused", code=problem.code, detail=problem.detail)
            raise _Busy(getattr(problem, "retry_after", 2)) from problem
        except Exception as error:
            _log.error("append failed", error=type(error).__name__)
            raise _Busy(5) from error
        self._metrics.ack_seconds.observe(time.perf_counter() - started)

    async def _quarantined(
        self, body: Body, problem: Problem, access: Access | None, received_at: int
    ) -> Problem:
        """The problem, once the unreadable body is kept; without a valid key nothing is kept."""
        if access:
            kept = reject(body.sent[:_QUARANTINE_CAP], problem)
            await self._write([_raw(access, received_at, [kept])])
        return problem

    async def _body(self, scope: Scope, receive: Receive) -> Body:
        encoding = wire.header(scope, b"content-encoding").strip().lower()
        length = wire.header(scope, b"content-length")
        try:
            declared = int(length) if length.isdecimal() else 0
            body = await read_body(receive, encoding, declared, self._body_timeout, self._room)
        except TimeoutError:
            raise _Busy(1, "the body did not arrive in time") from None
        self._metrics.bytes.inc(len(body.sent))
        return body

    def _access(self, scope: Scope, key: str) -> Access:
        """The access of a write key that calls. Raises Problem."""
        try:
            access = self._keys.access(key, "ingest")
        except Problem:
            self._strangers.take(address_of(scope))
            raise
        except (OSError, ValueError, KeyError) as error:
            _log.error("keys cannot be read", error=type(error).__name__)
            raise _Busy(2) from error
        self._buckets.take(access.id)
        return access

    def _get(self, scope: Scope, path: str) -> _Answer:
        """What browsers load before they send, and what operators look at. Raises Problem."""
        if path == "/health":
            return _Answer(b'{"status":"ok"}')
        if path == "/metrics":
            return _Answer(self._metrics.text(), headers=((b"content-type", b"text/plain; version=0.0.4"),))
        settings = _SETTINGS.fullmatch(path)
        key = settings[1] if settings else wire.key_of(scope)
        access = self._access(scope, key)
        if settings:
            return _Answer(wire.segment_settings(key, self._public_url or wire.url_of(scope)))
        return _Answer(wire.rudder_config(access.source))

    def _refusal(self, problem: Problem) -> _Answer:
        self._metrics.refused.labels(problem.code).inc()
        if problem.code not in _UNSAID:
            _log.info("request refused", code=problem.code, pointer=problem.pointer)
        return _problem(problem)


def _problem(problem: Problem, status: int | None = None) -> _Answer:
    headers: wire.Headers = ((b"content-type", problems.MEDIA_TYPE.encode()),)
    if problem.status == 429:
        headers += ((b"retry-after", b"%d" % max(1, getattr(problem, "retry_after", 1))),)
    return _Answer(problems.body_of(problem, status), status or problem.status, headers)


def _raw(access: Access, received_at: int, items: list[RejectItem]) -> Raw:
    return Raw(workspace=access.workspace, source=access.source, received_at=received_at, items=items)


def _look(future: "asyncio.Future[None]") -> None:
    """Looks at the result of an append that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
