"""Log records: the only input of the product, one line of ASCII JSON each, behind a checksum.

A line is `crc32 of the JSON, 8 hex characters` + one space + `JSON`. Invariant: `decode(encode(r)) == r`, the JSON is
pure ASCII (no consumer's charset or line-break rules can touch it), and a line that was cut, joined or altered
does not decode. Every control record carries (at, id); of several, the newest is the greatest (at, id).
"""

import zlib
from json.encoder import encode_basestring_ascii
from typing import Any, Literal

import msgspec

from schemas.errors import Problem

VERSION = 1
MAX_BATCH = 1000
"""Events in one record at most: the unit of work of the job."""


class Item(msgspec.Struct, omit_defaults=True):
    """One event of a batch."""

    e: msgspec.Raw
    """Canonical body: what `schemas.events.admit` returned, byte for byte (event_id hashes it)."""
    s: str | None = None
    """sentAt as the client gave it."""
    t: int | None = None
    """Event time in µs when the collector corrected a browser's clock; wins over the body's timestamp."""


class Record(msgspec.Struct, tag_field="kind", kw_only=True):
    """Fields of every record."""

    v: int = VERSION


class Events(Record, tag="events"):
    """Admitted events of one source, at most MAX_BATCH."""

    workspace: str
    source: str
    received_at: int
    """µs since 1970, UTC, of the request that brought them."""
    key_generation: int
    batch: list[Item]


class RejectItem(msgspec.Struct, omit_defaults=True):
    """What could not become an event."""

    data: str
    """Raw bytes, base64."""
    code: str
    pointer: str = ""
    detail: str = ""
    event: str = ""
    """Id of the event that it became when it was tried again."""


class Raw(Record, tag="raw"):
    """Refused bytes of one request; they land in `rejects`, encrypted."""

    workspace: str
    source: str
    received_at: int
    items: list[RejectItem]


class Control(Record, kw_only=True):
    """Fields of every control record."""

    workspace: str
    at: int
    """µs since 1970, UTC: when it was said."""
    id: str
    """Unique; breaks ties of `at`."""


class Override(Control, tag="override"):
    """A steward's word on a pair of identifiers; the newest for a pair wins."""

    verb: Literal["force", "never", "none"]
    """`none`: withdrawn."""
    a: str
    b: str
    author: str = ""
    """As it was given; who holds the key is on record too."""
    key_id: str = ""
    """Public name of the access key that sent it; empty when it came another way."""
    reason: str = ""
    expires_on: str = ""
    """ISO date; from that day on the override no longer holds. Empty: never."""


What = Literal["status", "tag", "untag", "outcome"]
"""What can be said of an identifier."""


class Assertion(Control, tag="assertion"):
    """What people or the CRM say of an identifier."""

    identifier: str
    what: What
    value: str
    author: str = ""
    key_id: str = ""
    """As of an override."""
    reason: str = ""
    day: str = ""
    """ISO date, in the workspace's time zone, from which it holds. Empty: the UTC day of `at`."""


class Generation(Control, tag="generation"):
    """Life of a derivation: `open` derives it beside the live one, `activate` puts it in force, `close` drops it."""

    action: Literal["open", "activate", "close"]
    generation: str
    ruleset: str = ""
    """With `open`: the ruleset as canonical JSON (schemas.ruleset), complete, so that no operator reads a file."""


class Date(Control, tag="date"):
    """A day has begun in the workspace's time zone; the greatest one is the date in force."""

    date: str


class Erasure(Control, tag="erasure"):
    """A person asked to be forgotten: identifier ids whose evidence must go and never come back."""

    identifiers: list[str]


class Trailer(Record, tag="trailer"):
    """End of a segment (of a partition: end so far): when all its work is done, `progress` names it."""

    segment: str
    workspaces: list[str]


AnyRecord = Events | Raw | Override | Assertion | Generation | Date | Erasure | Trailer
ControlRecord = Override | Assertion | Generation | Date | Erasure

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)


def to_ascii(json: bytes) -> bytes:
    """UTF-8 JSON as ASCII JSON with the same meaning.

    The encoder of `json` escapes quotes and backslashes once more; every quote and every pair of backslashes in
    its answer stems from that, so undoing it from left to right is exact.

    >>> to_ascii('{"a":"金😀"}'.encode())
    b'{"a":"\\\\u91d1\\\\ud83d\\\\ude00"}'
    """
    if json.isascii():
        return json
    escaped = encode_basestring_ascii(json.decode())[1:-1]
    return escaped.replace('\\"', '"').replace("\\\\", "\\").encode()


def encode(record: AnyRecord) -> bytes:
    """The record's line, without the line feed."""
    body = to_ascii(_encoder.encode(record))
    return b"%08x %s" % (zlib.crc32(body), body)


def decode(line: bytes | str) -> Any:
    """The record of a line (an `AnyRecord`).

    Raises Problem `corrupt_record` when checksum, JSON or format do not fit.
    """
    data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    try:
        body = memoryview(data)[9:]
        if int(data[:8], 16) != zlib.crc32(body) or data[8:9] != b" ":
            raise Problem("corrupt_record", "the checksum does not match")
        record = _decoder.decode(body)
    except (ValueError, msgspec.DecodeError) as error:
        raise Problem("corrupt_record", str(error)) from error
    if record.v != VERSION:
        raise Problem("corrupt_record", f"format version {record.v} is not known here")
    return record
