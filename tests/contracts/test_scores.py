"""Ledgers and segments over the query API and the command line, on records that the job's own steps wrote."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.keys import AccessKeys, create_key
from api.query import create_app
from api.scores import Scores
from kintsugi.score_commands import picture
from kintsugi.segments import judge
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from scoring.profile_rules import Segment
from store.client import Store
from tests.contracts.test_query_api import serving
from tests.worlds import World, lines

DATE = "2026-11-20"
SCORING = """
behaviour:
  rules:
    - {name: pages, event: Page Viewed, points: 2, cap: {points: 6, per: day}, decay: {half_life: 14d}}
    - {name: forms, event: Form Submitted, points: 15, cap: {count: 2, per: lifetime}}
    - {name: webinar, event: Webinar Joined, points: 20, decay: {window: 9d}}
    - {name: trial, event: Trial Started, points: 12, decay: {linear: 12d}}
  inactivity: {after: 4d, points: -5, every: 2d, floor: -20}
  robots:
    - {name: agent, where: "properties['agent'] = 'bot'"}
    - {name: burst, more_than: 4, per: day}
    - {name: staff, when: "traits['team'] = 'ours'"}
  floor: -3
  ceiling: 30
identity:
  grades: {A: 10, B: 0}
  rules: [{name: city, when: "traits['city'] != ''", points: 10}]
