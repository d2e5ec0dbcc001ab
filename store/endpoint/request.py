"""What one HTTP request asks for, in the engine's terms; every parameter is known, or the request is
refused.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from store.endpoint.encoding import unpack
from store.endpoint.faults import refusal
from store.endpoint.forms import Form, read_form
from store.endpoint.statement import Statement, read

MOST_BYTES: Final = 512 * 1024 * 1024
"""Largest body, as sent and unpacked."""

_IGNORED: Final = frozenset(
    [
        "wait_end_of_query",
        "buffer_size",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "session_id",
        "session_timeout",
        "session_check",
        "quota_key",
        "role",
        "stacktrace",
        "compress",
        "decompress",
        "user",
        "password",
        "query",
        "query_id",
        "database",
        "default_format",
        "enable_http_compression",
    ]
)


@dataclass(frozen=True, slots=True)
class External:
    """A table that comes with the request and lives as long as it."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One statement with everything that goes with it."""

    statement: Statement
    format: str
    """Format of the result where the statement names none."""
    query_id: str
    is_get: bool = False
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    external: tuple[External, ...] = ()
    session_id: str = ""
    session_timeout: float = 60.0
    may_stream: bool = False
    is_packed: bool = False
    """Whether the result may be sent compressed."""

    @property
    def result_format(self) -> str:
        """Format of the result."""
        return self.statement.format or self.format


def read_request(method: str, query_string: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Request:
    """The request behind an HTTP message; header names are lower case. Raises Fault where it cannot be
    understood.
    """
    arguments = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    for name in ("compress", "decompress"):
        if arguments.get(name, "0") not in ("0", ""):
            raise refusal(
                48,
                "NOT_IMPLEMENTED",
                f"{name}=1 (ClickHouse blocks) is not supported here; use HTTP compression",
            )
    body = unpack(body, headers.get(b"content-encoding", b"").decode("latin-1").lower(), MOST_BYTES)
    form = Form({}, {})
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if content_type.startswith("multipart/form-data"):
        form, body = read_form(content_type, body), b""
        arguments |= {name: value.decode() for name, value in form.fields.items()}
    statement = read(arguments.get("query", "").encode(), body)
    external = tuple(_external(name, data, arguments) for name, data in form.files.items())
    return Request(
        statement=statement,
        format=arguments.get("default_format")
        or headers.get(b"x-clickhouse-format", b"").decode("latin-1")
        or "TabSeparated",
        query_id=arguments.get("query_id") or str(uuid.uuid4()),
        is_get=method == "GET",
        database=arguments.get("database") or headers.get(b"x-clickhouse-database", b"").decode(),
        parameters={name[6:]: value for name, value in arguments.items() if name.startswith("param_")},
        settings=_settings(arguments),
        external=external,
        session_id=arguments.get("session_id", ""),
        session_timeout=_seconds(arguments.get("session_timeout", "60")),
        may_stream=arguments.get("wait_end_of_query", "0") in ("0", ""),
        is_packed=arguments.get("enable_http_compression", "0") not in ("0", ""),
    )


def _settings(arguments: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in arguments.items()
        if name not in _IGNORED and not name.startswith("param_")
    }


def _external(name: str, data: bytes, arguments: dict[str, str]) -> External:
    """Takes the description of an external table out of the arguments."""
    if not name.isidentifier():
        raise refusal(36, "BAD_ARGUMENTS", f"External data needs a plain name, not {name!r}")
    format_ = arguments.pop(f"{name}_format", "") or "TabSeparated"
    structure, types = arguments.pop(f"{name}_structure", ""), arguments.pop(f"{name}_types", "")
    if not structure and types:
        structure = ", ".join(f"_{i} {type_}" for i, type_ in enumerate(_split(types), 1))
    if not structure:
        raise refusal(
            36, "BAD_ARGUMENTS", f"External data {name} has neither {name}_structure nor {name}_types"
        )
    return External(name, structure, format_, data)


def _split(types: str) -> list[str]:
    """Types separated by commas that stand outside brackets.

    >>> _split("Map(String, Int64), String")
    ['Map(String, Int64)', 'String']
    """
    depth, parts = 0, [""]
    for char in types:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 3600.0)
    except ValueError:
        raise refusal(36, "BAD_ARGUMENTS", f"session_timeout is not a number: {text!r}") from None
