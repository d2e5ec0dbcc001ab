"""Any ruleset over history gives what it would have given from the start, on any date, and views say what it says."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kintsugi.digest import digest, digest_of
from pipelines.local_job import LocalJob
from store.client import Store
from tests.laws.test_standing_laws import FIRST, IDENTITY, Person, assertions_of
from tests.worlds import World, lines

CAPS = [{"points": 12, "per": "day"}, {"count": 3, "per": "week"}, {"points": 30, "per": "lifetime"}]
DECAYS: list[Any] = ["none", {"window": "5d"}, {"half_life": "3d"}, {"linear": "9d"}]
WHENS = ["behaviour_score >= 10", "behaviour_score < 3.5", "identity_grade = 'A'", "identity_grade IN ('B', '')",
         "traits['city'] = 'Suzhou'", "event_count > 4"]  # fmt: skip


def ruleset(chance: random.Random) -> str:
    """A scoring.yaml, written as JSON, that uses some of everything."""

    def some(**keys: Any) -> dict[str, Any]:
        return {key: value for key, value in keys.items() if chance.random() < 0.6}

    def when() -> str:
        return f"{chance.choice(WHENS)} {chance.choice(['AND', 'OR'])} {chance.choice(WHENS)}"

    floor = chance.choice([-8, 0, 2.5])
    events = ["Page Viewed", "Form Submitted", "Left"]
    robots = [
        {"name": "agent", "where": "properties['agent'] = 'bot'"},
        {"name": "burst", "more_than": chance.choice([1, 3]), "per": "day"},
        {"name": "staff", "when": "traits['team'] = 'ours' AND event_count > 2"},
    ]
    grades = {"A": 20, "B": chance.choice([0, 4]), "C": -3}
    return json.dumps(
        {
            "behaviour": {
                "rules": [
                    {"name": f"r{n}", "event": event, "points": -4 if event == "Left" else chance.choice([3, 7.5]),
                     "decay": chance.choice(DECAYS), **some(cap=chance.choice(CAPS))}
                    for n, event in enumerate(chance.choices(events, k=4))
                ],
                **some(
                    robots=chance.sample(robots, 2),
                    floor=floor,
                    ceiling=floor + chance.choice([0, 20]),
                    cap=chance.choice(CAPS),
                    inactivity={"after": "4d", "points": -2, "every": "3d", "floor": -5},
                ),
            },
            "identity": {
                "rules": [
                    {"name": "reachable", "when": "has(identifiers, 'phone')", "points": 20},
                    {"name": "elsewhere", "when": "traits['city'] = ''", "points": -5},
                ],
                **some(grades=grades, floor=-4, ceiling=18),
            },
            "stages": [{"name": name, "when": when()} for name in ("mql", "sql")],
            "tags": [{"name": f"t{n}", "when": when()} for n in range(3)],
        }
    )  # fmt: skip


def scores(store: Store, world: World) -> Iterator[tuple[float, float]]:
    """Each score, and the sum of its lines in the ledger."""
    rows = store.query_rows(
        """SELECT p.behaviour_score, l.behaviour, p.identity_score, l.identity FROM kintsugi.profiles AS p LEFT JOIN (
            SELECT profile_id, sumIf(points, score = 'behaviour') AS behaviour,
                sumIf(points, score = 'identity') AS identity
            FROM kintsugi.score_ledger WHERE workspace = {w:String} GROUP BY profile_id
        ) AS l ON p.profile_id = l.profile_id WHERE p.workspace = {w:String}""",
        {"w": world.name},
    )
    for row in rows:
        yield from (row[:2], row[2:])


@pytest.mark.parametrize("seed", range(3))
def test_rules_over_history_give_what_they_would_have_given_from_the_start(
    store: Store, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    text = ruleset(chance)
    world = World(tmp_path, f"generated-{seed}", identity=IDENTITY, scoring="tags: []")
    rules = world.rules(IDENTITY, text)
    people = [Person(f"u{n}", chance) for n in range(20)]
    events = world.events([event for person in people for event in person.events()], size=20)
    chance.shuffle(events)
    pair = [world.identifier("user_id", person.name) for person in people[:2]]
    job = LocalJob(store, world.home, seed=seed)
    job.run(lines([world.opened("live"), world.opened("start", rules), world.activated("live")]))
    job.run(lines([world.date(str(FIRST + timedelta(days=8))), *events, *assertions_of(world, people[:2])]))
    job.run(lines([world.override("force", *pair), world.opened("late", rules), world.activated("late")]))
    for day in (13, 22):
        date = str(FIRST + timedelta(days=day))
        job.run(lines([world.date(date)]))
        late = digest(store, world.name)
        assert late == digest_of(store, world.name, "start") == digest(store, world.name, date), (date, text)
        assert late.profiles > 10
        assert all(score == pytest.approx(lines_of) for score, lines_of in scores(store, world)), text
