"""Admission of events: the border at which everything about an event is checked, once, and made canonical.

Invariant: an admitted body decodes as `schemas.events.Event`, whatever the client sent; the same event (in
any order of keys, any whitespace, resent with another sentAt) has the same bytes. Nothing here knows the
workspace.

Written table of coercions: ids, `phone` and `mobile` may be whole numbers, they become text; empty or null
ids, null `properties`, `traits`, `context` and times become absent. Any other type is a reject.
"""

import json
import math
import re
from typing import Any

import msgspec
import orjson

from schemas.errors import Problem
from schemas.log_record import Item, to_ascii
from schemas.times import EARLIEST, LATEST, parse_time

TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})
MAX_DEPTH = 32
MAX_KEYS = 1000
MAX_KEY_BYTES = 256
MAX_EVENT_BYTES = 256 * 1024
MAX_TEXT_BYTES = 4 * MAX_EVENT_BYTES
"""Longer texts are not read: what is admitted is shorter than what was sent (escapes, blanks), by less than this."""
MAX_IDENTIFIERS = 16

_TRANSPORT = ("sentAt", "writeKey", "receivedAt", "_metadata", "request_ip", "rudderId")
"""Fields about the way an event came; they differ between copies of one event."""
_IDS = ("userId", "anonymousId", "previousId", "groupId", "messageId")
_TRAIT_IDS = ("phone", "mobile", "email")
_EXTERNAL = ("externalIds", "externalId")
_NEEDS = {"track": "event", "alias": "previousId", "group": "groupId"}
_LONG_KEY = re.compile(rb'"[^"]{257,}":')
_PERSONAL = re.compile(r"@|\d{5}")
_EXACT_FLOAT = 2.0**53


def read(raw: bytes) -> Any:
    """The JSON value of one event's bytes.

    Raises Problem `event_too_large` without reading, `bad_text` (lone surrogate), `bad_number` (NaN, infinite),
    `too_deep`, `dup_key`, else `bad_json`.
    """
    if len(raw) > MAX_TEXT_BYTES:
        raise Problem("event_too_large", f"the text of an event may have {MAX_TEXT_BYTES} bytes")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            value = json.loads(raw, parse_int=float)  # int() refuses numbers that are too long
        except RecursionError:
            raise Problem("too_deep") from None
        except ValueError:
            code = "bad_number" if "number is infinity" in error.msg else "bad_json"
            raise Problem(code, f"reading stopped at character {error.pos}", str(error.pos)) from None
        _inspect(value)
        raise Problem("bad_json", f"reading stopped at character {error.pos}", str(error.pos)) from error
    if _may_repeat(raw, value):
        _refuse_repeats(raw)
    return value


def admit(
    body: Any,
    *,
    default_type: str | None = None,
    batch_context: dict[str, Any] | None = None,
    sent_at: str | None = None,
) -> Item:
    """The event of a decoded body, canonical; `body` stays as it is.

    `default_type` is the type that the path says, `batch_context` goes under the event's own context,
    `sent_at` stands in for a missing sentAt. Raises Problem with code and JSON pointer. Linear in the size
    of the body.
    """
    if not isinstance(body, dict):
        raise Problem("not_an_object")
    event = body.copy()
    sent = event.pop("sentAt", None) or sent_at
    for name in _TRANSPORT:
        event.pop(name, None)
    event["type"] = _type(event, default_type)
    for name in _IDS:
        if name in event:
            _id(event, name, "")
    _object(event, "properties", "")
    _traits(event, "")
    context = _context(event, batch_context)
    _times(event)
    _identity(event, context)
    data = _dump(event)
    if b"\\u0000" in data and (cleaned := _without_nul(event)) != event:
        return admit(cleaned, sent_at=sent if isinstance(sent, str) else None)
    return Item(msgspec.Raw(data), sent if isinstance(sent, str) else None)


def repeats_key(raw: bytes) -> Problem | None:
    """The problem `dup_key` of a JSON text, where it has that one."""
    try:
        read(raw)
    except Problem as problem:
        return problem if problem.code == "dup_key" else None
    return None


def _may_repeat(raw: bytes, value: Any) -> bool:
    """Whether an object in `raw` may hold a key twice; False is certain.

    `value` is what was read: of a repeated key it lacks a member, and with it at least one colon of the text. Only
    an escaped colon, which is none in the text and one in the value, could make up for it. Most texts are what
    would be written of their value.
    """
    try:
        written = orjson.dumps(value)
    except TypeError:  # too deep to be written
        return True
    if written == raw:
        return False
    if b"\\" in raw and b"\\u003" in raw and (b"\\u003a" in raw or b"\\u003A" in raw):
        return True
    return raw.count(b":") != written.count(b":")


