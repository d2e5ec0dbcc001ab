"""From the body of a request to items for the log and rejects: no network and no clock.

Invariant: every event of a readable body ends up in exactly one of `items` and `rejects`, and what happens
to one does not depend on the others.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.admission import admit, read, repeats_key
from schemas.errors import Problem
from schemas.log_record import Item, RejectItem
from schemas.times import parse_time

MAX_EVENTS = 2500
"""Events of one batch; those beyond are rejects."""
MOST_ITEMS = 4 * MAX_EVENTS
"""Items of one batch; with more of them nothing of the request is taken."""
SLOW_CAP = 2 * 1024 * 1024
"""Bytes of a body that Python's parser is given, which is slower by far; no SDK sends as many."""
SLICE_BYTES = 256 * 1024
"""Bytes of events after which others get their turn."""
RAW_CAP = 1024 * 1024
"""Bytes kept of one reject."""
SKEW_FREE = 60_000_000
"""µs by which a browser's clock may differ from ours before its event times are corrected."""

_BROWSER_LIBRARIES = frozenset({"analytics.js", "RudderLabs JavaScript SDK"})
"""Libraries whose sentAt is the time of this very attempt; servers' SDKs repeat that of the first one."""
_PYTHON_ONLY = re.compile(rb"NaN|Infinity|\\u[dD][89a-fA-F]")
"""NaN and lone surrogates, for which a strict parser gives up the whole body."""
_BOM = b"\xef\xbb\xbf"


class _Envelope(msgspec.Struct):
    batch: msgspec.Raw = msgspec.Raw()
    writeKey: msgspec.Raw = msgspec.Raw()  # noqa: N815


_envelope = msgspec.json.Decoder(_Envelope).decode
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

    A body that repeats a key beside its events, or in their context, is itself one event, which will be a reject.
    Raises Problem `bad_json` with the offset when the body is not JSON in UTF-8, `body_too_large` for more than
    MOST_ITEMS.
    """
    plain = plain.removeprefix(_BOM)
    if not plain.isascii():
        try:
            plain.decode()
        except UnicodeDecodeError as error:
            raise Problem("bad_json", f"not UTF-8 at byte {error.start}", str(error.start)) from None
    try:
        envelope = _envelope(plain)
        if not envelope.batch:
            return Request([plain], _text(_value(envelope.writeKey)))
        batch = _raws(envelope.batch)
    except msgspec.ValidationError:  # no object, or `batch` is no list: one event, which will be a reject
        _must_be_json(plain)
        return Request([plain])
    except RecursionError:
        return Request([plain])
    except msgspec.DecodeError as error:
        return _take_apart_python(plain, error)
    if len(batch) > MOST_ITEMS:
        raise Problem("body_too_large", f"a batch may have {MAX_EVENTS} events")
    try:
        beside = read(_without(plain, bytes(envelope.batch)))
    except Problem as problem:
        return _take_apart_python(plain, problem)
    return _request(beside, [bytes(raw) for raw in batch])


def _without(plain: bytes, batch: bytes) -> bytes:
    """The object `plain` with a shorter list in place of `batch`, where that is found at once."""
    at = plain.find(b"[", plain.find(b'"batch"'))
    return plain[:at] + b"[]" + plain[at + len(batch) :] if plain.startswith(batch, at) else plain


def _request(beside: dict[str, Any], batch: list[bytes]) -> Request:
    """The request of these events and what stands beside them; the first event may hold the key."""
    key, context = _text(beside.get("writeKey")), beside.get("context")
    if not key and batch and b'"writeKey"' in batch[0]:
        with suppress(msgspec.DecodeError, RecursionError):
            key = _text(_value(_envelope(batch[0]).writeKey))
    return Request(
        batch, key, context if isinstance(context, dict) else None, _text(beside.get("sentAt")) or None
    )


def _must_be_json(plain: bytes) -> None:
    try:
        read(plain)
    except Problem as problem:
        if problem.code == "bad_json":
            raise


def _take_apart_python(plain: bytes, error: Exception) -> Request:
    """The same with Python's parser, for what others do not read: one NaN must not cost the other events.

    Raises Problem `bad_json`, `body_too_large`.
    """
    offset = re.search(r"byte (\d+)", str(error))
    where = offset[1] if offset else str(len(plain))
    refusal = Problem("bad_json", f"reading stopped at byte {where}", where)
    if isinstance(error, msgspec.DecodeError) and not _PYTHON_ONLY.search(plain):
        raise refusal
    if len(plain) > SLOW_CAP:
        return Request([plain])
    text = plain.decode()
    try:
        body = json.loads(text, parse_int=str, parse_float=str)
        found = _values(text) if isinstance(body, dict) else []
    except RecursionError:
        return Request([plain])
    except ValueError:
        raise refusal from None
    members = dict(found)
    beside = {name: _value(members.get(name, b"")) for name in ("writeKey", "context", "sentAt")}
    is_clear = len(found) == len(members) and not repeats_key(members.get("context", b"null"))
    if not isinstance(body, dict) or not isinstance(body.get("batch"), list) or not is_clear:
        return Request([plain], _text(beside["writeKey"]))
    return _request(beside, [raw for _, raw in _values(members["batch"].decode())])


def _values(text: str) -> list[tuple[str, bytes]]:
    """Key ("" in a list) and bytes of each value of a JSON object or list, which is valid for Python's parser.

    Raises Problem `body_too_large` for more than MOST_ITEMS.
    """
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
        if len(found) > MOST_ITEMS:
            raise Problem("body_too_large", f"a batch may have {MAX_EVENTS} events")
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
    size = 0
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
        size += len(raw) + SLICE_BYTES // 250
        if size > SLICE_BYTES:
            size = 0
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


def _value(raw: bytes | msgspec.Raw) -> Any:
    """The value of these bytes; None when there are none, or when no event could hold it."""
    try:
        return read(bytes(raw)) if raw else None
    except Problem:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
