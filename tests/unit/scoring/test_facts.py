"""Facts of touched profiles: whose event it is, what copies come to, what a date leaves out."""

from datetime import date, timedelta
from typing import Any

import numpy as np

from scoring.compile import hits_select
from scoring.events import NEVER, Events, event_ids, events_of
from scoring.facts import events_select, observations_select
from scoring.ruleset import ScoringRules, parse_scoring
from scoring.traits import Traits
from tests.unit.scoring.engine import Engine, Identity, event_row

RULES = parse_scoring("behaviour: {rules: [{name: form, event: Form Submitted, points: 5}]}")
EPOCH = date(1970, 1, 1)
MARCH_5 = (date(2026, 3, 5) - EPOCH).days
TOUCHED = "kintsugi_store.touched"
BOTH = {"p1": "phone", "u1": "user_id"}


def eid(name: str) -> str:
    """An event_id that begins with the name."""
    return name.ljust(32, "0")


class Asked:
    """Identifiers that were touched, and whose they are."""

    def __init__(self, engine: Engine, **profiles: str) -> None:
        self.engine = engine
        self.names = sorted(set(profiles.values()))
        self.owner = np.array([self.names.index(profile) for profile in profiles.values()])
        rows = [{"identifier_id": identifier, "member": n} for n, identifier in enumerate(profiles)]
        engine.insert("touched", rows)

    def events(self, rules: ScoringRules = RULES) -> Events:
        rows = self.engine.arrow(events_select("w", "g", rules, TOUCHED))
        return events_of(rows, self.owner, len(self.names), rules.robots)

    def hits(self, on: int = MARCH_5, rules: ScoringRules = RULES) -> list[tuple[str, str, str]]:
        """(profile, event, day) of what counts up to a day."""
        hits = self.events(rules).hits
        hits = hits.where(hits.day <= on)
        names = [name.rstrip("0") for name in event_ids(hits.event).to_pylist()]
        return sorted(
            (self.names[who], name, iso(day))
            for who, name, day in zip(hits.profile, names, hits.day.tolist(), strict=True)
        )

    def traits(self, on: int = MARCH_5) -> dict[str, tuple[str, str, int]]:
        """(value, event, is_sealed) by trait."""
        found = Traits(self.engine.arrow(observations_select("w", "g", Identity(), TOUCHED)), self.owner)
        return {
            found.names[found.name[row]]: (
                found.values[row].as_py(),
                event_ids(found.event[[row]])[0].as_py().rstrip("0"),
                int(found.is_sealed[row]),
            )
            for row in found.current(on).tolist()
        }

    def first(self, name: str, on: int = MARCH_5) -> str | None:
        """The first value of a trait of the first profile."""
        found = Traits(self.engine.arrow(observations_select("w", "g", Identity(), TOUCHED)), self.owner)
        (row,) = found.first_on(name, np.array([0]), np.array([on]))
        return None if row < 0 else str(found.values[int(row)])


def iso(day: int) -> str:
    return str(EPOCH + timedelta(days=day))


def send(engine: Engine, *events: dict[str, Any]) -> None:
    for event in events:
        engine.insert("events", [event])
    engine.run(
        f"INSERT INTO kintsugi_store.event_hits {hits_select('g', RULES, Identity(), 'kintsugi_store.events')}"
    )


def exclude(engine: Engine, identifier: str, reason: str, version: int) -> None:
    row = {
        "workspace": "w",
        "generation": "g",
        "identifier_id": identifier,
        "reason": reason,
        "version": version,
    }
    engine.insert("excluded_identifiers", [row])


def test_an_event_counts_once_for_the_profile_of_its_strongest_identifier(engine: Engine) -> None:
    send(engine, event_row(eid("e1"), "2026-03-01", "Form Submitted", seen=BOTH))
    assert Asked(engine, p1="A", u1="B").hits() == [("B", "e1", "2026-03-01")]


def test_a_shared_identifier_passes_its_events_to_the_next_and_back(engine: Engine) -> None:
    send(engine, event_row(eid("e1"), "2026-03-01", "Form Submitted", seen=BOTH))
    asked = Asked(engine, p1="A", u1="B")
    exclude(engine, "u1", "shared", 1)
    assert asked.hits() == [("A", "e1", "2026-03-01")]
    exclude(engine, "p1", "shared", 2)
    assert asked.hits() == []
    exclude(engine, "u1", "", 3)
    assert asked.hits() == [("B", "e1", "2026-03-01")]


