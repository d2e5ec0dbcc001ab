"""Facts of touched profiles: whose event it is, what copies come to, what a date leaves out."""

from datetime import date
from typing import Any

from scoring.compile import hits_select
from scoring.facts import active_days_select, activity_select, facts_select, traits_select
from scoring.ruleset import parse_scoring
from tests.unit.scoring.engine import Engine, Identity, event_row

RULES = parse_scoring("behaviour: {rules: [{name: form, event: Form Submitted, points: 5}]}")
MARCH_5 = (date(2026, 3, 5) - date(1970, 1, 1)).days
TOUCHED = "kintsugi_store.touched"
BOTH = {"p1": "phone", "u1": "user_id"}


def touch(engine: Engine, **profiles: str) -> None:
    rows = [{"profile_id": profile, "identifier_id": identifier} for identifier, profile in profiles.items()]
    engine.insert("touched", rows)


def send(engine: Engine, *events: dict[str, Any]) -> None:
    for event in events:
        engine.insert("events", [event])
    engine.run(
        f"INSERT INTO kintsugi_store.rule_hits {hits_select('g', RULES, Identity(), 'kintsugi_store.events')}"
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


def facts(engine: Engine, on: int = MARCH_5) -> list[tuple[str, str, str]]:
    rows = engine.rows(facts_select("w", "g", on, TOUCHED))
    return sorted((row["profile_id"], row["event_id"], row["day"]) for row in rows)


def test_an_event_counts_once_for_the_profile_of_its_strongest_identifier(engine: Engine) -> None:
    send(engine, event_row("e1", "2026-03-01", "Form Submitted", seen=BOTH))
    touch(engine, p1="A", u1="B")
    assert facts(engine) == [("B", "e1", "2026-03-01")]


def test_a_shared_identifier_passes_its_events_to_the_next_and_back(engine: Engine) -> None:
    send(engine, event_row("e1", "2026-03-01", "Form Submitted", seen=BOTH))
    touch(engine, p1="A", u1="B")
    exclude(engine, "u1", "shared", 1)
    assert facts(engine) == [("A", "e1", "2026-03-01")]
    exclude(engine, "p1", "shared", 2)
    assert facts(engine) == []
    exclude(engine, "u1", "", 3)
    assert facts(engine) == [("B", "e1", "2026-03-01")]


def test_the_earliest_copy_gives_the_day(engine: Engine) -> None:
    event = event_row("e1", "2026-03-04", "Form Submitted")
    send(engine, event)
    send(engine, event | {"day": "2026-03-03", "occurred_at": "2026-03-03 23:00:00"})
    touch(engine, u1="A")
    assert facts(engine) == [("A", "e1", "2026-03-03")]
    assert facts(engine, MARCH_5 - 2) == [("A", "e1", "2026-03-03")]
    assert facts(engine, MARCH_5 - 3) == []


def test_other_workspaces_and_generations_do_not_show(engine: Engine) -> None:
    send(engine, event_row("e1", "2026-03-01", "Form Submitted", workspace="other"))
    others = "SELECT * REPLACE ('w' AS workspace, 'h' AS generation) FROM kintsugi_store.rule_hits"
    engine.run(f"INSERT INTO kintsugi_store.rule_hits {others}")
    touch(engine, u1="A")
    assert facts(engine) == []


def test_activity_counts_every_event_up_to_the_date(engine: Engine) -> None:
    send(
        engine,
        event_row("e1", "2026-03-01", "Other", seen=BOTH),
        event_row("e1", "2026-03-01", "Other", seen=BOTH),
        event_row("e2", "2026-03-04", "Form Submitted"),
        event_row("e3", "2026-03-07", "Other"),
        event_row("e4", "2026-03-06", "Other"),
        event_row("e5", "2026-03-05", "Other", is_robot=1),
    )
    touch(engine, p1="A", u1="A")
    assert engine.rows(activity_select("w", "g", MARCH_5, TOUCHED)) == [
        {
            "profile_id": "A",
            "event_count": 2,
            "first_seen_at": "2026-03-01 08:00:00.000000",
            "last_seen_at": "2026-03-04 08:00:00.000000",
            "first_day": "2026-03-01",
            "last_day": "2026-03-04",
            "next_day": "2026-03-06",
        }
    ]


ROBOTS = parse_scoring("""
behaviour:
  rules: [{name: form, event: Form Submitted, points: 5}]
  robots: [{name: burst, more_than: 2, per: day}, {name: probe, where: "event = 'Probe'"}]
""")


def counted(engine: Engine) -> tuple[list[tuple[str, str]], list[tuple[str, str, str, int]]]:
    """Hits that count as (profile, event), and activity as (profile, day, robot, events)."""
    engine.run(
        f"INSERT INTO kintsugi_store.rule_hits {hits_select('g', ROBOTS, Identity(), 'kintsugi_store.events')}"
    )
    hits = engine.rows(facts_select("w", "g", MARCH_5, TOUCHED, robots=ROBOTS.robots))
    active = engine.rows(active_days_select("w", "g", MARCH_5, TOUCHED, robots=ROBOTS.robots))
    names = ("profile_id", "day", "robot", "event_count")
    return (
        sorted((row["profile_id"], row["event_id"]) for row in hits),
        sorted(tuple(row[name] for name in names) for row in active),
    )


def test_a_burst_is_the_subject_s_and_takes_its_whole_day(engine: Engine) -> None:
    """Three events of the account, one of them beside its phone, and one of the phone alone: two subjects."""
    events = [event_row(f"e{n}", "2026-03-01", "Form Submitted") for n in range(2)]
    events += [
        event_row("e2", "2026-03-01", "Probe", seen=BOTH),
        event_row("e3", "2026-03-02", "Form Submitted"),
    ]
    events += [event_row("e4", "2026-03-01", "Form Submitted", seen={"p1": "phone"})]
    for event in reversed(events):
        engine.insert("events", [event])
        engine.insert("events", [event])
    touch(engine, u1="A", p1="A")
    assert counted(engine) == (
        [("A", "e3"), ("A", "e4")],
        [("A", "2026-03-01", "", 1), ("A", "2026-03-01", "burst", 2), ("A", "2026-03-01", "probe", 1),
         ("A", "2026-03-02", "", 1)],
    )  # fmt: skip
    (row,) = engine.rows(activity_select("w", "g", MARCH_5, TOUCHED, robots=ROBOTS.robots))
    assert (row["event_count"], row["first_day"], row["last_day"]) == (5, "2026-03-01", "2026-03-02")


def test_a_profile_of_robots_alone_is_known_and_never_active(engine: Engine) -> None:
    engine.insert("events", [event_row("e1", "2026-03-01", "Probe")])
    touch(engine, u1="A")
    assert counted(engine) == ([], [("A", "2026-03-01", "probe", 1)])
    (row,) = engine.rows(activity_select("w", "g", MARCH_5, TOUCHED, robots=ROBOTS.robots))
    assert (row["event_count"], row["first_day"], row["last_day"]) == (1, "2026-03-01", None)


def observe(engine: Engine, event: str, day: str, name: str, value: str | None, **fields: Any) -> None:
    row = {
        "workspace": "w", "identifier_id": "u1", "name": name, "event_id": event, "value": value or "",
        "is_sealed": 0, "is_unset": int(value is None), "occurred_at": f"{day} 08:00:00", "day": day,
        "received_at": f"{day} 09:00:00", "identifiers": ["p1", "u1"], "kinds": ["phone", "user_id"],
    }  # fmt: skip
    engine.insert("traits", [row | fields])


def traits(engine: Engine, on: int = MARCH_5) -> dict[str, tuple[str, str, str, int]]:
    rows = engine.rows(traits_select("w", "g", on, Identity(), TOUCHED))
    return {r["name"]: (r["value"], r["event_id"], r["first_value"], r["is_sealed"]) for r in rows}


def test_the_newest_observation_of_a_trait_counts(engine: Engine) -> None:
    touch(engine, u1="A", p1="B")
    observe(engine, "e2", "2026-03-02", "city", "Beijing")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai")
    observe(engine, "e2", "2026-03-02", "city", "Beijing", identifier_id="p1")
    observe(engine, "e3", "2026-03-06", "city", "Shenzhen")
    observe(engine, "e1", "2026-03-01", "name", "xx", is_sealed=1)
    assert traits(engine) == {"city": ("Beijing", "e2", "Shanghai", 0), "name": ("xx", "e1", "xx", 1)}
    assert traits(engine, MARCH_5 - 4)["city"] == ("Shanghai", "e1", "Shanghai", 0)


def test_ties_of_time_go_to_the_greater_event(engine: Engine) -> None:
    touch(engine, u1="A")
    observe(engine, "e2", "2026-03-01", "city", "a")
    observe(engine, "e1", "2026-03-01", "city", "z")
    assert traits(engine)["city"][:2] == ("a", "e2")


def test_null_unsets_a_trait_until_it_is_said_again(engine: Engine) -> None:
    touch(engine, u1="A")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai")
    observe(engine, "e2", "2026-03-02", "city", None)
    assert traits(engine) == {}
    observe(engine, "e3", "2026-03-03", "city", "Beijing")
    assert traits(engine)["city"] == ("Beijing", "e3", "Shanghai", 0)


def test_traits_follow_the_subject(engine: Engine) -> None:
    touch(engine, p1="B")
    observe(engine, "e1", "2026-03-01", "city", "Shanghai", identifier_id="p1")
    assert traits(engine) == {}
    exclude(engine, "u1", "shared", 1)
    assert traits(engine)["city"][0] == "Shanghai"
