"""The public views: what analysts read is the truth in force, each thing once, and nothing in the clear."""

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from scoring.decay import decayed_total
from store.client import Store
from tests.contracts.golden import AS_OF, GENERATION, WEIGHTS, Golden, day

VIEWS = {
    "profiles", "profile_identifiers", "profile_events", "profile_hits", "profile_merges", "score_ledger",
    "segment_members", "rejects", "conflicts", "events_without_subject", "refused_links", "generations",
    "overrides", "refused_merges", "profiles_near_limits", "shared_identifiers", "links_as_known", "sightings_as_known",
    "quality_results", "profile_changes", "stage_history", "conversion_by_score", "outcomes", "tag_statistics",
}  # fmt: skip


@pytest.fixture(scope="module")
def golden(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return Golden(store, tmp_path_factory.mktemp("home")).fill()


def rows(golden: Golden, view: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
    sql = f"SELECT {columns} FROM kintsugi.{view} WHERE workspace = {{w:String}} ORDER BY {order}"
    return golden.store.query_rows(sql, {"w": golden.workspace})


def test_every_view_and_each_of_its_columns_has_a_comment(store: Store) -> None:
    tables = dict(store.query_rows("SELECT name, comment FROM system.tables WHERE database = 'kintsugi'"))
    assert set(tables) == VIEWS
    assert all(tables.values())
    columns = store.query_rows("SELECT table, name, comment FROM system.columns WHERE database = 'kintsugi'")
    assert [column for column in columns if not column[2] or "sealed" in column[1]] == []


def test_profiles_shows_the_newest_record_of_the_generation_in_force_only(golden: Golden) -> None:
    found = rows(golden, "profiles", "profile_id, stage, ruleset, as_of, event_count")
    assert sorted(found) == sorted(
        [(golden.anna[0], "mql", GENERATION, AS_OF, 1), (golden.bob, "", GENERATION, AS_OF, 1)]
    )


def test_scores_are_points_and_half_lives_count_as_of_the_date_in_force(golden: Golden) -> None:
    columns = "behaviour_score, behaviour_points, identity_score, identity_points"
    sql = f"SELECT {columns} FROM kintsugi.profiles WHERE profile_id = {{p:String}}"
    (found,) = golden.store.query_rows(sql, {"p": golden.anna[0]})
    # price_page: 8 now and 8 a half-life ago; complaint: -1.001 * 2^(-1/3) towards zero, tomorrow's not yet
    behaviour = {"webinar": 20.0, "inactivity": -5.0, "price_page": 12.0, "complaint": -0.794}
    assert (found[0], dict(found[1])) == (26.206, behaviour)
    assert (found[2], dict(found[3])) == (15.0, {"target_city": 15.0})


def test_identifiers_are_masked_and_by_namespace(golden: Golden) -> None:
    masked = dict(dict(rows(golden, "profiles", "profile_id, identifiers"))[golden.anna[0]])
    assert masked == {"phone": ["138****8001"], "email": ["a***@example.com"], "wechat_openid": ["****0001"]}


def test_sensitive_traits_are_not_in_the_view(golden: Golden) -> None:
    assert dict(rows(golden, "profiles", "profile_id, traits"))[golden.anna[0]] == [("city", "Shanghai")]


def test_an_event_counts_once_for_the_profile_of_its_subject(golden: Golden) -> None:
    found = rows(golden, "profile_events", "event_id, profile_id, subject, received_at")
    assert [row[:3] for row in found] == [
        ("e1", golden.anna[0], golden.anna[0]),
        ("e2", golden.bob, golden.bob),  # the shop's phone is stronger and shared
    ]
    assert found[0][3] == rows(golden, "generations", "opened_at")[0][0]  # the first copy's
    hits = rows(golden, "profile_hits", "event_id, profile_id, rule, raw_points")
    assert hits == [("e1", golden.anna[0], "order", 5.0), ("e2", golden.bob, "order", 5.0)]


def test_events_of_nobody_are_shown(golden: Golden) -> None:
    assert rows(golden, "events_without_subject", "event_id") == [("e3",), ("e4",)]


def test_every_identifier_is_shown_with_its_profile_and_state(golden: Golden) -> None:
    columns = "identifier_id, profile_id, state, namespace, scope, mask, first_day, last_day"
    found = {row[0]: row[1:] for row in rows(golden, "profile_identifiers", columns)}
    days = (date(2026, 3, 1), date(2026, 11, 2))
    phone, email, openid = golden.anna
    assert found == {
        phone: (phone, "member", "phone", "", "138****8001", *days),
        email: (phone, "member", "email", "", "a***@example.com", *days),
        openid: (phone, "member", "wechat_openid", "wx1", "****0001", *days),
        golden.bob: (golden.bob, "member", "anonymous_id", "", "****-bob", *days),
        golden.shop: (golden.shop, "shared", "phone", "", "139****9000", *days),
        golden.blocked: (golden.blocked, "blocked", "phone", "", "138****8000", *days),
    }


def test_the_ledger_adds_up_to_the_scores_and_says_what_half_lives_are_made_of(golden: Golden) -> None:
    sums = "round(sumIf(points, score = 'behaviour'), 3), round(sumIf(points, score = 'identity'), 3)"
    sql = f"SELECT profile_id, {sums} FROM kintsugi.score_ledger WHERE workspace = {{w:String}} GROUP BY 1"
    ledger = {row[0]: row[1:] for row in golden.store.query_rows(sql, {"w": golden.workspace})}
    assert ledger == {golden.anna[0]: (26.206, 15.0)}
    parts = dict(rows(golden, "score_ledger", "rule, parts"))
    assert parts["webinar"] == []
    assert [(p["day"], p["raw_points"], p["weight"]) for p in parts["price_page"]] == [
        (AS_OF, 8.0, 1.0),
        (date(2026, 11, 7), 8.0, 0.5),
    ]


def test_the_rest_shows_each_fact_once(golden: Golden) -> None:
    phone, email, openid = golden.anna
    assert rows(golden, "segment_members", "segment, profile_id") == [
        ("mql-shanghai", phone),
        ("webinar", phone),
    ]
    moved = rows(golden, "profile_merges", "identifier_id, from_profile, to_profile, cause")
    assert moved == [(email, email, phone, "link")]
    pair = tuple(sorted((openid, golden.bob)))
    assert rows(golden, "refused_links", "a, b, reason, blocker") == [(*pair, "limit", "user_id: 1")]
    assert rows(golden, "rejects", "reject_id, code, pointer") == [("r1", "wrong_type", "/event")]
    assert rows(golden, "conflicts", "message_id, event_ids, sources") == [("m1", ["e1", "e2"], ["web"])]
    assert rows(golden, "generations", "generation, is_in_force, as_of") == [(GENERATION, 1, AS_OF)]


def test_on_a_new_day_every_score_is_exact_without_rewriting_a_row(store: Store, tmp_path: Path) -> None:
    """Random parts and dates, beside a workspace whose rule of the same name has other weights."""
    other = Golden(store, tmp_path)
    other.insert("generations", {"ruleset": "{}", "weights": [("price_page", [1, 2, 3])]})
    other.in_force(date(2020, 1, 1))
    mine = Golden(store, tmp_path)
    mine.insert("generations", {"ruleset": "{}", "weights": [(r, list(w)) for r, w in WEIGHTS.items()]})
    seeded = random.Random(7)
    made: dict[str, list[tuple[str, date, int]]] = {}
    for n in range(60):
        made[f"{n:032x}"] = [
            (rule, AS_OF - timedelta(seeded.randrange(-20, 600)), seeded.randrange(-(10**9), 10**9))
            for rule in seeded.choices(["price_page", "complaint", "forgotten"], k=seeded.randrange(6))
        ]
    assert sum(map(len, made.values())) > 60
    mine.insert(
        "profile_rows",
        *(
            {
                "profile_id": p,
                "members": [p],
                "decaying": [{"rule": r, "day": d, "amount": a} for r, d, a in parts],
            }
            for p, parts in made.items()
        ),
    )
    for version, on in enumerate([AS_OF, AS_OF + timedelta(1), AS_OF + timedelta(400)]):
        mine.in_force(on, version=version + 1)
        expected = {p: sum(_points(parts, on).values()) / 1000 for p, parts in made.items()}
        assert dict(rows(mine, "profiles", "profile_id, behaviour_score")) == expected
        assert set(rows(mine, "profiles", "as_of")) == {(on,)}


def _points(parts: list[tuple[str, date, int]], on: date) -> dict[str, int]:
    """Thousandths by rule, in plain integers."""
    return {
        rule: decayed_total(
            [(a, day(on) - day(d)) for r, d, a in parts if r == rule and d <= on], WEIGHTS.get(rule, ())
        )
        for rule, _, _ in parts
    }


def test_a_point_lookup_in_the_view_uses_the_primary_key(golden: Golden) -> None:
    sql = "EXPLAIN indexes = 1 SELECT behaviour_score, identifiers FROM kintsugi.profiles WHERE "
    plan = "\n".join(
        row[0]
        for row in golden.store.query_rows(
            f"{sql} workspace = {{w:String}} AND profile_id = {{p:String}}",
            {"w": golden.workspace, "p": golden.bob},
        )
    )
    reads = plan.split("ReadFromMergeTree (kintsugi_store.profile_rows)")[1:]
    assert len(reads) == 1
    for read in reads:
        condition = next(line for line in read.splitlines() if "Condition:" in line)
        assert "profile_id in" in condition
        assert "workspace" in condition
        assert "generation" in condition
