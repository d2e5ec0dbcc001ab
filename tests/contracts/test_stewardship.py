"""Stewards: what a preview says is what happens, what is withdrawn never was, and all of it is on record."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from api import stewardship
from kintsugi.digest import digest
from schemas.errors import Problem
from schemas.log_record import AnyRecord, Override, decode
from store.client import Store
from tests.contracts.people import DATE, People, crowd, outlines, track
from tests.worlds import lines

WORD = {"author": "li.na", "reason": "called the customer"}


@pytest.fixture
def people(store: Store, tmp_path: Path) -> Iterator[People]:
    made = People(store, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def calm(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A workspace for tests that change nothing in it."""
    made = People(store, tmp_path_factory.mktemp("calm"))
    yield made
    made.close()


def say(people: People, verb: str, a: str, b: str, **more: Any) -> dict[str, Any]:
    body = {"verb": verb, "a": {"identifier_id": a}, "b": {"identifier_id": b}, **WORD, **more}
    answer = people.steward.post("/v1/overrides", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def access_file(people: People) -> dict[str, Any]:
    return dict(json.loads((people.world.home / "keys" / "access.json").read_text()))


def withdraw(people: People, override_id: str) -> int:
    params = {"author": "wang", "reason": "it was the wrong call"}
    return people.steward.delete(f"/v1/overrides/{override_id}", params=params).status_code


def test_a_preview_changes_nothing_and_equals_what_then_happens(people: People) -> None:
    people.job.run(lines(people.world.events(crowd(1))))
    chance = random.Random(1)
    seen = people.store.query_rows(
        "SELECT identifier_id FROM kintsugi_store.identifiers WHERE workspace = {w:String}"
        " GROUP BY identifier_id ORDER BY 1", {"w": people.name}
    )  # fmt: skip
    changed = 0
    for _ in range(40):  # which are drawn follows the ids, which are keyed anew in every run
        if changed == 4:
            break
        (a,), (b,) = chance.sample(seen, 2)
        verb = chance.choice(["force", "force", "never"])
        if verb == "never":
            members = chance.choice([m for m in people.profiles().values() if len(m) > 1])
            a, b = chance.sample(sorted(members), 2)
        before = people.profiles()
        body = {"verb": verb, "a": {"identifier_id": a}, "b": {"identifier_id": b}, **WORD}
        answer = people.steward.post("/v1/overrides?preview=true", json=body)
        assert answer.status_code == 200
        assert people.follow() == []
        assert people.profiles() == before
        effect = answer.json()["effect"]
        say(people, verb, a, b)
        people.follow()
        after = people.profiles()
        gone = {p: m for p, m in before.items() if after.get(p) != m}
        new = {p: m for p, m in after.items() if before.get(p) != m}
        assert outlines(effect["before"]) == gone
        assert outlines(effect["after"]) == new
        changed += bool(new)
    assert changed == 4
    assert digest(people.store, people.name) == digest(people.store, people.name, DATE)


def test_withdrawing_restores_exactly_and_keeps_the_record(people: People) -> None:
    before = digest(people.store, people.name)
    a, b = people.id("user_id", "anna"), people.id("user_id", "bella")
    (said,) = say(people, "force", a, b)["overrides"]
    people.follow()
    assert people.profiles() != {}
    assert digest(people.store, people.name) != before
    assert withdraw(people, said["override_id"]) == 202
    people.follow()
    assert digest(people.store, people.name) == before
    (listed,) = people.steward.get("/v1/overrides", params={"identifier_id": a}).json()["overrides"]
    assert (listed["author"], listed["reason"], listed["verb"]) == (*WORD.values(), "force")
    assert (listed["state"], listed["ended_by"], listed["ended_reason"]) == (
        "withdrawn", "wang", "it was the wrong call"
    )  # fmt: skip
    key_ids = {key["id"] for key in access_file(people)["keys"] if "steward" in key["scopes"]}
    assert {listed["key_id"]} == {listed["ended_key_id"]} == key_ids, "on record, whatever name was given"
    assert withdraw(people, said["override_id"]) == 409
    assert withdraw(people, "0" * 32) == 404


def test_author_and_reason_travel_in_the_log(people: People) -> None:
    say(
        people,
        "never",
        people.id("user_id", "anna"),
        people.id("phone", "13900000001"),
        expires_on="2026-12-24",
    )
    records = [decode(line) for line in people.follow()]
    (record,) = [record for record in records if isinstance(record, Override)]
    assert (record.author, record.reason, record.expires_on) == (*WORD.values(), "2026-12-24")
    assert len(record.key_id) == 12
    rows = people.store.query_rows(
        "SELECT author, reason, state FROM kintsugi.overrides WHERE workspace = {w:String}",
        {"w": people.name},
    )
    assert rows == [(*WORD.values(), "in_force")]


def test_a_profile_is_split_between_groups_or_from_the_rest(people: People) -> None:
    anna, cookie = people.id("user_id", "anna"), people.id("anonymous_id", "cookie-a")
    (profile,) = [p for p, members in people.profiles().items() if anna in members]
    body = {"groups": [[{"namespace": "anonymous_id", "value": "cookie-a"}]], **WORD}
    path = f"/v1/profiles/{profile}/split"
    told = people.steward.post(path + "?preview=true", json=body).json()
    assert {anna, cookie} <= set().union(*outlines(told["effect"]["before"]).values())
    assert people.steward.post(path, json=body).status_code == 202
    people.follow()
    assert outlines(told["effect"]["after"]).items() <= people.profiles().items()
    (rest,) = [members for members in people.profiles().values() if anna in members]
    assert cookie not in rest
    other = people.id("user_id", "carl")
    wrong = {"groups": [[{"identifier_id": anna}], [{"identifier_id": other}]], **WORD}
    assert people.steward.post(path, json=wrong).json()["pointer"] == "/groups"
    empty = people.steward.post(path, json={"groups": [[]], **WORD}).json()
    assert (empty["pointer"], empty["detail"]) == ("/groups", "A group is empty.")


def test_a_candidate_of_the_queue_merges_with_one_call(people: People) -> None:
    queue = people.steward.get("/v1/review").json()
    (candidate,) = queue["refused"]
    assert (candidate["reason"], candidate["blockers"]) == ("limit", ["user_id: 1"])
    (shared,) = queue["shared"]
    assert shared["identifier"]["identifier_id"] == people.id("phone", "13900000009")
    assert shared["neighbour_count"] == 6
    path = f"/v1/profiles/{candidate['profile_a']}/merge"
    answer = people.steward.post(path, json={"other": candidate["profile_b"], **WORD})
    assert answer.status_code == 202
    assert len(answer.json()["overrides"]) <= 2
    people.follow()
    users = {people.id("user_id", "anna"), people.id("user_id", "bella")}
    assert [members for members in people.profiles().values() if users <= members]
    assert people.steward.get("/v1/review?kind=refused").json()["refused"] == []
    again = people.steward.post(path, json={"other": candidate["profile_b"], **WORD})
    assert again.status_code == 422


def test_what_a_never_link_forbids_is_not_merged(people: People) -> None:
    anna, bella = people.id("user_id", "anna"), people.id("user_id", "bella")
    say(people, "never", people.id("phone", "13900000001"), people.id("phone", "13900000002"))
    people.follow()
    answer = people.steward.post(f"/v1/profiles/{anna}/merge", json={"other": bella, **WORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "cannot_merge")
    (never,) = people.steward.get("/v1/overrides").json()["overrides"]
    assert withdraw(people, never["override_id"]) == 202
    people.follow()
    answer = people.steward.post(f"/v1/profiles/{anna}/merge", json={"other": bella, **WORD})
    assert answer.status_code == 202


def test_force_links_without_effect_say_why(calm: People) -> None:
    shop, carl = calm.id("phone", "13900000009"), calm.id("user_id", "carl")
    body = {"verb": "force", "a": {"identifier_id": shop}, "b": {"identifier_id": carl}, **WORD}
    (idle,) = calm.steward.post("/v1/overrides?preview=true", json=body).json()["effect"]["without_effect"]
    assert (idle["reason"], idle["blocker"]) == ("shared", shop)
    body["a"] = {"namespace": "phone", "value": "13912345678"}
    (idle,) = calm.steward.post("/v1/overrides?preview=true", json=body).json()["effect"]["without_effect"]
    assert idle["reason"] == "unknown"


def test_only_stewards_may_and_only_in_their_workspace(calm: People, people: People) -> None:
    anna, carl = calm.id("user_id", "anna"), calm.id("user_id", "carl")
    body = {"verb": "force", "a": {"identifier_id": anna}, "b": {"identifier_id": carl}, **WORD}
    assert calm.read.post("/v1/overrides", json=body).status_code == 403
    assert calm.read.get("/v1/review").status_code == 403
    answer = people.steward.post("/v1/overrides", json=body)
    assert (answer.status_code, answer.json()["pointer"]) == (404, "/a")
    for wrong in ({"author": ""}, {"expires_on": DATE}, {"verb": "none"}, {"b": {"identifier_id": anna}}):
        assert calm.steward.post("/v1/overrides", json=body | wrong).status_code == 422


def test_the_queue_shows_full_profiles_and_weak_bridges(people: People) -> None:
    links = [
        {"user_id": "gina", "phone": "13900000031"},
        {"user_id": "gina", "phone": "13900000032"},
        {"user_id": "gina", "email": "gina@bluebird.cn"},
        {"email": "gina@bluebird.cn", "wechat_openid:wx1": "g1"},
        {"email": "gina@bluebird.cn", "wechat_openid:wx1": "g2"},
    ]
    people.job.run(lines(people.world.events([track(3, ids) for ids in links])))
    gina = people.id("user_id", "gina")
    queue = people.steward.get("/v1/review").json()
    assert queue["near_limit"] == [{"profile_id": gina, "namespace": "phone", "held": 2, "most": 2}]
    (weak,) = queue["bridges"]
    assert (weak["profile_id"], weak["bridge"]["sizes"]) == (gina, [3, 3])
    step = weak["bridge"]["step"]
    assert {step["a"]["namespace"], step["b"]["namespace"]} == {"user_id", "email"}


def test_the_journal_names_cause_and_evidence_of_each_move(people: People) -> None:
    anna, bella = people.id("user_id", "anna"), people.id("user_id", "bella")
    say(people, "force", anna, bella)
    people.follow()
    people.job.run(
        lines(
            [
                people.world.opened(
                    "g2", people.world.rules("namespaces: [{name: email}]", "behaviour: {rules: []}")
                ),
                people.world.activated("g2"),
            ]
        )
    )
    rows = people.store.query_rows(
        "SELECT cause, change, evidence, ruleset FROM kintsugi.profile_merges WHERE workspace = {w:String}",
        {"w": people.name},
    )
    causes = {cause for cause, *_ in rows}
    assert causes == {"link", "override", "sharing", "generation"}
    assert {(change, tuple(evidence)) for cause, change, evidence, _ in rows if cause == "override"} == {
        ("merge", tuple(sorted((anna, bella))))
    }
    shop = people.id("phone", "13900000009")
    assert {tuple(evidence) for cause, _, evidence, _ in rows if cause == "sharing"} == {(shop,)}
    assert {ruleset for cause, _, _, ruleset in rows if cause == "generation"} == {"g2"}
    assert {ruleset for cause, _, _, ruleset in rows if cause != "generation"} == {"g1"}


class Mute:
    """A log that never confirms."""

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        return Future()


def test_a_log_that_does_not_confirm_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stewardship, "_APPEND_SECONDS", 0.01)
    with pytest.raises(Problem) as caught:
        asyncio.run(stewardship.append(Mute(), []))
    assert caught.value.code == "overloaded"
