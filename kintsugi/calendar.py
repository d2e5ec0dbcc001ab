"""Calendar days: a `date` record for each workspace when its day begins.

Invariant: the date in force comes from the log alone; here the clock is only asked whether a record is due,
and a record that comes twice changes nothing.
"""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from schemas.log_record import Date


def now_us() -> int:
    """µs since 1970, UTC."""
    return time.time_ns() // 1000


def local_date(time_zone: str, at_us: int) -> date:
    """The calendar day at a moment in a time zone.

    >>> local_date("Asia/Shanghai", 1_760_000_000_000_000 + 8 * 3_600_000_000)
    datetime.date(2025, 10, 10)
    """
    return datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(ZoneInfo(time_zone)).date()


def due_dates(time_zones: Mapping[str, str], told: dict[str, str], at_us: int) -> list[Date]:
    """Records of the workspaces (name -> time zone) whose day is not in `told`, which is updated."""
    records = []
    for workspace, time_zone in time_zones.items():
        today = local_date(time_zone, at_us).isoformat()
        if told.get(workspace) != today:
            told[workspace] = today
            records.append(Date(workspace=workspace, at=at_us, id=uuid.uuid4().hex, date=today))
    return records
