"""Records as the lines that every backend stores.

Invariant: a line from here decodes, holds no line break of any kind, and is at most MAX_LINE bytes long.
"""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.errors import Problem
from schemas.log_record import MAX_BATCH, AnyRecord, Events, Raw, Trailer, decode, encode

MAX_LINE = 8 << 20
"""Bytes of the longest line; records with a batch are split to stay below, so Kafka takes every line."""

_TRAILER = b'{"kind":"trailer"'


def lines_of(records: Sequence[AnyRecord]) -> list[bytes]:
    """The lines of these records, without line feeds: one each, more where a batch is larger than MAX_LINE.

    Raises Problem `corrupt_record` for what no reader could decode, `body_too_large` for what is too long.
    """
    return [line for record in records for line in _lines(record)]


def is_trailer(line: bytes) -> bool:
    """True for the log's own records, which end a segment."""
    return line.startswith(_TRAILER, 9)


def workspaces_of(records: Sequence[AnyRecord]) -> set[str]:
    """The workspaces that these records speak of."""
    return {record.workspace for record in records if not isinstance(record, Trailer)}


def _lines(record: AnyRecord) -> Iterator[bytes]:
    if not isinstance(record, AnyRecord) or isinstance(record, Trailer):
        raise Problem("corrupt_record", f"{type(record).__name__} is no record that can be appended")
    if isinstance(record, Events) and len(record.batch) > MAX_BATCH:
        raise Problem("corrupt_record", f"{len(record.batch)} events in one batch, more than {MAX_BATCH}")
    try:
        line = encode(record)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Problem("corrupt_record", str(error)) from error
    if len(line) > MAX_LINE:
        for part in _halves(record):
            yield from _lines(part)
        return
    if b"\n" in line or b"\r" in line:
        raise Problem("corrupt_record", "an event body holds a line break outside its texts")
    decode(line)
    yield line


def _halves(record: AnyRecord) -> tuple[AnyRecord, AnyRecord]:
    if isinstance(record, Events) and len(record.batch) > 1:
        middle = len(record.batch) // 2
        first, rest = record.batch[:middle], record.batch[middle:]
        return msgspec.structs.replace(record, batch=first), msgspec.structs.replace(record, batch=rest)
    if isinstance(record, Raw) and len(record.items) > 1:
        middle = len(record.items) // 2
        return (
            msgspec.structs.replace(record, items=record.items[:middle]),
            msgspec.structs.replace(record, items=record.items[middle:]),
        )
    raise Problem("body_too_large", f"a log record cannot be longer than {MAX_LINE} bytes")
