"""Step `normalize`: log records become rows of evidence.

Invariant: what a record yields is a function of the record and of the key generation that it names; nothing here
depends on identity.yaml or scoring.yaml. Sightings and links that this attempt already sent are not sent again unless
with an earlier received_at; that memory is made in `open()`, so a new attempt, which replays, sends them anew.
"""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from identity.normalize import (
    channels_of,
    identifier_problems,
    kind_of,
    mask,
    normalize,
    patterns_of,
    raw_identifiers_of,
    traits_of,
)
from pipelines.messages import Message, pack
from schemas import log_record
from schemas.admission import MAX_IDENTIFIERS
from schemas.errors import Problem
from schemas.events import Event, event_name, event_time, is_robot
from schemas.ids import event_ids, identifier_ids, reject_id
from schemas.log_record import Item
from schemas.workspace import Workspace, parse_workspace
from store import keyring
from store.keyring import KeyGeneration

MEMORY_LIMIT = 2_000_000
"""Entries of the sent-memory; when it is full it is emptied, which costs repeats and nothing else."""
SYSTEM_WORKSPACE = "system"
"""Holds what belongs to no workspace: lines of the log that cannot be read."""
_DAY = 86_400_000_000
_QUARTER = 900_000_000  # offsets of time zones change on quarter hours only
_NEVER = 1 << 62
_UNKNOWN = ("", "", _NEVER)
_WRITTEN = ("events", "identifiers", "sightings", "links", "traits", "rejects")

_decode_event = msgspec.json.Decoder(Event).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

Rows = dict[str, list[tuple[Any, ...]]]
"""Rows by table, values in the order of the table's columns."""


def empty() -> Rows:
    """No rows of the tables that this step fills."""
    return {name: [] for name in _WRITTEN}


class _Kept(msgspec.Struct, omit_defaults=True):
    """The parts of the context that are kept."""

    campaign: Any = None
    library: Any = None
    locale: Any = None
    page: Any = None
    userAgent: Any = None  # noqa: N815 - Segment's spelling


_encode_kept = msgspec.json.Encoder().encode


class _Carried(NamedTuple):
    """What all events that carry the same identifiers share."""

    ids: list[str]
    """identifier_ids, ascending."""
    kinds: list[str]
    together: str
    """The ids in a row: followed by a day, the key of the sent-memory for all of them with their links."""