class _Members(list[tuple[str, Any]]):
    """Members of a JSON object as they stand in the text, repeated ones included."""


def _refuse_repeats(raw: bytes) -> None:
    """Raises Problem `dup_key` at the first repeated key, in order of depth; `too_deep` where nobody could say."""
    try:
        value = json.loads(raw, object_pairs_hook=_Members, parse_int=str, parse_float=str)
    except RecursionError:
        raise Problem("too_deep") from None
    waiting = [("", value)]
    while waiting:
        deeper: list[tuple[str, Any]] = []
        for pointer, node in waiting:
            if isinstance(node, _Members):
                seen = set()
                for key, child in node:
                    at = f"{pointer}/{_token(key)}"
                    if key in seen:
                        raise Problem("dup_key", pointer=at)
                    seen.add(key)
                    if isinstance(child, list):
                        deeper.append((at, child))
            elif isinstance(node, list):
                deeper.extend(
                    (f"{pointer}/{i}", child) for i, child in enumerate(node) if isinstance(child, list)
                )
        waiting = deeper


def _token(key: str) -> str:
    """The key as a part of a JSON pointer; `*` for one that may be an address or a number of someone."""
    if _PERSONAL.search(key):
        return "*"
    return key.replace("~", "~0").replace("/", "~1")


def _type(event: dict[str, Any], default: str | None) -> str:
    kind = event.get("type") or default
    if kind is None or kind == "":
        if not isinstance(event.get("batch", []), list):
            raise Problem("not_a_list", pointer="/batch")
        raise Problem("missing_type", pointer="/type")
    if not isinstance(kind, str):
        raise Problem("wrong_type", "type must be a text", "/type")
    if kind not in TYPES:
        raise Problem("unknown_type", pointer="/type")
    return kind


def _id(holder: dict[str, Any], name: str, pointer: str) -> None:
    """A text as it is; a whole number as text; null and empty as absent. Changes `holder`."""
    value = holder[name]
    if value is None or value == "":
        del holder[name]
    elif type(value) is not str:
        holder[name] = _whole(value, f"{pointer}/{name}")


def _whole(value: Any, pointer: str) -> str:
    """Text of a whole number that JSON holds exactly."""
    if type(value) is int or (type(value) is float and value.is_integer() and abs(value) < _EXACT_FLOAT):
        return str(int(value))
    raise Problem("wrong_type", "must be a text or a whole number", pointer)


def _object(holder: dict[str, Any], name: str, pointer: str) -> dict[str, Any] | None:
    """The object under `name`; null becomes absent."""
    value = holder.get(name)
    if value is None:
        holder.pop(name, None)
        return None
    if type(value) is not dict:
        raise Problem("wrong_type", f"{name} must be an object", f"{pointer}/{name}")
    return value


def _traits(holder: dict[str, Any], pointer: str) -> dict[str, Any] | None:
    """The traits under `holder`, phone numbers as text. A trait that is null stays: it unsets."""
    traits = _object(holder, "traits", pointer)
    if not traits:
        return None
    for name in ("phone", "mobile"):
        value = traits.get(name)
        if value is not None and type(value) is not str:
            traits = {**traits, name: _whole(value, f"{pointer}/traits/{name}")}
            holder["traits"] = traits
    email = traits.get("email")
    if email is not None and type(email) is not str:
        raise Problem("wrong_type", "email must be a text", f"{pointer}/traits/email")
    return traits


def _context(event: dict[str, Any], batch_context: dict[str, Any] | None) -> dict[str, Any]:
    """The event's context over that of the batch, with its identifiers checked."""
    own = _object(event, "context", "")
    if own is None and not batch_context:
        return {}
    context: dict[str, Any] = {**(batch_context or {}), **(own or {})}
    event["context"] = context
    _traits(context, "/context")
    for field in _EXTERNAL:
        if field in context:
            _external(context, field)
    return context


def _external(context: dict[str, Any], field: str) -> None:
    """Checks a list of `{id, type, ...}`; entries with an empty id go. Changes `context`."""
    entries, pointer = context[field], f"/context/{field}"
    if entries is None:
        del context[field]
        return
    if type(entries) is not list:
        raise Problem("wrong_type", f"{field} must be a list", pointer)
    kept = []
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise Problem("wrong_type", "an external id must be an object", f"{pointer}/{index}")
        if type(entry.get("type")) is not str:
            raise Problem("wrong_type", "type must be a text", f"{pointer}/{index}/type")
        identifier = entry.get("id")
        if identifier is None or identifier == "":
            continue
        if type(identifier) is not str:
            entry = {**entry, "id": _whole(identifier, f"{pointer}/{index}/id")}
        kept.append(entry)
    context[field] = kept


