"""Answers that say no: `application/problem+json` (RFC 9457) from a Problem, the same for every endpoint.

Invariant: the body names the stable code, what is wrong and where; never a value that the client sent.
`message` repeats `detail`, since Segment's SDKs show that member to their users.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from schemas.errors import ERRORS, Problem

MEDIA_TYPE = "application/problem+json"
_STATUS_TITLES = {404: "There is nothing at this path.", 405: "The path does not know this method."}


def body_of(problem: Problem, status: int | None = None) -> bytes:
    """The problem as JSON; `status` where it differs from the one of the code."""
    members = {
        "type": f"urn:kintsugi:error:{problem.code}",
        "title": ERRORS[problem.code].meaning,
        "status": status or problem.status,
        "detail": problem.detail,
        "message": problem.detail,
        "code": problem.code,
    }
    if problem.pointer:
        members["pointer"] = problem.pointer
    return orjson.dumps(members)


def answer(problem: Problem, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response; of use both inside FastAPI and as a plain ASGI application."""
    return Response(body_of(problem, status), status or problem.status, headers, MEDIA_TYPE)


def may(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an operation behind a key refuses, for the API's description of itself; `statuses` of its own besides."""
    return {
        status: {"content": {MEDIA_TYPE: {}}} for status in sorted({400, 401, 403, 422, 429, 503, *statuses})
    }


def install(app: FastAPI) -> None:
    """Makes `app` answer every refusal, its own and the framework's, with a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = {"Retry-After": str(getattr(error, "retry_after", 1))} if error.status in (429, 503) else None
    return answer(error, headers=headers)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    pointer = "".join(f"/{part}" for part in where[1:]) if where[:1] == ["body"] else ".".join(where)
    return answer(Problem("bad_request", first["msg"], pointer))


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = _STATUS_TITLES.get(error.status_code, "")
    return answer(Problem("bad_request", detail), error.status_code, error.headers)
