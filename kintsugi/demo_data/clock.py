"""The demo's clock: from even time, in which events come at a constant rate, to calendar time in China.

Invariant: monotone and exact in integers; nights are quiet, working hours busy.
"""

from datetime import UTC, date, datetime, timedelta

DAY = 86_400_000
_UTC_OFFSET = 8 * 3_600_000
# share of a day's events in each hour of the day, in 96ths
_HOURS = (1, 1, 1, 1, 1, 1, 1, 3, 5, 8, 9, 8, 4, 4, 7, 8, 8, 6, 3, 4, 5, 4, 2, 1)
_UNIT = DAY // 96
_MINUTES = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440)]
_SECONDS = [f"{second:02d}." for second in range(60)]


class Clock:
    """Writes times (ms of even time since midnight of the first day in China) as ISO 8601 in UTC.

    >>> Clock(date(2026, 9, 1)).iso(0), Clock(date(2026, 9, 1)).iso(DAY // 2)
    ('2026-08-31T16:00:00.000Z', '2026-09-01T06:00:00.000Z')
    """

    def __init__(self, first_day: date) -> None:
        self._midnight = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
        self._days: dict[int, str] = {}
        # for each 96th of a day: where its hour begins (ms), its place in the hour, units of the hour
        self._slots = [
            (hour * 3_600_000, place, share) for hour, share in enumerate(_HOURS) for place in range(share)
        ]

    def iso(self, at: int) -> str:
        """ISO 8601 with milliseconds and Z."""
        day, within = divmod(at, DAY)
        slot, rest = divmod(within, _UNIT)
        start, place, share = self._slots[slot]
        local = start + (place * _UNIT + rest) * 3_600_000 // (share * _UNIT)
        day, ms = divmod(day * DAY + local - _UTC_OFFSET, DAY)
        text = self._days.get(day)
        if text is None:
            text = self._days[day] = (self._midnight + timedelta(days=day)).date().isoformat()
        minute, ms = divmod(ms, 60_000)
        second, ms = divmod(ms, 1000)
        return f"{text}{_MINUTES[minute]}{_SECONDS[second]}{ms:03d}Z"