tags: [{name: city/suzhou, when: "traits['city'] = 'Suzhou'"}]
"""
SEGMENTS = (
    "{name: hot, when: behaviour_score >= 20, tag: call}",
    "{name: quiet, when: behaviour_score < 20}",
)


@pytest.fixture(scope="module")
def world(store: Store, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("home"), "scores", scoring=SCORING, segments=SEGMENTS)
    names = ("Page Viewed", "Form Submitted", "Webinar Joined", "Trial Started", "Other")
    events: list[dict[str, Any]] = [
        {"type": "track", "event": names[(n * who) % 5], "userId": f"u{who}", "anonymousId": f"a{who}-{n % 2}",
         "messageId": f"{who}-{n}", "timestamp": f"2026-11-{1 + (n * 7 + who) % 24:02}T03:00:00Z"}
        for who in range(8)
        for n in range(who * 3 + 1)
    ]  # fmt: skip
    events += [{"type": "identify", "userId": "u3", "traits": {"city": "Suzhou"}, "messageId": "city",
                "timestamp": "2026-11-02T03:00:00Z"}]  # fmt: skip
    events += [
        {"type": "track", "event": "Form Submitted", "userId": name, "messageId": f"{name}-{day}-{n}",
         "timestamp": f"2026-11-{day:02}T03:00:00Z", "properties": {"agent": "bot" if name == "bot" else ""}}
        for name, day, count in (("bot", 3, 2), ("bot", 5, 1), ("burst", 4, 5), ("burst", 6, 1), ("ours", 3, 2))
        for n in range(count)
    ]  # fmt: skip
    events += [{"type": "identify", "userId": "ours", "traits": {"team": "ours"}, "messageId": "team",
                "timestamp": "2026-11-04T03:00:00Z"}]  # fmt: skip
    records: list[AnyRecord] = [
        world.opened("g1"),
        world.activated("g1"),
        world.date(DATE),
        *world.events(events),
    ]
    LocalJob(store, world.home).run(lines(records))
    return world


@pytest.fixture(scope="module")
def client(store: Store, world: World) -> Iterator[httpx.Client]:
    key = create_key(world.home, world.name, "read")
    app = create_app(store, AccessKeys(world.home), world.home)
    with serving(app) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


def profiles(store: Store, world: World) -> list[dict[str, Any]]:
    found = store.query_arrow(
        "SELECT profile_id, behaviour_score, behaviour_points, segments, tags FROM kintsugi.profiles"
        " WHERE workspace = {w:String}",
        {"w": world.name},
    )
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def test_the_ledger_adds_up_to_the_score_of_the_record(
    store: Store, world: World, client: httpx.Client
) -> None:
    for row in profiles(store, world):
        answer = client.get(f"/v1/profiles/{row['profile_id']}/score").json()
        assert answer["behaviour_score"] == row["behaviour_score"]
        assert {line["rule"]: line["points"] for line in answer["lines"] if line["points"]} == {
            rule: points for rule, points in dict(row["behaviour_points"]).items() if points
        }
        assert sum(line["points"] for line in answer["lines"]) == pytest.approx(answer["behaviour_score"])
        for line in answer["lines"]:
            weighed = sum(part["counted_points"] * part["weight"] for part in line["days"])
            assert not line["days"] or weighed == pytest.approx(line["points"], abs=0.001)


def test_a_ledger_tells_what_robots_filters_keep_from_counting(
    store: Store, world: World, client: httpx.Client
) -> None:
    def told(name: str) -> tuple[float, dict[str, tuple[int, list[tuple[str, int]]]]]:
        answer = client.get(f"/v1/profiles/{world.identifier('user_id', name)}/score").json()
        return answer["behaviour_score"], {
            line["robot"]: (line["event_count"], [(day["day"], day["event_count"]) for day in line["days"]])
            for line in answer["robots"]
        }

    # nothing of theirs counts, so no silence does either
    assert told("bot") == (0, {"agent": (3, [("2026-11-03", 2), ("2026-11-05", 1)])})
    assert told("ours") == (0, {"staff": (3, [("2026-11-03", 2), ("2026-11-04", 1)])})
    # a form, and silence since the 6th
    assert told("burst") == (15 - 20 + 2, {"burst": (5, [("2026-11-04", 5)])})
    rows = store.query_rows(
        "SELECT robot, event_count, toDate(first_seen_at) FROM kintsugi.profiles WHERE profile_id IN {p:Array(String)}"
        " ORDER BY robot, event_count",
        {"p": [world.identifier("user_id", name) for name in ("bot", "ours")]},
    )
    assert rows == [("", 3, date(2026, 11, 3)), ("staff", 3, date(2026, 11, 3))], "evidence is untouched"
    early = Scores(store).on(world.name, world.identifier("user_id", "bot"), date(2026, 11, 4))
    assert [line.event_count for line in early.robots] == [2]


def test_the_grade_of_a_record_is_that_of_its_score(world: World, client: httpx.Client) -> None:
    for name, grade in (("u3", "A"), ("u1", "B")):
        record = client.get(f"/v1/profiles/{world.identifier('user_id', name)}").json()["profile"]
        assert (record["identity_score"], record["identity_grade"]) == (10 if grade == "A" else 0, grade)


def test_what_is_foretold_comes_true(
    store: Store, client: httpx.Client, tmp_path: Path, world: World
) -> None:
    """A later day is answered today as the record says it when that day has come, and so is an earlier one after."""
    twin = World(tmp_path, "foretold", scoring=SCORING)
    events = [
        {
            "type": "track",
            "event": name,
            "userId": "u",
            "messageId": f"{n}",
            "timestamp": f"2026-11-{day:02}T03:00:00Z",
        }
        for n, (name, day) in enumerate(
            [("Page Viewed", 3), ("Webinar Joined", 5), ("Trial Started", 9), ("Form Submitted", 12)]
        )
    ]
    job = LocalJob(store, twin.home)
    job.run(lines([twin.opened("g1"), twin.activated("g1"), twin.date("2026-11-12"), *twin.events(events)]))
    u, scores = twin.identifier("user_id", "u"), Scores(store)
    foretold = {day: scores.on(twin.name, u, date(2026, 11, day)).behaviour_score for day in range(1, 25)}
    change = scores.on(twin.name, u, date(2026, 11, 12)).next_change
    assert change is not None
    assert (change.on, change.points) == (date(2026, 11, 14), {"webinar": 0.0})
    assert change.behaviour_score == foretold[14]
    for day in (13, 14, 17, 20, 24):
        job.run(lines([twin.date(f"2026-11-{day}")]))
        (row,) = profiles(store, twin)
        assert row["behaviour_score"] == foretold[day]


def test_members_come_page_by_page(store: Store, world: World, client: httpx.Client) -> None:
    rows = profiles(store, world)
    expected = sorted(row["profile_id"] for row in rows if "quiet" in row["segments"])
    got: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/v1/segments/quiet/members", params={"cursor": cursor, "limit": 2}).json()
        assert len(page["profile_ids"]) <= 2
        got, cursor = got + page["profile_ids"], page["next_cursor"]
    assert got == expected
    assert len(expected) > 2
    missing = client.get("/v1/segments/hottest/members")
    assert missing.status_code == 404
    assert "hot, quiet" in missing.json()["detail"]


def test_a_preview_counts_what_the_segment_would_hold(store: Store, world: World) -> None:
    rows = profiles(store, world)
    told = judge(
        store, world.name, Segment("next", "behaviour_score < 20 OR has(tags, 'city/suzhou')"), ["call"]
    )
    expected = [r for r in rows if r["behaviour_score"] < 20 or "city/suzhou" in r["tags"]]
    assert (told.count, told.profiles) == (len(expected), len(rows))
    quiet = sum("quiet" in row["segments"] for row in rows)
    assert {s: (n, m) for s, n, m in told.overlap}["quiet"] == (quiet, quiet)
    graded = judge(
        store, world.name, Segment("next", "identity_grade = 'A' AND length(email_domains) = 0"), []
    )
    assert graded.sample == [world.identifier("user_id", "u3")]
    given_by_segments = judge(store, world.name, Segment("next", "has(tags, 'call')"), ["call"])
    assert given_by_segments.count == 0, "what segments give is worked out after conditions of segments"


def test_a_chart_shows_every_day(store: Store, world: World) -> None:
    first = date(2026, 11, 1)
    days = [first + timedelta(days=n) for n in range(30)]
    (profile_id, *_) = [row["profile_id"] for row in profiles(store, world)]
    series = Scores(store).series(world.name, profile_id, days)
    svg = picture(series, date(2026, 11, 20))
    assert svg.count(",") >= 30
    assert "<circle" in svg
