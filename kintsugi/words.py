"""Numbers and times in sentences."""

from datetime import UTC, datetime


def counted(count: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "event"), counted(0, "event"), counted(12000, "mapped identifier")
    ('1 event', '0 events', '12,000 mapped identifiers')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(at: datetime) -> str:
    """A moment, to the second and in UTC, which it says.

    >>> moment(datetime(2026, 11, 26, 8, 30, tzinfo=UTC))
    '2026-11-26 08:30:00 UTC'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