def _times(event: dict[str, Any]) -> None:
    """Times must be texts, and the one that counts must be ISO 8601 and in range."""
    counts = ""
    for name in ("originalTimestamp", "timestamp"):
        if name in event:
            if event[name] is None or event[name] == "":
                del event[name]
            elif type(event[name]) is str:
                counts = name
            else:
                raise Problem("wrong_type", "a time must be a text in ISO 8601", f"/{name}")
    if counts:
        time = parse_time(event[counts])
        if time is None:
            raise Problem("bad_timestamp", pointer=f"/{counts}")
        if not EARLIEST <= time <= LATEST:
            raise Problem("ts_out_of_range", pointer=f"/{counts}")


def _identity(event: dict[str, Any], context: dict[str, Any]) -> None:
    """What each type needs, and at least one and at most MAX_IDENTIFIERS identifiers."""
    if "event" in event:
        name = event["event"]
        if name is None or name == "":
            del event["event"]
        elif type(name) is not str:
            raise Problem("wrong_type", "the name of an event must be a text", "/event")
    needs = _NEEDS.get(event["type"])
    if needs and needs not in event:
        raise Problem("missing_field", f"{event['type']} needs {needs}", f"/{needs}")
    if needs == "previousId" and "userId" not in event:
        raise Problem("missing_field", "alias needs userId", "/userId")
    external = [*context.get("externalIds", ()), *context.get("externalId", ())]
    if "userId" not in event and "anonymousId" not in event and not external:
        raise Problem("missing_identity")
    if len(external) > MAX_IDENTIFIERS - 9:  # nine: three ids, phone, mobile and email in two places
        texts = {json.dumps(entry, sort_keys=True) for entry in external}
        given = sum(name in event for name in ("userId", "anonymousId", "previousId"))
        for traits in (event.get("traits") or {}, context.get("traits") or {}):
            texts.update(
                f"{name} {traits[name]}" for name in ("phone", "mobile", "email") if traits.get(name)
            )
        if len(texts) + given > MAX_IDENTIFIERS:
            raise Problem("too_many_identifiers")


def _dump(event: dict[str, Any]) -> bytes:
    """Canonical bytes. What is cheap to see decides whether the whole event must be walked."""
    try:
        data = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        _inspect(event)
        raise Problem("wrong_type", "holds what JSON cannot say") from error
    if len(data) > MAX_EVENT_BYTES:
        raise Problem("event_too_large")
    if (
        data.count(b"{") + data.count(b"[") > MAX_DEPTH
        or data.count(b'":') > MAX_KEYS
        or b"null" in data  # NaN is written as null
        or b'\\"' in data  # hides the length of a key from the pattern
        or _LONG_KEY.search(data)
    ):
        _inspect(event)
    return to_ascii(data)


def _inspect(value: Any) -> None:
    """Raises the Problem of the first thing, in order of depth, that no event may hold."""
    waiting, keys, depth = [("", value)], 0, 0
    while waiting:
        depth += 1
        if depth > MAX_DEPTH and any(isinstance(v, dict | list) for _, v in waiting):
            raise Problem("too_deep")
        deeper: list[tuple[str, Any]] = []
        for pointer, node in waiting:
            if isinstance(node, dict):
                keys += len(node)
                for key, child in node.items():
                    _check_key(key, pointer)
                    deeper.append((f"{pointer}/{_token(key)}", child))
            elif isinstance(node, list):
                deeper.extend((f"{pointer}/{index}", child) for index, child in enumerate(node))
            else:
                _check_scalar(node, pointer)
        if keys > MAX_KEYS:
            raise Problem("too_many_keys")
        waiting = deeper


def _check_key(key: Any, pointer: str) -> None:
    if not isinstance(key, str):
        raise Problem("wrong_type", "a key must be a text", pointer)
    _check_scalar(key, pointer)
    if len(key) > MAX_KEY_BYTES or len(key.encode()) > MAX_KEY_BYTES:
        raise Problem("key_too_long", pointer=pointer)


def _check_scalar(value: Any, pointer: str) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise Problem("bad_text", pointer=pointer)
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise Problem("bad_number", pointer=pointer)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Problem("bad_number", pointer=pointer)


def _without_nul(value: Any) -> Any:
    """The value without NUL characters; depth is known to be small."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(value[key]) for key in sorted(value)}
    return [_without_nul(item) for item in value] if isinstance(value, list) else value
