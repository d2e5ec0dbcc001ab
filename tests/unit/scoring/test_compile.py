"""Compiled statements: rule hits, usable identifiers, conditions over profiles."""

from typing import Any

import pytest

from scoring.compile import hits_select, usable_sql, when_select
from scoring.ruleset import ScoringRules, parse_scoring
from tests.unit.scoring.engine import Engine, Identity, Namespace, event_row

RULES = parse_scoring("""
behaviour:
  rules:
    - {name: price, event: Page Viewed, where: "properties['url'] LIKE '%/pricing%'", points: 8}
    - {name: visit, event: Page Viewed, points: 0.5}
    - {name: gone, event: "O'Gone\\\\", points: -15}
""")
EVENTS = "kintsugi_store.events"


def hits(
    engine: Engine, rules: ScoringRules, identity: Identity, source: str = EVENTS
) -> list[tuple[Any, ...]]:
    """(identifier, event, [(rule, points)]) of each row."""
    rows = engine.rows(hits_select("g", rules, identity, source))
    return sorted(
        (row["identifier_id"], row["event_id"], list(zip(row["rules"], row["amounts"], strict=True)))
        for row in rows
    )


def test_columns_are_those_of_the_table(engine: Engine) -> None:
    select = hits_select("g", RULES, Identity(), EVENTS)
    columns = [row["name"] for row in engine.rows(f"DESCRIBE ({select})")]
    table = [row["name"] for row in engine.rows("DESCRIBE kintsugi_store.event_hits")]
    assert columns == table


def test_one_row_for_each_usable_identifier_and_event(engine: Engine) -> None:
    engine.insert(
        "events",
        [
            event_row(
                "e1",
                "2026-03-01",
                "Page Viewed",
                properties={"url": "/pricing"},
                seen={"a": "phone", "b": "x"},
            ),
            event_row("e2", "2026-03-01", "O'Gone\\", seen={"c": "phone"}),
            event_row("e3", "2026-03-01", "Page Viewed", is_robot=1),
            event_row("e4", "2026-03-01", "Other", seen={}),
        ],
    )
    assert hits(engine, RULES, Identity()) == [
        ("a", "e1", [("price", 8000), ("visit", 500)]), ("b", "e1", [("price", 8000), ("visit", 500)]),
        ("c", "e2", [("gone", -15000)]),
    ]  # fmt: skip


def test_without_rules_there_is_activity(engine: Engine) -> None:
    engine.insert("events", [event_row("e1", "2026-03-01", "X")])
    assert hits(engine, ScoringRules(), Identity()) == [("u1", "e1", [])]


def test_a_batch_and_stored_history_give_the_same_rows(engine: Engine) -> None:
    events = [
        event_row(f"e{i}", "2026-03-01", "Page Viewed", properties={"url": "/pricing"}) for i in range(5)
    ]
    engine.insert("events", events)
    batch = f"(SELECT * FROM {EVENTS} WHERE event_id IN ('e1', 'e2'))"
    whole, part = hits(engine, RULES, Identity()), hits(engine, RULES, Identity(), batch)
    assert part == [row for row in whole if row[1] in ("e1", "e2")]


USABLE = [
    ({"a": "phone", "b": "user_id"}, Identity(), ["b", "a"]),
    ({"a": "phone", "b": "phone"}, Identity(), ["a", "b"]),
    ({"a": "unlisted", "b": "anonymous_id", "c": "else"}, Identity(), ["b", "a", "c"]),
    ({"a": "phone|zeros", "b": "user_id"}, Identity(blocked_patterns=frozenset({"zeros"})), ["b"]),
    ({"a": "phone|tests,zeros"}, Identity(blocked_patterns=frozenset({"zeros", "other"})), []),
    ({"a": "phone|tests"}, Identity(blocked_patterns=frozenset({"test"})), ["a"]),
    ({"a": "phone", "b": "user_id"}, Identity(blocked_ids=frozenset({"b", "z"})), ["a"]),
    ({"a": "phone|zeros", "b": "user_id"}, Identity(blocked_ids=frozenset({"b"})), ["a"]),
    ({"b": "user_id", "a": "phone"}, Identity(namespaces=()), ["a", "b"]),
    ({"b": "user_id", "a": "phone"}, Identity(namespaces=(Namespace("it's"),)), ["a", "b"]),
    ({}, Identity(blocked_ids=frozenset({"b"})), []),
]


@pytest.mark.parametrize(("seen", "identity", "usable"), USABLE)
def test_usable_identifiers_strongest_first(
    engine: Engine, seen: dict[str, str], identity: Identity, usable: list[str]
) -> None:
    engine.insert("events", [event_row("e1", "2026-03-01", "X", seen=seen)])
    (row,) = engine.rows(f"SELECT {usable_sql(identity)} AS usable FROM {EVENTS}")
    assert row["usable"] == usable


def test_no_conditions_give_no_results(engine: Engine) -> None:
    rows = engine.rows(when_select([], "(SELECT 'p' AS profile_id)"))
    assert rows == [{"profile_id": "p", "results": []}]
