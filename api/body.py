"""Bodies of requests: read in pieces, never more than the caps in memory, decompressed on the way.

Invariant: whatever is sent, at most WIRE_CAP + PLAIN_CAP bytes are held.
"""

import zlib
from dataclasses import dataclass

from starlette.types import Receive

from schemas.errors import Problem

WIRE_CAP = 5 * 1024 * 1024
"""Bytes of a body as sent."""
PLAIN_CAP = 20 * 1024 * 1024
"""Bytes of a body once decompressed."""
RATIO_CAP = 100
RATIO_FREE = 1024 * 1024
"""Decompressed bytes up to which the ratio does not matter, for repetitive batches compress well."""
DRAIN_CAP = 32 * 1024 * 1024
"""Bytes read and forgotten after a refusal: a client that is still sending would not read the answer."""


class Gone(Exception):  # noqa: N818 - named for the fact
    """The client went away before its body was complete."""


@dataclass(slots=True)
class Body:
    """A body as sent and, unless `problem` says why not, as meant."""

    sent: bytes
    plain: bytes = b""
    problem: Problem | None = None


async def read_body(receive: Receive, encoding: str, declared: int) -> Body:
    """Reads the whole body; `declared` is its Content-Length, 0 when unknown.

    A body over a cap or with a broken encoding comes back with the Problem and its first bytes. Raises Gone.
    """
    pieces: list[bytes] = []
    size, more = 0, True
    too_large = declared > WIRE_CAP
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        more = message.get("more_body", False)
        if size > WIRE_CAP:
            too_large = True
        if size > DRAIN_CAP:
            break
        if piece and not too_large:
            pieces.append(piece)
    sent = b"".join(pieces)
    if too_large:
        return Body(sent, problem=Problem("body_too_large", f"a body may have {WIRE_CAP} bytes"))
    if encoding in ("", "identity"):
        return Body(sent, sent)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return Body(sent, problem=Problem("bad_encoding", "Content-Encoding may be gzip or deflate"))
    try:
        return Body(sent, _inflate(sent))
    except Problem as problem:
        return Body(sent, problem=problem)


def _inflate(data: bytes) -> bytes:
    """Decompressed gzip (of one or more members) or zlib.

    Raises Problem `bad_encoding` with the offset, `body_too_large` as soon as a cap is passed.
    """
    plain: list[bytes] = []
    size, rest = 0, data
    while rest:
        stream = zlib.decompressobj(wbits=47)  # either header
        while not stream.eof:
            try:
                piece = stream.decompress(rest, 256 * 1024)
            except zlib.error as error:
                raise Problem(
                    "bad_encoding",
                    f"broken at byte {len(data) - len(rest)} or later",
                    str(len(data) - len(rest)),
                ) from error
            rest = stream.unconsumed_tail
            if not piece and not rest and not stream.eof:
                raise Problem("bad_encoding", f"ends too early, at byte {len(data)}", str(len(data)))
            plain.append(piece)
            size += len(piece)
            if size > PLAIN_CAP or (size > RATIO_FREE and size > RATIO_CAP * len(data)):
                raise Problem("body_too_large", "the body is too large once decompressed")
        rest = stream.unused_data
    return b"".join(plain)
