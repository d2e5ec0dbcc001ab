"""From the body of a request to items for the log and rejects: no network and no clock.

Invariant: every event of a readable body ends up in exactly one of `items` and `rejects`, and what happens
to one does not depend on the others.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.errors import Problem
from schemas.events import admit, read
from schemas.log_record import Item, RejectItem
from schemas.times import parse_time

MAX_EVENTS = 2500
"""Events of one batch; those beyond are rejects."""
RAW_CAP = 1024 * 1024
"""Bytes kept of one reject."""
SKEW_FREE = 60_000_000
"""µs by which a browser's clock may differ from ours before its event times are corrected."""

_BROWSER_LIBRARIES = frozenset({"analytics.js", "RudderLabs JavaScript SDK"})
"""Libraries whose sentAt is the time of this very attempt; servers' SDKs repeat that of the first one."""
_PYTHON_ONLY = re.compile(rb"NaN|Infinity|\\u[dD][89a-fA-F]")
"""NaN and lone surrogates, for which a strict parser gives up the whole body."""
_BOM = b"\xef\xbb\xbf"


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_blank = re.compile(r"[ \t\n\r]*").match


@dataclass(slots=True)
class Request:
    """A body taken apart: the bytes of each event, and what stands beside them."""

    events: list[bytes]
    key: str = ""
    """Write key in the body, or else in its first event."""
    context: dict[str, Any] | None = None
    sent_at: str | None = None


@dataclass(slots=True)
class Taken:
    """What became of the events of a request."""

    items: list[Item] = field(default_factory=list)
    rejects: list[RejectItem] = field(default_factory=list)
    report: list[dict[str, Any]] = field(default_factory=list)
    """For the answer: index, code, pointer and detail of each reject."""


def take_apart(plain: bytes) -> Request:
    """The events of a body: those under `batch`, else the body itself is one.

    A body that repeats a key beside its events is itself one event, which will be a reject. Raises Problem
    `bad_json` with the offset when the body is not JSON in UTF-8.
    """
    plain = plain.removeprefix(_BOM)
    if not plain.isascii():
        try:
            plain.decode()
        except UnicodeDecodeError as error:
            raise Problem("bad_json", f"not UTF-8 at byte {error.start}", str(error.start)) from None
    try:
        members = _members(plain)
        if "batch" not in members:
            return Request([plain], _text(members, "writeKey"))
        batch = _raws(members["batch"])
    except msgspec.ValidationError:  # no object, or `batch` is no list: one event, which will be a reject
        _must_be_json(plain)
        return Request([plain])
    except RecursionError:
        return Request([plain])
    except msgspec.DecodeError as error:
        return _take_apart_python(plain, error)
    if _may_repeat(plain, members) and _repeats(plain):
        return Request([plain], _text(members, "writeKey"))
    return _request(plain, members, [bytes(raw) for raw in batch])


def _request(plain: bytes, members: Mapping[str, bytes | msgspec.Raw], batch: list[bytes]) -> Request:
    """The request of these events and what stands beside them; the first event may hold the key."""
    key = _text(members, "writeKey")
    if not key and batch and b'"writeKey"' in batch[0]:
        with suppress(msgspec.DecodeError, RecursionError):
            key = _text(_members(batch[0]), "writeKey")
    try:
        context = read(bytes(members.get("context", b"null")))
    except Problem as problem:
        if problem.code == "dup_key":
            return Request([plain], key)
        context = None  # no event could hold it
    return Request(
        batch, key, context if isinstance(context, dict) else None, _text(members, "sentAt") or None
    )


