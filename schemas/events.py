"""Events as the job reads them from the log: Segment's spec, typed just as far as something looks at it.

Invariant: every body that `admit` returned decodes as `Event`; what a function here says of an event depends
on the event alone (and, where the client gave no usable time, on when it was received).
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from schemas.admission import TYPES, admit, read
from schemas.log_record import Item
from schemas.times import parse_time

__all__ = [
    "TYPES",
    "Context",
    "Event",
    "admit",
    "event_name",
    "event_time",
    "is_robot",
    "read",
]

AHEAD = 86_400_000_000
"""µs by which an event time may lie ahead of received_at before received_at stands in for it."""

_NAMES = {
    "page": "Page Viewed",
    "screen": "Screen Viewed",
    "identify": "Identified",
    "group": "Grouped",
    "alias": "Aliased",
}
_ROBOT = re.compile(
    r"(?<!cu)bot(?![a-z])|spider|crawl|slurp|headless|phantomjs|lighthouse|facebookexternalhit|mediapartners"
    r"|pingdom|uptime",
    re.IGNORECASE,
)


class Context(msgspec.Struct):
    """Parts of the context that something looks at; `Raw` parts are kept as they came, of any type."""

    externalIds: list[dict[str, Any]] = []  # noqa: N815 - Segment's spelling
    externalId: list[dict[str, Any]] = []  # noqa: N815 - RudderStack's spelling
    traits: dict[str, Any] = {}
    campaign: msgspec.Raw = msgspec.Raw()
    page: msgspec.Raw = msgspec.Raw()
    library: msgspec.Raw = msgspec.Raw()
    locale: msgspec.Raw = msgspec.Raw()
    ip: msgspec.Raw = msgspec.Raw()
    userAgent: Any = None  # noqa: N815


class Event(msgspec.Struct):
    """One event; `properties` stay text, since the store reads them there."""

    type: str
    event: str = ""
    userId: str | None = None  # noqa: N815
    anonymousId: str | None = None  # noqa: N815
    previousId: str | None = None  # noqa: N815
    groupId: str | None = None  # noqa: N815
    messageId: str = ""  # noqa: N815
    timestamp: str = ""
    originalTimestamp: str = ""  # noqa: N815
    properties: msgspec.Raw = msgspec.Raw()
    traits: dict[str, Any] = {}
    context: Context = msgspec.field(default_factory=Context)


def event_name(event: Event) -> str:
    """Name under which rules and analysts know the event: for `track` its own, else one for the type."""
    return _NAMES.get(event.type) or event.event


def event_time(event: Event, item: Item, received_at: int) -> int:
    """When it happened, µs UTC: as the collector corrected it, else as the client says, else `received_at`.

    `received_at` (µs) stands in where the client gave no time or one that is more than AHEAD of it.
    """
    if item.t is not None:
        return item.t
    text = event.timestamp or event.originalTimestamp
    time = parse_time(text) if text else None
    return received_at if time is None or time > received_at + AHEAD else time


def is_robot(user_agent: Any) -> bool:
    """True when the user agent names itself a robot.

    >>> is_robot("Mozilla/5.0 (compatible; Baiduspider/2.0)"), is_robot("CUBOT X30")
    (True, False)
    """
    return _names_robot(user_agent) if isinstance(user_agent, str) else False


@lru_cache(maxsize=4096)
def _names_robot(user_agent: str) -> bool:
    return _ROBOT.search(user_agent) is not None
