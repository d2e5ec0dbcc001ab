"""Explanations: made of the evidence that decided, each reason told, and days of the past as they were known."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kintsugi.explain import Explanations
from kintsugi.picture import svg
from kintsugi.settings import Settings
from schemas.errors import Problem
from store.client import Store
from tests.contracts.people import BLOCKED, DATE, People, crowd, track
from tests.worlds import RECEIVED_AT, lines

WORD = {"author": "li.na", "reason": "called the customer"}


@pytest.fixture(scope="module")
def people(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """Read by every test here; what a test adds concerns nobody else."""
    made = People(store, tmp_path_factory.mktemp("people"))
    yield made
    made.close()


def ref(namespace: str, value: str) -> dict[str, str]:
    name, _, scope = namespace.partition(":")
    return {"namespace": name, "scope": scope, "value": value}


def why_not(people: People, a: dict[str, str], b: dict[str, str]) -> dict[str, Any]:
    answer = people.read.post("/v1/explain/why-not", json={"a": a, "b": b})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_why_is_the_shortest_path_of_accepted_links_with_days_event_and_source(people: People) -> None:
    body = {"a": ref("phone", "139 0000 0001"), "b": ref("wechat_openid:wx2", "oAnna")}
    answer = people.read.post("/v1/explain/why", json=body).json()
    assert answer["are_one"]
    assert answer["profile_id"] == people.id("user_id", "anna")
    steps = answer["steps"]
    ids = [steps[0]["a"]["identifier_id"], *(step["b"]["identifier_id"] for step in steps)]
    assert ids == [
        people.id("phone", "13900000001"),
        people.id("user_id", "anna"),
        people.id("email", "both@bluebird.cn"),
        people.id("wechat_openid:wx2", "oAnna"),
    ]
    sql = "SELECT a, b FROM {} WHERE workspace = {{w:String}}"
    stored, refused = (
        set(people.store.query_rows(sql.format(table), {"w": people.name}))
        for table in ("kintsugi_store.links", "kintsugi.refused_links")
    )
    assert {(min(pair), max(pair)) for pair in pairwise(ids)} <= stored - refused
    assert "13900000001" not in str(answer)
    back = people.read.post("/v1/explain/why", json={"a": body["b"], "b": body["a"]}).json()
    assert len(back["steps"]) == len(steps)


def test_a_step_tells_its_days_an_event_and_its_source(people: People) -> None:
    body = {"a": ref("user_id", "anna"), "b": ref("anonymous_id", "cookie-a")}
    (visits,) = people.read.post("/v1/explain/why", json=body).json()["steps"]
    assert (visits["first_day"], visits["last_day"]) == ("2026-11-02", "2026-11-09")
    assert (visits["event"]["event"], visits["event"]["source"]) == ("Page Viewed", "test")
    assert visits["event"]["occurred_at"].startswith("2026-11-02T03:00:00")


def test_why_not_names_each_reason(people: People) -> None:
    anna, bella, carl = (ref("user_id", name) for name in ("anna", "bella", "carl"))
    (limit,) = why_not(people, anna, bella)["obstacles"]
    assert (limit["reason"], limit["blocker"]) == ("limit", "user_id: 1")
    assert limit["step"]["first_day"] == "2026-11-06"
    assert limit["step"]["event"]["event"] == "Form Submitted"
    (shared,) = why_not(people, ref("wechat_openid:wx1", "o1"), ref("wechat_openid:wx1", "o2"))["obstacles"]
    assert (shared["reason"], shared["identifier"]["value"]) == ("shared", "139****0009")
    obstacles = why_not(people, ref("phone", BLOCKED), bella)["obstacles"]
    assert [o["reason"] for o in obstacles] == ["blocked"]
    assert [o["reason"] for o in why_not(people, anna, carl)["obstacles"]] == ["no_evidence"]
    (unknown,) = why_not(people, anna, ref("phone", "13955555555"))["obstacles"]
    assert unknown["reason"] == "unknown"
    assert why_not(people, anna, ref("phone", "13900000001")) | {"ruleset": "", "as_of": ""} == {
        "are_one": True, "obstacles": [], "ruleset": "", "as_of": ""
    }  # fmt: skip


def test_why_not_names_the_steward_and_why_names_the_force(people: People) -> None:
    events = [track(3, {"user_id": "dora", "phone": "13900000003"}), track(3, {"user_id": "emil"})]
    people.job.run(lines(people.world.events(events)))
    dora, phone, emil = (
        people.id("user_id", "dora"), people.id("phone", "13900000003"), people.id("user_id", "emil")
    )  # fmt: skip
    for verb, a, b in (("never", dora, phone), ("force", dora, emil)):
        body = {"verb": verb, "a": {"identifier_id": a}, "b": {"identifier_id": b}, **WORD}
        assert people.steward.post("/v1/overrides", json=body).status_code == 202
    people.follow()
    (never,) = why_not(people, {"identifier_id": dora}, {"identifier_id": phone})["obstacles"]
    assert never["reason"] == "never_link"
    assert (never["override"]["author"], never["override"]["reason"]) == tuple(WORD.values())
    body = {"a": {"identifier_id": dora}, "b": {"identifier_id": emil}}
    (step,) = people.read.post("/v1/explain/why", json=body).json()["steps"]
    assert step["is_forced"]
    assert (step["event"], step["override"]["reason"]) == (None, WORD["reason"])


def test_how_bridges_and_graph_show_the_same_profile(people: People) -> None:
    anna = people.id("user_id", "anna")
    asked = {"params": {"profile": people.id("email", "both@bluebird.cn")}}
    how = people.read.get("/v1/explain/how", **asked).json()
    assert how["profile_id"] == anna
    assert [step["first_day"] for step in how["steps"]] == ["2026-11-01", "2026-11-02", *2 * ["2026-11-03"]]
    bridges = people.read.get("/v1/explain/bridges", **asked).json()["bridges"]
    assert sorted(tuple(sorted(bridge["sizes"])) for bridge in bridges) == [(1, 4), (1, 4), (1, 4), (2, 3)]
    middle = bridges[0]["step"]
    assert {middle[end]["identifier_id"] for end in "ab"} == {anna, people.id("email", "both@bluebird.cn")}
    graph = people.read.get("/v1/explain/graph", **asked).json()
    assert {node["identifier_id"] for node in graph["nodes"]} == people.profiles()[anna]
    assert [node["identifier_id"] for node in graph["nodes"] if node["is_founding"]] == [anna]
    assert len(graph["links"]) == 4
    unknown = people.read.get("/v1/explain/how", params={"profile": "0" * 32})
    assert unknown.status_code == 404


def test_a_shared_founding_identifier_says_where_its_events_went(people: People) -> None:
    shop = people.id("phone", "13900000009")
    answer = people.read.get(f"/v1/profiles/{shop}")
    assert answer.status_code == 300
    told = answer.json()
    assert (told["state"], told["profile_count"]) == ("shared", 6)
    assert {p["profile_id"] for p in told["profiles"]} == {
        people.id("wechat_openid:wx1", f"o{n}") for n in range(6)
    }
    assert {p["event_count"] for p in told["profiles"]} == {1}


def test_who_it_was_is_told_by_what_was_known_then(people: People) -> None:
    def known(identifier: str, on: str) -> dict[str, Any]:
        answer = people.read.get(f"/v1/profiles/{identifier}/as-known", params={"on": on})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    shop, openid = people.id("phone", "13900000009"), people.id("wechat_openid:wx1", "o1")
    bella = people.id("user_id", "bella")
    assert known(shop, "2026-11-09")["state"] == "unknown"
    then = known(shop, "2026-11-12")
    assert then["state"] == "member"
    assert {i["identifier_id"] for i in then["identifiers"]} == {
        shop, *(people.id("wechat_openid:wx1", f"o{n}") for n in range(3))
    }  # fmt: skip
    assert known(shop, "2026-11-18")["state"] == "shared"
    assert known(openid, "2026-11-18")["profile_id"] == openid
    assert known(bella, "2026-11-12")["state"] == "unknown"
    late = people.read.get(f"/v1/profiles/{bella}/as-known", params={"on": "2026-12-01"})
    assert late.status_code == 422
    never = people.read.get(f"/v1/profiles/{bella}/as-known", params={"on": "9999-12-31"})
    assert never.status_code == 422
    sql = (
        "SELECT uniqExact(a, b) FROM kintsugi.links_as_known(tenant = {w:String}, known_before = {k:String})"
    )
    (at_first,), (later,) = (
        people.store.query_rows(sql, {"w": people.name, "k": f"2026-11-{day} 16:00:00"})[0]
        for day in (12, 18)
    )
    assert (at_first, later) == (7, 15)


def test_a_crowd_as_known_today_is_the_stored_assignment(store: Store, tmp_path: Path) -> None:
    crowded = People(store, tmp_path)
    try:
        events = crowd(5, 100)
        crowded.job.run(lines(crowded.world.events(events, received_at=RECEIVED_AT - 3 * 86_400_000_000)))
        profiles = crowded.profiles()
        for profile, members in sorted(profiles.items())[:8]:
            path = f"/v1/profiles/{min(members)}/as-known"
            answer = crowded.read.get(path, params={"on": DATE}).json()
            assert answer["profile_id"] == profile
            assert {i["identifier_id"] for i in answer["identifiers"]} == members
    finally:
        crowded.close()


@pytest.fixture(scope="module")
def told(people: People) -> Explanations:
    """The same on the command line."""
    return Explanations(Settings.load({"KINTSUGI_HOME": str(people.world.home)}), people.store, people.name)


def test_the_command_line_says_the_same_in_lines(people: People, told: Explanations) -> None:
    anna = people.id("user_id", "anna")
    profile, first, *_ = told.why("phone:139 0000 0001", "wechat_openid:wx2:oAnna")
    assert profile.startswith(f"profile {anna}")
    assert first.startswith("phone 139****0001 — user_id")
    assert "2026-11-01  Form Submitted from test" in first
    assert told.why_not("user_id:anna", "user_id:bella")[0].startswith(
        "limit user_id: 1  email b***@bluebird.cn"
    )
    assert told.why_not("user_id:anna", "phone:13900000001") == [
        "They are one person; `kintsugi why` says why."
    ]
    assert len(told.how(anna)) == 5
    assert told.bridges(anna)[1].split()[:3] in (["2", "|", "3"], ["3", "|", "2"])
    assert told.as_known("phone:13900000009", date(2026, 11, 12))[0].startswith("member on 2026-11-12")
    for wrong, code in (
        ("nobody", "bad_request"), ("crm:1", "unknown_namespace"), ("wechat_openid:oAnna", "missing_scope"),
        ("0" * 32, "unknown_profile"), ("phone:12", "bad_request"),
    ):  # fmt: skip
        with pytest.raises(Problem) as refused:
            told.identifier(wrong)
        assert refused.value.code == code


def test_the_picture_shows_every_identifier_by_its_mask(people: People, told: Explanations) -> None:
    graph = told.explainer.graph(people.id("user_id", "anna"))
    picture = svg(graph)
    assert picture == svg(graph)
    root = ElementTree.fromstring(picture)
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {node.value for node in graph.nodes} | {"phone", "email"} <= texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}line"))) == len(graph.links)
    assert "13900000001" not in picture
