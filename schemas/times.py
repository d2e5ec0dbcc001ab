"""Times as the client writes them, and as everything inside holds them: integer µs since 1970, UTC.

Invariant: what `parse_time` returns depends on the text alone; a text without a zone is read as UTC.
"""

import re
from datetime import UTC, datetime, timedelta

EARLIEST = 0
LATEST = 4_102_444_800_000_000 - 1
"""The last microsecond of 2099: event times lie in EARLIEST..LATEST."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAP = re.compile(r"(?<=:)60(?=$|[.,Z+\-])")


def parse_time(text: str) -> int | None:
    """µs since 1970, UTC, of an ISO 8601 text, finer digits cut; None when it is not one.

    A leap second is the last second of its minute.

    >>> parse_time("2026-01-02T03:04:05.678901234Z") == parse_time("2026-01-02T11:04:05.678901+08:00")
    True
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        tidy = _LEAP.sub("59", text.strip().upper())
        return parse_time(tidy) if tidy != text else None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