def test_the_earliest_copy_gives_the_day(engine: Engine) -> None:
    event = event_row(eid("e1"), "2026-03-04", "Form Submitted")
    send(engine, event)
    send(engine, event | {"day": "2026-03-03", "occurred_at": "2026-03-03 23:00:00"})
    asked = Asked(engine, u1="A")
    assert asked.hits() == [("A", "e1", "2026-03-03")]
    assert asked.hits(MARCH_5 - 2) == [("A", "e1", "2026-03-03")]
    assert asked.hits(MARCH_5 - 3) == []


def test_other_workspaces_and_generations_do_not_show(engine: Engine) -> None:
    send(engine, event_row(eid("e1"), "2026-03-01", "Form Submitted", workspace="other"))
    others = "SELECT * REPLACE ('w' AS workspace, 'h' AS generation) FROM kintsugi_store.event_hits"
    engine.run(f"INSERT INTO kintsugi_store.event_hits {others}")
    assert Asked(engine, u1="A").hits() == []


def test_activity_counts_every_event_up_to_the_date(engine: Engine) -> None:
    send(
        engine,
        event_row(eid("e1"), "2026-03-01", "Other", seen=BOTH),
        event_row(eid("e1"), "2026-03-01", "Other", seen=BOTH),
        event_row(eid("e2"), "2026-03-04", "Form Submitted"),
        event_row(eid("e3"), "2026-03-07", "Other"),
        event_row(eid("e4"), "2026-03-06", "Other"),
        event_row(eid("e5"), "2026-03-05", "Other", is_robot=1),
    )
    events = Asked(engine, p1="A", u1="A", u2="B").events()
    seen = events.until(MARCH_5)
    at_eight = (8 * 3600 * 10**6) + 86_400 * 10**6 * np.array([MARCH_5 - 4, MARCH_5 - 1])
    assert seen.event_count.tolist() == [2, 0]
    assert (seen.first_at.tolist(), seen.last_at.tolist()) == ([at_eight[0], 0], [at_eight[1], 0])
    assert seen.first_day.tolist() == [MARCH_5 - 4, NEVER]
    assert seen.last_day.tolist() == [MARCH_5 - 1, NEVER]
    assert seen.next_day.tolist() == [MARCH_5 + 1, NEVER]
    who, on = np.array([0, 0, 0, 1]), np.array([MARCH_5 - 5, MARCH_5 - 4, MARCH_5 + 9, MARCH_5])
    assert seen.count_on(who, on).tolist() == [0, 1, 4, 0]


ROBOTS = parse_scoring("""
behaviour:
  rules: [{name: form, event: Form Submitted, points: 5}]
  robots: [{name: burst, more_than: 2, per: day}, {name: probe, where: "event = 'Probe'"}]
""")


def counted(asked: Asked) -> tuple[list[tuple[str, str]], list[tuple[str, str, str, int]]]:
    """Hits that count as (profile, event), and activity as (profile, day, robot, events)."""
    hits = hits_select("g", ROBOTS, Identity(), "kintsugi_store.events")
    asked.engine.run(f"INSERT INTO kintsugi_store.event_hits {hits}")
    events = asked.events(ROBOTS)
    active = events.activity
    return (
        [(who, event) for who, event, _ in asked.hits(rules=ROBOTS)],
        sorted(
            (asked.names[who], iso(day), events.robots[robot], count)
            for who, day, robot, count in zip(
                active.profile, active.day.tolist(), active.robot, active.count.tolist(), strict=True
            )
        ),
    )


