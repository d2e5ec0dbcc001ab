"""Around every request of the query API: the caps on how often and how much, and the numbers for /metrics.

Invariant: labels are routes, methods and statuses; nothing about a person or a tenant is ever one.
"""

import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.body import ROOM, Gone, Room, read_body
from api.guard import no_key
from api.keys import AccessKeys
from api.limits import STRANGER_RATE, Buckets, address_of
from api.metrics import counter, histogram
from schemas.admission import repeats_key
from schemas.errors import Problem

_log = structlog.get_logger(__name__)


class Metering:
    """Metrics of one application, in a registry of their own."""

    def __init__(self, questions: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._seconds = histogram("kintsugi_query_request_seconds", self.registry)
        self._identifiers = counter("kintsugi_query_identifiers", self.registry)
        asked = counter("kintsugi_query_questions", self.registry)
        self._asked, self._questions, self._counted = asked, questions, 0

    def looked_up(self, count: int) -> None:
        """Count the identifiers of a request."""
        self._identifiers.inc(count)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """`app`, with each request measured."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status = 500
            started = time.perf_counter()

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noted)
            finally:
                self._seconds.labels(_route(scope), str(status)).observe(time.perf_counter() - started)
                questions = self._questions()
                self._asked.inc(questions - self._counted)
                self._counted = questions

        return measured


class BodyCap:
    """Reads a request's body before the application does, never more than the caps of `api.body`, and never longer
    than `timeout` seconds; refuses one that holds a key twice.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._room = Room(ROOM)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; a body over the cap is answered here."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").lower()
        try:
            declared = int(length) if length.isdigit() else 0
            body = await read_body(receive, encoding, declared, self._timeout, self._room)
        except Gone:
            return
        except TimeoutError:
            late = Problem("overloaded", "the body did not arrive in time")
            await problems.answer(late, headers={"Retry-After": "1", "Connection": "close"})(
                scope, receive, send
            )
            return
        if problem := body.problem or repeats_key(body.plain):
            await problems.answer(problem)(scope, receive, send)
            return
        pending = [{"type": "http.request", "body": body.plain, "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


_KEY = re.compile(r"k[rw]_[0-9A-Za-z]{49}")


class RateCap:
    """Refuses requests without a live key, and those of a key or a stranger's address that calls too often, before
    their bodies are read, and those that show a key in their URL; `rate` is requests per second of a key.
    """

    def __init__(self, app: ASGIApp, keys: AccessKeys, rate: float) -> None:
        self._app = app
        self._keys = keys
        self._buckets = Buckets(rate)
        self._strangers = Buckets(STRANGER_RATE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what needs no key is not counted."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            scheme, _, key = (
                dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
            )
            access = self._keys.find(key) if scheme.lower() == "bearer" else None
            try:
                if access is None:
                    self._strangers.take(address_of(scope))
                    await problems.answer(no_key())(scope, receive, send)
                    return
                self._buckets.take(access.id)
                self._refuse_keys_in(scope)
            except Problem as problem:
                wait = getattr(problem, "retry_after", None)
                headers = {"Retry-After": str(wait)} if wait else None
                await problems.answer(problem, headers=headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuse_keys_in(self, scope: Scope) -> None:
        """Raises Problem `key_in_url` for a live key in path or query, and tells which one it was."""
        for text in _KEY.findall(scope["path"] + "?" + unquote(scope["query_string"].decode("latin-1"))):
            if leaked := self._keys.find(text):
                _log.warning("a key stood in a URL", key=leaked.id)
                raise Problem("key_in_url")


def _route(scope: Scope) -> str:
    """Template of the route (`/v1/profiles/{profile_id}`), so that no id becomes a label."""
    return getattr(scope.get("route"), "path", "none")
