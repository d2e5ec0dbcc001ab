"""Conditions at moments: each moment gets what its own row gives, however many moments share one row."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pipelines.moments import Held, Judge, Moments, held_of, scores
from scoring.compile import when_select
from scoring.conditions import profile_condition
from scoring.events import Activity, Events, Hits, Int64s
from scoring.ruleset import ScoringRules
from scoring.traits import Traits
from store.client import Store, StoreSettings, StoreUnavailable

CONDITIONS = (
    "traits['city'] = 'Suzhou' AND NOT has(trait_names, 'left')",
    "has(identifiers, 'phone') OR length(email_domains) > 1",
    "has(email_domains, 'd1.cn') AND event_count > 3",
    "behaviour_score >= 10 AND behaviour_score != 30",
    "first_channel != last_channel OR owner = ''",
    "1 = 1",
)


class Told(Judge):
    """Answers as a plain evaluation of the rows gives them."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, sql: str, rows: pa.Table, *columns: str) -> npt.NDArray[np.uint8]:
        self.rows += len(rows)
        wanted = [n for n, text in enumerate(CONDITIONS) if profile_condition(text, "stage").sql in sql]
        found = [[int(holds(n, row)) for n in wanted] for row in rows.to_pylist()]
        return np.array(found, np.uint8)


def holds(n: int, row: dict[str, Any]) -> bool:
    """The conditions, in Python."""
    if n == 0:
        return dict(row["traits"]).get("city", "") == "Suzhou" and "left" not in row["trait_names"]
    if n == 1:
        return "phone" in row["identifiers"] or len(row["email_domains"]) > 1
    if n == 2:
        return "d1.cn" in row["email_domains"] and row["event_count"] > 3
    if n == 3:
        return row["behaviour_score"] in (10_000, 20_000, 31_000)
    if n == 4:
        return bool(row["first_channel"] != row["last_channel"] or row["owner"] == "")
    return True


def observations(chance: random.Random, people: int) -> list[dict[str, Any]]:
    return [
        {
            "member": chance.randrange(people),
            "name": chance.choice(["city", "left", "$channel", "$owner"]),
            "event": chance.randbytes(16),
            "at": day * 86_400_000_000 + chance.randrange(1000),
            "day": day,
            "value": chance.choice(["Suzhou", "Wuhan"]),
            "is_sealed": 0,
            "is_unset": int(chance.random() < 0.2),
        }
        for _ in range(120)
        for day in [chance.randrange(100, 140)]
    ]


@pytest.mark.parametrize("domains", [5, 200])
def test_a_moment_gets_what_its_own_row_gives(domains: int) -> None:
    chance, people = random.Random(domains), 12
    told = observations(chance, people)
    columns = {name: [row[name] for row in told] for name in told[0]}
    rows = pa.table({**columns, "event": pa.array(columns["event"], pa.binary(16))})
    owner = np.arange(people)
    names = {
        "identifiers": [
            (who, chance.choice(["phone", "email"]), chance.randrange(100, 140)) for who in range(people)
        ],
        "email_domains": [
            (chance.randrange(people), f"d{n}.cn", chance.randrange(100, 140)) for n in range(domains)
        ],
    }
    held = {what: held_of(*columns_of(entries)) for what, entries in names.items()}
    days = sorted((chance.randrange(people), chance.randrange(100, 140)) for _ in range(60))
    active = sorted(set(days))
    events = events_on(active, people)
    profile, day = (
        np.array(part)
        for part in zip(
            *[(chance.randrange(people), chance.randrange(95, 145)) for _ in range(900)], strict=True
        )
    )
    behaviour = np.array([chance.choice([0, 9_999, 10_000, 20_000, 30_000, 31_000]) for _ in profile])
    conditions = [profile_condition(text, "stage") for text in CONDITIONS]
    store = Told()
    moments = Moments(
        profile, day, judge=store, rules=ScoringRules(), traits=Traits(rows, owner), seen=events.until(140),
        held={what: lambda of=of: of for what, of in held.items()},  # type: ignore[misc]
    )  # fmt: skip
    moments.give(behaviour_score=scores(behaviour, [10_000, 30_000]))
    found = moments.judged(conditions)
    expected = [
        [holds(n, row_of(told, names, active, int(who), int(on), int(score))) for n in range(len(CONDITIONS))]
        for who, on, score in zip(profile, day, behaviour, strict=True)
    ]
    assert found.tolist() == [[int(each) for each in row] for row in expected]
    assert all(0 < found[:, n].sum() < len(profile) for n in range(len(CONDITIONS) - 1))
    assert store.rows < len(profile)


