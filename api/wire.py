"""What SDKs and browsers expect beside the events: keys, CORS, and the settings that they load first.

Invariant: nothing here decides anything about events; forms and headers are those seen on the wire.
"""

import re
from base64 import b64decode
from urllib.parse import parse_qs

import orjson
from starlette.types import Scope

from schemas.errors import Problem

Headers = tuple[tuple[bytes, bytes], ...]

CORS: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After"),
)
"""On every answer, those that refuse included: else a browser hides them from the SDK."""

_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, \-]{1,2000}")
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


def header(scope: Scope, name: bytes) -> str:
    """A header of the request; empty when it is absent."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def key_of(scope: Scope) -> str:
    """The key beside the body: user of Basic authorization (its colon may be missing), else `?writeKey=`."""
    scheme, _, credentials = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "basic":
        try:
            user = b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except ValueError:
            user = ""
        if user:
            return user
    query = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get("writeKey", [""])[0] if b"writeKey" in query else ""


def url_of(scope: Scope) -> str:
    """Where the browser reached us. Raises Problem `bad_request` when the Host header names no host."""
    host = header(scope, b"host")
    if not _HOST.fullmatch(host):
        raise Problem("bad_request", "the Host header names no host")
    return f"{scope.get('scheme', 'http')}://{host}"


def preflight(scope: Scope) -> Headers:
    """Allows what the browser asks for; the Fetch standard does not let `*` cover Authorization."""
    allowed: Headers = (
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-max-age", b"86400"),
    )
    asked = header(scope, b"access-control-request-headers").encode("latin-1")
    return (*allowed, (b"access-control-allow-headers", asked)) if _HEADER_NAMES.fullmatch(asked) else allowed


def segment_settings(key: str, url: str) -> bytes:
    """Settings with which Segment's web SDK sends everything to us and loads no other script."""
    protocol, _, host = url.partition("://")
    segment = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol}
    return orjson.dumps({"integrations": {"Segment.io": segment}, "metrics": {"sampleRate": 0}})


def rudder_config(source: str) -> bytes:
    """Source configuration with which RudderStack's web SDK starts, without destinations."""
    return orjson.dumps({"source": {"id": source, "enabled": True, "config": {}, "destinations": []}})
