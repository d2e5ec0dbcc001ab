"""Robots: declared filters by which events do not count. They give no points, and silence goes on through them.

Invariant: evidence stays as it is (events, links, traits, when a profile was seen), and the filters are part of the
ruleset, so other rules count the events again. An event that several filters take is told under the first: filters of
events in the order of the file, then the burst, then filters of profiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoring.conditions import Condition, event_condition, profile_condition
from scoring.rules_file import Place

MAX_FILTERS = 50
MAX_SQL = 20_000
"""Bytes of all conditions as SQL."""


@dataclass(frozen=True, slots=True)
class EventRobot:
    """Events for which `where` holds do not count."""

    name: str
    where: str

    def condition_sql(self) -> str:
        """SQL over one row of `events`: 1 where the event does not count."""
        return event_condition(self.where).sql


@dataclass(frozen=True, slots=True)
class Burst:
    """A day on which a subject has more events than `more_than` does not count for that subject."""

    name: str
    more_than: int


@dataclass(frozen=True, slots=True)
class ProfileRobot:
    """Nothing counts that a profile ever did for which `when` holds on the date."""

    name: str
    when: str

    def condition(self) -> Condition:
        """Over one row of a cycle."""
        return profile_condition(self.when, "scores")

    def condition_sql(self) -> str:
        """SQL over one row of a cycle: 1 where nothing counts."""
        return self.condition().sql


@dataclass(frozen=True, slots=True)
class Robots:
    """All filters of a ruleset."""

    events: tuple[EventRobot, ...] = ()
    burst: Burst | None = None
    profiles: tuple[ProfileRobot, ...] = ()

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any] | None) -> "Robots":
        """Filters from the fields of their JSON."""
        if not fields:
            return NO_ROBOTS
        burst = fields["burst"]
        return cls(
            tuple(EventRobot(**each) for each in fields["events"]),
            None if burst is None else Burst(**burst),
            tuple(ProfileRobot(**each) for each in fields["profiles"]),
        )


NO_ROBOTS = Robots()


def parse_robots(place: Place) -> Robots:
    """`robots`: a list of filters, each with a name of its own."""
    names: set[str] = set()
    events: list[EventRobot] = []
    profiles: list[ProfileRobot] = []
    burst = None
    for item in place.items():
        fields = item.fields(("name", "where", "when", "more_than", "per"), needed=("name",))
        name = fields["name"].name()
        kinds = [kind for kind in ("where", "when", "more_than") if kind in fields]
        if len(kinds) != 1 or ("per" in fields) != ("more_than" in fields):
            item.refuse("a filter has a where, a when, or more_than and per")
        if name in names:
            item.refuse(f"there is another filter {name}")
        names.add(name)
        if "where" in fields:
            events.append(EventRobot(name, fields["where"].condition()))
        elif "when" in fields:
            profiles.append(ProfileRobot(name, fields["when"].condition("scores")))
        else:
            fields["per"].choice(("day",))
            if burst:
                item.refuse(f"there is another burst, {burst.name}")
            burst = Burst(name, fields["more_than"].count(10**6))
    conditions = [*(each.condition_sql() for each in events), *(each.condition_sql() for each in profiles)]
    size = sum(len(sql.encode()) for sql in conditions)
    if len(names) > MAX_FILTERS or size > MAX_SQL:
        place.refuse(f"more than {MAX_FILTERS} filters, or conditions that are too long together")
    return Robots(tuple(events), burst, tuple(profiles))
