"""What can go wrong upstream of the profiles, three and more for each suite, and the expectation that must notice.

The list came first, the suites after it. A fault lies in what a source sends (`events`), in when or whether the log
and the job carry it on (`received_at`, `dates`, `stall`), or in rows that a disk or a hand lost (`damage`).
"""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.worlds import RECEIVED_AT

Event = dict[str, Any]
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Fault:
    """One way to break the data of a workspace."""

    name: str
    suite: str
    expectation: str
    events: Callable[[list[Event]], list[Event]] = lambda events: events
    received_at: int = RECEIVED_AT
    dates: tuple[str, ...] = ("2026-11-10", "2026-11-21")
    stall: bool = False
    """The job lands the second half of the log, but does not resolve and score it."""
    damage: str = ""
    """Table and condition of the rows that are lost."""


def outage(events: list[Event]) -> list[Event]:
    """The source sends nothing for three days."""
    return [event for event in events if not "2026-11-12" <= event["timestamp"][:10] <= "2026-11-14"]


def counted_message_ids(events: list[Event]) -> list[Event]:
    """A client numbers its messages from one at every start."""
    return [{**event, "messageId": f"m{n % 40}"} for n, event in enumerate(events)]


def unreadable_identifiers(events: list[Event]) -> list[Event]:
    """An SDK sends the text `undefined` for a tenth of the visitors' phones, and nothing else."""
    broken = copy.deepcopy(events)
    for event in broken[::10]:
        for name in ("userId", "anonymousId"):
            event.pop(name, None)
        event["traits"] = {}
        event["context"] = {"externalIds": [{"id": "undefined", "type": "phone"}]}
    return broken


def _with_phone(events: list[Event], phones: list[str], every: int) -> list[Event]:
    broken = copy.deepcopy(events)
    for n, event in enumerate(broken[::every]):
        known = event.setdefault("context", {}).setdefault("externalIds", [])
        event["context"]["externalIds"] = [
            *known,
            {"id": phones[n % len(phones)], "type": "phone"},
        ]
    return broken


def prefilled_shop_phones(events: list[Event]) -> list[Event]:
    """Every event carries the phone of the shop instead of the customer's."""
    return _with_phone(events, ["13900139001", "13900139002"], 1)


def prefilled_placeholder(events: list[Event]) -> list[Event]:
    """A form sends its placeholder when nobody changes it."""
    return _with_phone(events, ["13800138000"], 2)


def swapped_logins(events: list[Event]) -> list[Event]:
    """A cache in front of the site hands out pages of other people, with their logins."""
    chance = random.Random(1)
    return [{**event, "userId": f"login-{chance.randrange(100)}"} for event in copy.deepcopy(events)]


def renamed_event(events: list[Event]) -> list[Event]:
    """Since nine days the site calls its page views something else."""
    broken = copy.deepcopy(events)
    for event in broken:
        if event["type"] == "page" and event["timestamp"] >= "2026-11-11":
            event |= {"type": "track", "event": "page_view"}
    return broken


def lost(table: str, column: str, condition: str = "1") -> str:
    """A part of a table is gone: a quarter of its rows."""
    return f"{table} WHERE {column} < '4' AND {condition}"


FAULTS = (
    Fault("a source is silent for three days", "events", "silent_days", events=outage),
    Fault("a client reuses message ids", "events", "share_of_reused_message_ids", events=counted_message_ids),
    Fault("an SDK loses identifiers", "events", "share_without_identifiers", events=unreadable_identifiers),
    Fault("nothing came for three days", "events", "hours_since_last", received_at=RECEIVED_AT - 3 * _DAY),
    Fault("a part of the identifiers is lost", "identities", "sightings_known",
          damage=lost("identifiers", "identifier_id")),
    Fault("forms are filled with shop phones", "identities", "share_of_sightings_of_shared",
          events=prefilled_shop_phones),
    Fault("forms send their placeholder", "identities", "share_of_sightings_of_blocked",
          events=prefilled_placeholder),
    Fault("a part of the links is lost", "links", "pairs_of_events_stored", damage=lost("links", "a")),
    Fault("logins are swapped", "links", "share_of_refused", events=swapped_logins),
    Fault("a part of the identity map is lost", "links", "decided",
          damage=lost("identity_map", "identifier_id", "profile_id != identifier_id")),
    Fault("a part of the golden records is lost", "profiles", "everybody_has_a_profile",
          damage=lost("profile_rows", "profile_id")),
    Fault("a part of the clusters is lost", "profiles", "clusters_agree", damage=lost("clusters", "profile_id")),
    Fault("the job stalls after landing", "profiles", "share_of_events_miscounted", stall=True),
    Fault("no date was told for a week", "profiles", "days_behind", dates=("2026-11-14",)),
    Fault("a part of the rule hits is lost", "score_facts", "every_event_counted",
          damage=lost("event_hits", "event_id")),
    Fault("a part of the events is lost", "score_facts", "event_of_hit_known", damage=lost("events", "event_id")),
    Fault("an event was renamed", "score_facts", "no_rule_fell_silent", events=renamed_event),
)  # fmt: skip