def columns_of(entries: Sequence[tuple[int, str, int]]) -> tuple[Int64s, pa.StringArray, Int64s]:
    who, name, day = zip(*entries, strict=True)
    return np.array(who), pa.array(name), np.array(day)


def events_on(active: Sequence[tuple[int, int]], people: int) -> Events:
    """One event on each (profile, day)."""
    who, day = (np.array(part, np.int64) for part in zip(*active, strict=True))
    none = np.zeros(0, np.int64)
    hits = Hits(none, none, none, none, np.zeros((0, 2), np.uint64), none)
    ones = np.ones(len(who), np.int64)
    return Events(hits, Activity(who, day, 0 * ones, ones, day, day), [""], people)


def row_of(
    told: list[dict[str, Any]],
    names: dict[str, list[tuple[int, str, int]]],
    active: Sequence[tuple[int, int]],
    who: int,
    on: int,
    score: int,
) -> dict[str, Any]:
    """The row of one moment, looked up one by one."""
    said = sorted(
        (row for row in told if row["member"] == who and row["day"] <= on),
        key=lambda row: (row["at"], row["event"]),
    )
    now = {row["name"]: "" if row["is_unset"] else row["value"] for row in said}
    first = next((row["value"] for row in said if row["name"] == "$channel" and not row["is_unset"]), "")
    return {
        "traits": {name: value for name, value in now.items() if value and not name.startswith("$")},
        "trait_names": [name for name, value in now.items() if value and not name.startswith("$")],
        **{what: {name for w, name, since in of if w == who and since <= on} for what, of in names.items()},
        "event_count": sum(w == who and day <= on for w, day in active),
        "behaviour_score": score,
        "first_channel": first,
        "last_channel": now.get("$channel", ""),
        "owner": now.get("$owner", ""),
    }


def test_names_are_held_from_the_first_day_on() -> None:
    held = held_of(np.array([1, 0, 1, 1]), pa.array(["b", "a", "b", "a"]), np.array([7, 3, 5, 9]))
    assert held == Held(held.profile, held.name, held.since, ["a", "b"])
    rows = zip(held.profile.tolist(), held.name.tolist(), held.since.tolist(), strict=True)
    assert list(rows) == [(0, 0, 3), (1, 1, 5), (1, 0, 9)]


def test_a_judge_asks_again_only_about_what_it_has_not_seen(store: Store) -> None:
    """A LIKE with its % goes through, and what comes back is right in any order of the rows."""
    judge = Judge(store)
    conditions = [profile_condition(text, "stage") for text in ("owner LIKE '%a%'", "event_count > 2")]
    sql = when_select([each.sql for each in conditions], "cycle")

    def rows(owners: str, counts: Sequence[int]) -> pa.Table:
        return pa.table({"owner": list(owners), "event_count": pa.array(counts, pa.uint64())})

    assert judge(sql, rows("ab", [1, 3]), "results").tolist() == [[1, 0], [0, 1]]
    assert judge(sql, rows("bcab", [3, 3, 1, 3]), "results").tolist() == [[0, 1], [0, 1], [1, 0], [0, 1]]
    alone = Judge(Store(StoreSettings(url="http://127.0.0.1:9", patience=0.1)))
    alone._known = judge._known
    assert alone(sql, rows("cb", [3, 3]), "results").tolist() == [[0, 1], [0, 1]]
    with pytest.raises(StoreUnavailable):
        alone(sql, rows("d", [3]), "results")
