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


class _Envelope(msgspec.Struct):
    batch: msgspec.Raw = msgspec.Raw()
    writeKey: msgspec.Raw = msgspec.Raw()  # noqa: N815
    context: msgspec.Raw = msgspec.Raw()
    sentAt: msgspec.Raw = msgspec.Raw()  # noqa: N815


_envelope = msgspec.json.Decoder(_Envelope).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode


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

    Raises Problem `bad_json` with the offset when the body is not JSON in UTF-8.
    """
    plain = plain.removeprefix(_BOM)
    if not plain.isascii():
        try:
            plain.decode()
        except UnicodeDecodeError as error:
            raise Problem("bad_json", f"not UTF-8 at byte {error.start}", str(error.start)) from None
    try:
        envelope = _envelope(plain)
        batch = [bytes(raw) for raw in _raws(envelope.batch)] if envelope.batch else None
    except msgspec.ValidationError:  # no object, or `batch` is no list: one event, which will be a reject
        _must_be_json(plain)
        return Request([plain])
    except RecursionError:
        return Request([plain])
    except msgspec.DecodeError as error:
        return _take_apart_python(plain, error)
    key = _text(envelope.writeKey)
    if batch is None:
        return Request([plain], key)
    if not key and batch and b'"writeKey"' in batch[0]:
        with suppress(msgspec.DecodeError):
            key = _text(_envelope(batch[0]).writeKey)
    return Request(batch, key, _object(envelope.context), _text(envelope.sentAt) or None)


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
    try:
        body = json.loads(plain)
    except RecursionError:
        return Request([plain])
    except ValueError:
        raise refusal from None
    if not isinstance(body, dict) or not isinstance(body.get("batch"), list):
        return Request([plain], body["writeKey"] if _is_text(body, "writeKey") else "")
    context = body.get("context")
    return Request(
        [json.dumps(event).encode() for event in body["batch"]],
        body["writeKey"] if _is_text(body, "writeKey") else "",
        context if isinstance(context, dict) else None,
        body["sentAt"] if _is_text(body, "sentAt") else None,
    )


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


def _object(raw: msgspec.Raw) -> dict[str, Any] | None:
    """The object in these bytes; None when there is none, or one that no event could hold."""
    try:
        value = _any(raw) if raw else None
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(raw: msgspec.Raw) -> str:
    value = _any(raw) if raw else ""
    return value if isinstance(value, str) else ""


def _is_text(body: Any, name: str) -> bool:
    return isinstance(body, dict) and isinstance(body.get(name), str)