class Normalizer:
    """Rows of evidence for the events of one workspace under one key generation."""

    def __init__(self, workspace: Workspace, keys: KeyGeneration) -> None:
        self.workspace = workspace
        self.keys = keys
        self.pepper = keys.pepper
        self._zone = ZoneInfo(workspace.time_zone)
        self._channel_of = channels_of(workspace)
        self._offsets: dict[int, int] = {}
        self._identifiers: dict[tuple[str, str, str], tuple[str, str, int] | None] = {}
        self._sent: dict[str, int] = {}
        self._carried: dict[tuple[tuple[str, str, str], ...], _Carried] = {}
        self.event_id = event_ids(self.pepper, workspace.name)
        self._identifier_ids = lru_cache(maxsize=1024)(partial(identifier_ids, self.pepper))
        names = "|".join(re.escape(name) for name in sorted(workspace.sensitive))
        self._sensitive = re.compile(rf'"(?:{names})":'.encode()) if names else None

    def day_of(self, time: int) -> int:
        """Calendar day (days since 1970-01-01) of `time` (µs, UTC) in the workspace's time zone."""
        quarter = time // _QUARTER
        offset = self._offsets.get(quarter)
        if offset is None:
            moment = datetime.fromtimestamp(quarter * 900, UTC).astimezone(self._zone)
            delta = moment.utcoffset()
            assert delta is not None
            offset = self._offsets[quarter] = int(delta.total_seconds()) * 1_000_000
        return (time + offset) // _DAY

    def batch(self, record: log_record.Events, out: Rows) -> None:
        """Append the rows of all events of the record to `out`; an event that cannot be read becomes a reject."""
        if len(self._sent) + len(self._identifiers) + len(self._carried) > MEMORY_LIMIT:
            self._sent.clear()
            self._identifiers.clear()
            self._carried.clear()
        in_batch: set[str] = set()
        for item in record.batch:
            try:
                self._event(_decode_event(item.e), item, record, in_batch, out)
            except (msgspec.DecodeError, ValueError, TypeError, Problem) as error:
                code = error.code if isinstance(error, Problem) else "wrong_type"
                pointer = error.pointer if isinstance(error, Problem) else ""
                self.reject(out, record, code, pointer, type(error).__name__, bytes(item.e))

    def reject(
        self, out: Rows, record: Any, code: str, pointer: str, detail: str, raw: bytes, event_id: str = ""
    ) -> None:
        """Append one reject with its raw bytes, sealed; `event_id` is the event that it became later."""
        row = (
            self.workspace.name, reject_id(self.pepper, self.workspace.name, code, raw), record.source, code,
            pointer, detail, self.keys.seal(raw), record.received_at, event_id,
        )  # fmt: skip
        out["rejects"].append(row)

    def _event(
        self, event: Event, item: Item, record: log_record.Events, in_batch: set[str], out: Rows
    ) -> None:
        received_at = record.received_at
        body = bytes(item.e)
        time = event_time(event, item, received_at)
        eid = self.event_id(body)
        day = self.day_of(time)
        properties, sealed = self._split(event.properties)
        raw = tuple(raw_identifiers_of(event, self.workspace))
        carried = self._carried.get(raw)
        if carried is None or received_at < self._sent.get(f"{carried.together}{day}", _NEVER):
            carried = self._tell(raw, day, received_at, eid, in_batch, out)
        ids, kinds = carried.ids, carried.kinds
        out["events"].append(
            (
                record.workspace, eid, event.type, event_name(event), event.messageId or "", record.source, time,
                received_at, day, int(is_robot(event.context.userAgent)), properties, _context(event), sealed, ids,
                kinds,
            ),
        )  # fmt: skip
        observed = traits_of(event)
        channel, owner = self._channel_of(event)
        if channel:
            observed["$channel"] = channel
        if owner:
            observed["$owner"] = owner
        if observed:
            self._traits(observed, eid, time, received_at, day, ids, kinds, out)
        for code, pointer in identifier_problems(event, self.workspace):
            self.reject(out, record, code, pointer, "the event is kept, this identifier is not", body)

    def _tell(
        self, raw: tuple[tuple[str, str, str], ...], day: int, received_at: int, eid: str, in_batch: set[str],
        out: Rows,
    ) -> _Carried:  # fmt: skip
        """What these identifiers share, once everything that the day's event tells of them has its row."""
        found = self._identifiers_of(raw, received_at, out)
        if len(found) > MAX_IDENTIFIERS:
            raise Problem("too_many_identifiers")
        self._told(found, day, received_at, eid, in_batch, out)
        ids = [iid for iid, _ in found]
        carried = self._carried[raw] = _Carried(ids, [kind for _, kind in found], "".join(ids))
        key = f"{carried.together}{day}"  # of one: that of its sighting; of two: that of their link
        self._sent[key] = min(received_at, self._sent.get(key, _NEVER))
        return carried

    def _identifiers_of(
        self, identifiers: tuple[tuple[str, str, str], ...], received_at: int, out: Rows
    ) -> list[tuple[str, str]]:
        """(identifier_id, kind) of identifiers as given, distinct, ascending; new ones get their row."""
        found: dict[str, str] = {}
        for raw in identifiers:
            known = self._identifiers.get(raw, _UNKNOWN)
            if known is None:
                continue
            if received_at < known[2]:
                known = self._identifiers[raw] = self._identifier(raw, received_at, out)
                if known is None:
                    continue
            found[known[0]] = known[1]
        return sorted(found.items())

    def _identifier(
        self, raw: tuple[str, str, str], received_at: int, out: Rows
    ) -> tuple[str, str, int] | None:
        """(identifier_id, kind, received_at) with its row written; None when the text has no normal form."""
        namespace, scope, text = raw
        value = normalize(self.workspace.namespaces[namespace], text, self.workspace.region)
        if value is None:
            return None
        normal = value.encode()
        iid = self._identifier_ids(namespace, scope)(normal)
        kind = kind_of(namespace, patterns_of(value))
        row = (
            self.workspace.name, iid, namespace, scope, kind, mask(namespace, value),
            self.keys.seal(normal), received_at,
        )  # fmt: skip
        out["identifiers"].append(row)
        return iid, kind, received_at

    def _told(
        self, found: list[tuple[str, str]], day: int, received_at: int, eid: str, in_batch: set[str],
        out: Rows,
    ) -> None:  # fmt: skip
        """Rows of sightings and links that this attempt has not sent yet, or sent with a later received_at.

        `in_batch`: keys of the sightings in `out`. A link goes with the sightings of its ends, since those sent before
        may wait in another slot: it never arrives before its ends are known.
        """
        sent, name = self._sent, self.workspace.name
        ends = [(iid, kind, f"{iid}{day}") for iid, kind in found]
        told = [end for end in ends if received_at < sent.get(end[2], _NEVER)]
        for x, y in combinations(ends, 2):  # ascending, as a link's ends are
            key = f"{x[0]}{y[2]}"
            if received_at < sent.get(key, _NEVER):
                sent[key] = received_at
                out["links"].append((name, x[0], y[0], day, received_at, eid))
                told += x, y
        for iid, kind, key in told:
            if key not in in_batch:
                in_batch.add(key)
                sent[key] = min(received_at, sent.get(key, _NEVER))
                out["sightings"].append((name, iid, kind, day, received_at, eid))

    def _traits(
        self, observed: dict[str, Any], eid: str, time: int, received_at: int, day: int, ids: list[str],
        kinds: list[str], out: Rows,
    ) -> None:  # fmt: skip
        for name, value in observed.items():
            text = "" if value is None else _text(value)
            is_sealed = value is not None and name in self.workspace.sensitive
            stored = self.keys.seal(text.encode()) if is_sealed else text
            for iid in ids:
                row = (
                    self.workspace.name, iid, name, eid, stored, int(is_sealed), int(value is None), time,
                    received_at, day, ids, kinds,
                )  # fmt: skip
                out["traits"].append(row)

    def _split(self, properties: msgspec.Raw | None) -> tuple[str, str]:
        """Properties as JSON text without the sensitive ones, and those sealed."""
        data = bytes(properties) if properties else b"{}"
        if self._sensitive is None or not self._sensitive.search(data):
            return data.decode(), ""
        values = _decode_object(data)
        hidden = {name: values.pop(name) for name in list(values) if name in self.workspace.sensitive}
        if not hidden:
            return data.decode(), ""
        return msgspec.json.encode(values).decode(), self.keys.seal(
            msgspec.json.encode(hidden, order="sorted")
        )


