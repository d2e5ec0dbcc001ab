"""Every worked example of scoring/README.md, through compiled SQL, facts, points and ledger."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from scoring.behaviour import behaviour
from scoring.compile import hits_select, when_select
from scoring.events import NEVER, event_ids, events_of
from scoring.facts import events_select
from scoring.fit import identity_points
from scoring.ledger import Hit, explain
from scoring.ruleset import ScoringRules, parse_scoring
from tests.unit.scoring.engine import Engine, Identity, event_row, profile_row

README = Path(__file__).parents[3] / "scoring" / "README.md"
EPOCH = date(1970, 1, 1)
TOUCHED = "kintsugi_store.touched"


def examples() -> dict[str, str]:
    """YAML of each example by its heading."""
    found = re.findall(r"^## (.+?)\n.*?^```yaml\n(.*?)^```", README.read_text(), re.S | re.M)
    return dict(found)


def rules_of(example: dict[str, Any]) -> ScoringRules:
    return parse_scoring(
        yaml.safe_dump({k: example[k] for k in ("behaviour", "identity") if k in example}, sort_keys=False)
    )


def insert_events(engine: Engine, events: list[dict[str, Any]]) -> None:
    """Inserts the events, all copies of an event in inserts of their own."""
    rows = [
        event_row(
            f"{place:016x}{number:016x}",
            told["day"].isoformat(),
            told["event"],
            properties=told.get("properties", {}),
            context=told.get("context", {}),
            is_robot=int(told.get("robot", False)),
        )
        for place, told in enumerate(events)
        for number in range(told.get("times", 1))
    ]
    for _ in range(max(told.get("copies", 1) for told in events)):
        engine.insert("events", rows)


def days(when: date) -> int:
    return (when - EPOCH).days


@pytest.mark.parametrize("title", [t for t, text in examples().items() if "score:" in text])
def test_behaviour_example(engine: Engine, title: str) -> None:
    example = yaml.safe_load(examples()[title])
    rules = rules_of(example)
    insert_events(engine, example["events"])
    engine.insert("touched", [{"identifier_id": "u1", "member": 0}])
    for _ in ("derived once", "and again"):
        hits = hits_select("g", rules, Identity(), "kintsugi_store.events")
        engine.run(f"INSERT INTO kintsugi_store.event_hits {hits}")
    changes = example.get("next_change_on", {})
    for day in sorted({*example["score"], *changes}):
        score, change = computed(engine, rules, days(day))
        if day in example["score"]:
            assert score / 1000 == example["score"][day], day
        if day in changes:
            assert change == (None if changes[day] == "never" else changes[day]), day


def computed(engine: Engine, rules: ScoringRules, on: int) -> tuple[int, date | None]:
    """Score and next change by facts on a day; the ledger must agree."""
    rows = engine.arrow(events_select("w", "g", rules, TOUCHED))
    events = events_of(rows, np.zeros(1, np.int64), 1, rules.robots)
    last = int(events.until(on).last_day[0])
    result = behaviour(events.hits, np.array([last]), rules, on)
    hits = zip(
        [rules.behaviour[rule].name for rule in events.hits.rule],
        event_ids(events.hits.event).to_pylist(),
        events.hits.day.tolist(),
        events.hits.amount.tolist(),
        map(str, events.hits.key.tolist()),
        strict=True,
    )
    ledger = explain([Hit(*hit) for hit in hits], [] if last == NEVER else [last], rules, on)
    assert ledger.score == result.score[0]
    change = int(result.next_change_on[0])
    return int(result.score[0]), None if change == NEVER else EPOCH + timedelta(days=change)


@pytest.mark.parametrize("title", [t for t, text in examples().items() if "fit:" in text])
def test_fit_example(engine: Engine, title: str) -> None:
    example = yaml.safe_load(examples()[title])
    rules = rules_of(example)
    profile = dict(example["profile"])
    profile["trait_names"] = [*profile.get("traits", {}), *profile.pop("sensitive", [])]
    engine.insert("profiles", [profile_row(**profile)])
    select = when_select([rule.condition_sql() for rule in rules.identity], "kintsugi_store.profiles")
    results = np.array([row["results"] for row in engine.rows(select)], np.uint8)
    found = identity_points(results.reshape(1, -1), rules)
    assert found.score[0] / 1000 == example["fit"]
    assert sum(dict(found.points[0].as_py()).values()) == found.score[0]
    assert found.grade[0].as_py() == example.get("grade", "")


def test_every_example_is_run() -> None:
    titles = re.findall(r"^## (\d+)\.", README.read_text(), re.M)
    assert [int(number) for number in titles] == list(range(1, len(examples()) + 1))
    assert len(titles) >= 10
