"""Numbers and times as people read them."""

import doctest
from datetime import UTC, datetime, timedelta, timezone

from kintsugi import words


def test_the_examples_are_true() -> None:
    assert doctest.testmod(words).failed == 0


def test_a_moment_of_another_zone_is_told_in_utc() -> None:
    there = datetime(2026, 11, 26, 16, 30, tzinfo=timezone(timedelta(hours=8)))
    assert words.moment(there) == words.moment(datetime(2026, 11, 26, 8, 30, tzinfo=UTC))