def _text(value: Any) -> str:
    """Text of a trait's value: strings as they are, everything else as canonical JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _context(event: Event) -> str:
    """The parts of the context that are kept, as JSON text."""
    context = event.context
    kept = _Kept(
        context.campaign or None, context.library or None, context.locale or None, context.page or None,
        context.userAgent or None,
    )  # fmt: skip
    return _encode_kept(kept).decode()


def keys_in(home: Path) -> Callable[[str, int], KeyGeneration]:
    """Opens key generations of the keyring in `home`, 0 standing for the newest; makes the system's when absent."""

    def open_keys(workspace: str, generation: int) -> KeyGeneration:
        if workspace == SYSTEM_WORKSPACE and workspace not in keyring.names(home):
            keyring.create(home, workspace, parse_workspace(workspace, "").to_json())
        return keyring.load(home, workspace, generation or "latest")

    return open_keys


class Normalize:
    """Lines of the log to messages for the land slots; `open_keys(workspace, generation)` gives the keys."""

    def __init__(self, slots: int, open_keys: Callable[[str, int], KeyGeneration]) -> None:
        self._slots = [str(slot) for slot in range(slots)]
        self._open_keys = open_keys
        self._normalizers: dict[tuple[str, int], Normalizer] = {}
        self._turn = 0

    def line(self, line: str) -> Iterator[Message]:
        """Messages of one log line; never raises for anything the line contains."""
        try:
            record = log_record.decode(line)
            if isinstance(record, log_record.Events | log_record.Raw):
                yield self._to_next_slot(self._rows(record))
                return
        except Problem as problem:
            # no workspace to ask: the line becomes a reject of the system workspace, whole
            system = self._of(SYSTEM_WORKSPACE, 0)
            record = log_record.Raw(workspace=SYSTEM_WORKSPACE, source="log", received_at=0, items=[])
            out = empty()
            data = line.encode("utf-8", "surrogatepass")
            system.reject(out, record, problem.code, problem.pointer, problem.detail, data)
            yield self._to_next_slot(out)
            return
        what = "trailer" if isinstance(record, log_record.Trailer) else "control"
        body = msgspec.json.encode(record)
        for slot in self._slots:
            yield Message(slot, what, body, f"{slot}/{len(self._slots)}")

    def event_ids(self, record: log_record.Events) -> list[str]:
        """event_id of each item of a record, whether or not it can be read. Raises Problem `unknown_workspace`."""
        event_id = self._of(record.workspace, record.key_generation).event_id
        return [event_id(bytes(item.e)) for item in record.batch]

    def _rows(self, record: log_record.Events | log_record.Raw) -> Rows:
        out = empty()
        if isinstance(record, log_record.Events):
            self._of(record.workspace, record.key_generation).batch(record, out)
            return out
        normalizer = self._of(record.workspace, 0)
        for item in record.items:
            raw = base64.b64decode(item.data)
            normalizer.reject(out, record, item.code, item.pointer, item.detail, raw, item.event)
        return out

    def _of(self, workspace: str, generation: int) -> Normalizer:
        """The normalizer of a key generation, 0 standing for the newest (rejects only).

        Raises Problem `unknown_workspace`.
        """
        key = (workspace, generation)
        if key not in self._normalizers:
            keys = self._open_keys(workspace, generation)
            self._normalizers[key] = Normalizer(Workspace.from_json(workspace, keys.workspace), keys)
        return self._normalizers[key]

    def _to_next_slot(self, out: Rows) -> Message:
        self._turn = (self._turn + 1) % len(self._slots)
        return Message(self._slots[self._turn], "batch", (len(out["events"]), pack(out)))