def _may_repeat(plain: bytes, members: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the object `plain` may hold one of its members twice; False is certain.

    Of those that were read every colon is counted: the one behind each key, and those of the values' bytes. A
    repeated one would leave some over. Escaped colons stand in keys that are read with a colon.
    """
    values = {name: bytes(raw) for name, raw in members.items()}
    at = plain.find(b"[")
    if plain.startswith(values["batch"], at):  # as a rule; or the same bytes, which hold as many colons
        plain = plain[:at] + plain[at + len(values.pop("batch")) :]
    colons = len(members) + sum(value.count(b":") for value in values.values())
    return colons != plain.count(b":") or any(":" in key for key in members)


def _repeats(plain: bytes) -> bool:
    """Whether the object `plain` holds one of its members twice, or something that Python's parser does not read."""
    try:
        found = _values(plain.decode())
    except (RecursionError, ValueError):
        return True
    return len(found) > len(dict(found))


def _must_be_json(plain: bytes) -> None:
    try:
        read(plain)
    except Problem as problem:
        if problem.code == "bad_json":
            raise


def _take_apart_python(plain: bytes, error: msgspec.DecodeError) -> Request:
    """The same for what only Python's parser reads, so that one NaN does not cost the other events.

    Raises Problem `bad_json`.
    """
    offset = re.search(r"byte (\d+)", str(error))
    where = offset[1] if offset else str(len(plain))
    refusal = Problem("bad_json", f"reading stopped at byte {where}", where)
    if not _PYTHON_ONLY.search(plain):
        raise refusal
    text = plain.decode()
    try:
        body = json.loads(text, parse_int=str, parse_float=str)
    except RecursionError:
        return Request([plain])
    except ValueError:
        raise refusal from None
    if not isinstance(body, dict):
        return Request([plain])
    found = _values(text)
    members = dict(found)
    if not isinstance(body.get("batch"), list) or len(found) > len(members):
        return Request([plain], _text(members, "writeKey"))
    return _request(plain, members, [raw for _, raw in _values(members["batch"].decode())])


def _values(text: str) -> list[tuple[str, bytes]]:
    """Key ("" in a list) and bytes of each value of a JSON object or list, which is valid for Python's parser."""
    found: list[tuple[str, bytes]] = []
    at = _skip(text, 0)
    is_object = text[at] == "{"
    at = _skip(text, at + 1)
    while text[at] not in "]}":
        key = ""
        if is_object:
            key, at = _decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _, end = _decode(text, at)
        found.append((key, text[at:end].encode()))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    """The next place without white space."""
    match = _blank(text, at)
    return match.end() if match else at


def admit_all(request: Request, default_type: str | None, received_at: int, taken: Taken) -> Iterator[int]:
    """Admits the events one by one into `taken`; yields after each slice, so that others get their turn."""
    skews: dict[str | None, int] = {}
    for index, raw in enumerate(request.events):
        event: Any = None
        try:
            if index >= MAX_EVENTS:
                raise Problem("batch_too_long")
            event = read(raw)
            item = admit(
                event, default_type=default_type, batch_context=request.context, sent_at=request.sent_at
            )
            skew = skews.get(item.s)
            if skew is None:
                skew = skews[item.s] = _skew(item.s, received_at)
            if skew:
                item.t = _corrected(event, request.context, skew, received_at)
            taken.items.append(item)
        except Problem as problem:
            kept = _with_type(raw, event, default_type)
            taken.rejects.append(reject(kept, problem))
            entry = {"index": index, "code": problem.code, "detail": problem.detail}
            taken.report.append({**entry, "pointer": problem.pointer} if problem.pointer else entry)
        if index % 250 == 249:
            yield index


def reject(raw: bytes, problem: Problem) -> RejectItem:
    """The reject of these bytes, of which RAW_CAP are kept."""
    return RejectItem(b64encode(raw[:RAW_CAP]).decode(), problem.code, problem.pointer, problem.detail)


def _with_type(raw: bytes, event: Any, default_type: str | None) -> bytes:
    """The bytes with the type that only the path said, so that the reject can be read again later."""
    if default_type and isinstance(event, dict) and event and not event.get("type"):
        return b'{"type":"%s",' % default_type.encode() + raw.lstrip()[1:]
    return raw


def _skew(sent_at: str | None, received_at: int) -> int:
    """µs by which the sender's clock is behind ours; 0 when that is unknown or little."""
    sent = parse_time(sent_at) if sent_at else None
    skew = received_at - sent if sent is not None else 0
    return skew if abs(skew) > SKEW_FREE else 0


def _corrected(
    event: dict[str, Any], batch_context: dict[str, Any] | None, skew: int, received_at: int
) -> int | None:
    """Event time by our clock, µs, never past `received_at`; None where the client's own holds."""
    own = event.get("context")
    context = {**(batch_context or {}), **own} if isinstance(own, dict) else batch_context or {}
    library = context.get("library")
    if not isinstance(library, dict) or library.get("name") not in _BROWSER_LIBRARIES:
        return None
    time = parse_time(event.get("timestamp") or event.get("originalTimestamp") or "")
    if time is None or time + skew < 0:
        return None
    return min(time + skew, received_at)


def _text(members: Mapping[str, bytes | msgspec.Raw], name: str) -> str:
    """The text under this name; empty when there is none, or nothing that could be one."""
    try:
        value = read(bytes(members.get(name, b"null")))
    except Problem:
        return ""
    return value if isinstance(value, str) else ""
