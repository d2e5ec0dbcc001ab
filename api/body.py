"""Bodies of requests: read in pieces, never more than the caps in memory, decompressed on the way.

Invariant: whatever is sent, at most WIRE_CAP + PLAIN_CAP bytes are held of one body, and ROOM bytes of all that are
under way.
"""

import asyncio
import zlib
from dataclasses import dataclass, field

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


ROOM = 256 * 1024 * 1024
"""Bytes that all unfinished bodies of a process may hold."""


class Gone(Exception):  # noqa: N818 - named for the fact
    """The client went away before its body was complete."""


@dataclass(slots=True)
class Body:
    """A body as sent and, unless `problem` says why not, as meant."""

    sent: bytes
    plain: bytes = b""
    problem: Problem | None = None


@dataclass(slots=True)
class Room:
    """What the unfinished bodies of an application hold; beyond `size` bytes the one that began first is given up."""

    size: int
    _held: dict[asyncio.Timeout, int] = field(default_factory=dict)
    _all: int = 0

    def hold(self, reading: asyncio.Timeout, count: int) -> None:
        """So many more bytes are held for this reading, which ends now where another needs the room."""
        self._held[reading] = self._held.get(reading, 0) + count
        self._all += count
        while self._all > self.size:
            first = next(iter(self._held))
            self.leave(first)
            first.reschedule(0)

    def leave(self, reading: asyncio.Timeout) -> None:
        """Nothing is held for this reading any more."""
        self._all -= self._held.pop(reading, 0)


async def read_body(receive: Receive, encoding: str, declared: int, timeout: float, room: Room) -> Body:
    """Reads the whole body; `declared` is its Content-Length, 0 when unknown.

    A body over a cap or with a broken encoding comes back with the Problem and its first bytes. Raises Gone, and
    TimeoutError when it takes longer than `timeout` seconds or there is no room.
    """
    async with asyncio.timeout(timeout) as reading:
        try:
            sent, too_large = await _sent(receive, declared, reading, room)
        finally:
            room.leave(reading)
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


async def _sent(receive: Receive, declared: int, reading: asyncio.Timeout, room: Room) -> tuple[bytes, bool]:
    """The first bytes of a body, at most WIRE_CAP, and whether it has more of them."""
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
            room.hold(reading, len(piece))
            pieces.append(piece)
    return b"".join(pieces), too_large


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
