"""Promises of events: names, times and robots."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event, admit, event_name, event_time, is_robot
from schemas.times import parse_time

NOW = 1_767_323_045_000_000  # 2026-01-02T03:04:05Z
DAY = 86_400_000_000


def event_of(**fields: Any) -> Event:
    body = {"type": "track", "event": "Clicked", "userId": "u", **fields}
    return msgspec.json.decode(admit(body).e, type=Event)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("track", "Clicked"),
        ("page", "Page Viewed"),
        ("screen", "Screen Viewed"),
        ("identify", "Identified"),
        ("group", "Grouped"),
        ("alias", "Aliased"),
    ],
)
def test_every_type_has_a_name(kind: Any, name: Any) -> None:
    assert event_name(event_of(type=kind, groupId="g", previousId="p")) == name


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({}, NOW),
        ({"timestamp": "2026-01-01T03:04:05Z"}, NOW - DAY),
        ({"originalTimestamp": "2026-01-01T03:04:05Z"}, NOW - DAY),
        ({"timestamp": "2026-01-01T03:04:05Z", "originalTimestamp": "2020-01-01"}, NOW - DAY),
        ({"timestamp": "2026-01-03T03:04:05Z"}, NOW + DAY),
        ({"timestamp": "2026-01-03T03:04:05.000001Z"}, NOW),
    ],
)
def test_event_time_is_the_clients_unless_missing_or_a_day_ahead(fields: Any, time: Any) -> None:
    item = admit({"type": "page", "userId": "u"})
    assert event_time(event_of(**fields), item, NOW) == time
    item.t = 5
    assert event_time(event_of(**fields), item, NOW) == 5


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.000+00:00",
        "2026-01-02T11:04:05+08:00",
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:05.000000999Z",
        "2026-01-02T03:04:05",
        " 2026-01-02 03:04:05 ",
        "20260102T030405Z",
    ],
)
def test_times_are_read_in_every_form_that_sdks_send(text: Any) -> None:
    assert parse_time(text) == NOW


def test_a_leap_second_is_the_last_second_of_its_minute() -> None:
    assert parse_time("2016-12-31T23:59:60.5Z") == parse_time("2016-12-31T23:59:59.5Z")


@pytest.mark.parametrize(
    "text", ["", "x", "2026-13-01", "2026-01-02T03:04:61Z", "Fri, 02 Jan 2026", "\ud800", "٢٠٢٦-01-02"]
)
def test_what_is_no_time_is_none(text: Any) -> None:
    assert parse_time(text) is None


@given(st.datetimes(timezones=st.timezones()))
def test_every_instant_survives_to_the_microsecond(moment: Any) -> None:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert (
        parse_time(moment.isoformat()) == (delta.days * 86_400 + delta.seconds) * 10**6 + delta.microseconds
    )


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("Sogou web spider/4.0", True),
        ("Mozilla/5.0 HeadlessChrome/120.0", True),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT X30) Chrome/120", False),
        ("Mozilla/5.0 (iPhone) MicroMessenger/8.0", False),
        (None, False),
        (7, False),
        ({}, False),
    ],
)
def test_robots_name_themselves(agent: Any, robot: Any) -> None:
    assert is_robot(agent) is robot