def test_a_burst_is_the_subject_s_and_takes_its_whole_day(engine: Engine) -> None:
    """Three events of the account, one of them beside its phone, and one of the phone alone: two subjects."""
    events = [event_row(eid(f"e{n}"), "2026-03-01", "Form Submitted") for n in range(2)]
    events += [
        event_row(eid("e2"), "2026-03-01", "Probe", seen=BOTH),
        event_row(eid("e3"), "2026-03-02", "Form Submitted"),
    ]
    events += [event_row(eid("e4"), "2026-03-01", "Form Submitted", seen={"p1": "phone"})]
    for event in reversed(events):
        engine.insert("events", [event])
        engine.insert("events", [event])
    asked = Asked(engine, u1="A", p1="A")
    assert counted(asked) == (
        [("A", "e3"), ("A", "e4")],
        [("A", "2026-03-01", "", 1), ("A", "2026-03-01", "burst", 2), ("A", "2026-03-01", "probe", 1),
         ("A", "2026-03-02", "", 1)],
    )  # fmt: skip
    seen = asked.events(ROBOTS).until(MARCH_5)
    assert (seen.event_count[0], seen.first_day[0], seen.last_day[0]) == (5, MARCH_5 - 4, MARCH_5 - 3)


def test_a_profile_of_robots_alone_is_known_and_never_active(engine: Engine) -> None:
    engine.insert("events", [event_row(eid("e1"), "2026-03-01", "Probe")])
    asked = Asked(engine, u1="A")
    assert counted(asked) == ([], [("A", "2026-03-01", "probe", 1)])
    seen = asked.events(ROBOTS).until(MARCH_5)
    assert (seen.event_count[0], seen.first_day[0], seen.last_day[0]) == (1, MARCH_5 - 4, NEVER)


def observe(engine: Engine, event: str, day: str, name: str, value: str | None, **fields: Any) -> None:
    row = {
        "workspace": "w", "identifier_id": "u1", "name": name, "event_id": eid(event), "value": value or "",
        "is_sealed": 0, "is_unset": int(value is None), "occurred_at": f"{day} 08:00:00", "day": day,
        "received_at": f"{day} 09:00:00", "identifiers": ["p1", "u1"], "kinds": ["phone", "user_id"],
    }  # fmt: skip
    engine.insert("traits", [row | fields])


def test_the_newest_observation_of_a_trait_counts(engine: Engine) -> None:
    asked = Asked(engine, u1="A", p1="B")
    observe(engine, "e2", "2026-03-02", "city", "Beijing")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai")
    observe(engine, "e2", "2026-03-02", "city", "Beijing", identifier_id="p1")
    observe(engine, "e3", "2026-03-06", "city", "Shenzhen")
    observe(engine, "e1", "2026-03-01", "name", "xx", is_sealed=1)
    assert asked.traits() == {"city": ("Beijing", "e2", 0), "name": ("xx", "e1", 1)}
    assert asked.traits(MARCH_5 - 4)["city"] == ("Shanghai", "e1", 0)
    assert (asked.first("city"), asked.first("city", MARCH_5 - 5)) == ("Shanghai", None)


def test_copies_of_an_observation_are_one_of_the_earliest_time(engine: Engine) -> None:
    asked = Asked(engine, u1="A")
    observe(engine, "e1", "2026-03-04", "city", "Beijing")
    observe(engine, "e2", "2026-03-03", "city", "Shanghai")
    assert asked.traits()["city"] == ("Beijing", "e1", 0)
    observe(engine, "e1", "2026-03-02", "city", "Beijing")
    assert asked.traits()["city"] == ("Shanghai", "e2", 0)


def test_ties_of_time_go_to_the_greater_event(engine: Engine) -> None:
    asked = Asked(engine, u1="A")
    observe(engine, "e2", "2026-03-01", "city", "a")
    observe(engine, "e1", "2026-03-01", "city", "z")
    assert asked.traits()["city"][:2] == ("a", "e2")


def test_null_unsets_a_trait_until_it_is_said_again(engine: Engine) -> None:
    asked = Asked(engine, u1="A")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai")
    observe(engine, "e2", "2026-03-02", "city", None)
    assert asked.traits() == {}
    observe(engine, "e3", "2026-03-03", "city", "Beijing")
    assert asked.traits()["city"] == ("Beijing", "e3", 0)
    assert asked.first("city") == "Shanghai"


def test_traits_follow_the_subject(engine: Engine) -> None:
    asked = Asked(engine, p1="B")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai", identifier_id="p1")
    assert asked.traits() == {}
    exclude(engine, "u1", "shared", 1)
    assert asked.traits()["city"][0] == "Shanghai"
