"""Leads in and out: what people and the CRM say moves them, and every change can be followed, none is missed."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.keys import AccessKeys, create_key
from api.query import create_app
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord, Assertion, decode
from store.client import Store
from tests.contracts.people import Client
from tests.local_log import LocalLog
from tests.worlds import World, lines

DATE = "2026-11-20"
SCORING = """
behaviour: {rules: [{name: form, event: Form Submitted, points: 10, decay: {window: 5d}}]}
stages:
  outcomes: {won: customer}
  rules: [{name: mql, when: behaviour_score >= 20}]
"""
SEGMENTS = ("{name: hot, when: behaviour_score >= 10}",)
WORD = {"author": "li.na", "reason": "called her"}


class Leads:
    """A workspace with the query API on it, and a log whose records the job takes up at once."""

    def __init__(self, store: Store, home: Path, name: str) -> None:
        self.store, self.name = store, name
        self.world = World(home, name, scoring=SCORING, segments=SEGMENTS)
        self.job = LocalJob(store, home)
        self.log = LocalLog(self.job)
        app = create_app(store, AccessKeys(home), home, self.log)
        self.read, self.steward = (
            Client(app, create_key(home, name, scope)) for scope in ("read", "steward")
        )
        self.run(self.world.opened("g1"), self.world.activated("g1"), self.world.date(DATE))

    def run(self, *records: AnyRecord) -> None:
        self.job.run(lines(records))

    def form(self, who: str, number: int = 0, day: str = DATE) -> None:
        event = {
            "type": "track",
            "event": "Form Submitted",
            "userId": who,
            "messageId": f"{who}-{number}-{day}",
        }
        self.run(*self.world.events([{**event, "timestamp": f"{day}T02:00:00Z"}]))

    def say(self, what: str, value: str, who: str = "lin", **more: Any) -> Any:
        identifier = {"namespace": "user_id", "value": who}
        body = {"identifier": identifier, "what": what, "value": value, "on": DATE, **WORD, **more}
        return self.steward.post("/v1/assertions", json=body)

    def changes(self, after: str = "", **params: Any) -> dict[str, Any]:
        return dict(self.read.get("/v1/changes", params={"after": after, **params}).json())

    def record(self, who: str = "lin") -> dict[str, Any]:
        rows = self.store.query_arrow(
            "SELECT * FROM kintsugi.profiles WHERE workspace = {w:String} AND profile_id = {p:String}",
            {"w": self.name, "p": self.world.identifier("user_id", who)},
        ).to_pylist()
        return dict(rows[0])


@pytest.fixture
def leads(store: Store, tmp_path: Path) -> Leads:
    return Leads(store, tmp_path, f"leads-{uuid4().hex[:8]}")


def told(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((c["change"], c["name"], c["cause"]) for c in answer["changes"])


def test_what_people_say_moves_the_lead(leads: Leads) -> None:
    leads.form("lin")
    for what, value in (("status", "sal"), ("tag", "vip"), ("tag", "manual/care"), ("untag", "manual/vip")):
        assert leads.say(what, value).status_code == 202
    assert (leads.record()["stage"], leads.record()["tags"]) == ("sal", ["manual/care"])
    answer = leads.say("outcome", "won").json()
    assert leads.record()["stage"] == "customer"
    assert (answer["author"], answer["reason"], answer["identifier"]["namespace"]) == (
        *WORD.values(),
        "user_id",
    )
    rows = leads.store.query_rows(
        "SELECT outcome, author FROM kintsugi.outcomes WHERE workspace = {w:String}", {"w": leads.name}
    )
    assert rows == [("won", "li.na")]
    (record,) = [r for r in map(decode, leads.log.read()) if isinstance(r, Assertion) and r.what == "outcome"]
    assert (record.reason, len(record.key_id)) == (WORD["reason"], 12)


def test_saying_the_same_again_changes_nothing(leads: Leads) -> None:
    leads.form("lin")
    ids = {
        leads.say("outcome", "lost", said_at="2026-11-20T10:00:00+08:00").json()["assertion_id"]
        for _ in range(2)
    }
    other = leads.say("outcome", "lost", said_at="2026-11-20T11:00:00+08:00").json()["assertion_id"]
    assert len(ids) == 1
    assert other not in ids
    count = "SELECT count() FROM kintsugi.outcomes WHERE workspace = {w:String}"
    assert leads.store.query_rows(count, {"w": leads.name}) == [(2,)]


def test_a_word_holds_from_its_day_on(leads: Leads) -> None:
    leads.form("lin")
    answer = leads.say("status", "sal", on="2026-11-21").json()
    assert (answer["on"], leads.record()["stage"]) == ("2026-11-21", "raw")
    leads.run(leads.world.date("2026-11-21"))
    assert leads.record()["stage"] == "sal"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"what": "status", "value": "won"}, "unknown_stage", "they declare: raw, mql, sal, sql, customer, recycled"),
        ({"what": "tag", "value": "a/b/c/d"}, "bad_request", "at most 3 names"),
        ({"what": "outcome", "value": ""}, "bad_request", "1 to 200 characters"),
        ({"what": "mood", "value": "good"}, "bad_request", "'status', 'tag', 'untag' or 'outcome'"),
        ({"what": "tag", "value": "x", "identifier": {"namespace": "fax", "value": "1"}}, "unknown_namespace", ""),
        ({"what": "tag", "value": "x", "identifier": {"identifier_id": "0" * 32}}, "unknown_profile", ""),
        ({"what": "tag", "value": "x", "said_at": "1950-01-01T00:00:00Z"}, "ts_out_of_range", "1970"),
        ({"what": "tag", "value": "x", "reason": ""}, "bad_request", "at least 1 character"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_and_nothing_is_written(
    leads: Leads, body: dict[str, Any], code: str, said: str
) -> None:
    answer = leads.steward.post(
        "/v1/assertions", json={"identifier": {"namespace": "user_id", "value": "lin"}, **WORD, **body}
    )
    assert (answer.status_code // 100, answer.json()["code"]) == (4, code)
    assert said in answer.json()["detail"]
    assert list(leads.log.read()) == []


def test_only_stewards_may_say_and_readers_follow(leads: Leads) -> None:
    body = {"identifier": {"namespace": "user_id", "value": "lin"}, "what": "tag", "value": "vip", **WORD}
    assert leads.read.post("/v1/assertions", json=body).status_code == 403
    assert leads.read.get("/v1/changes").status_code == 200


def test_changes_are_followed_from_a_cursor_each_with_its_cause(leads: Leads) -> None:
    leads.form("lin")
    first = leads.changes()
    assert told(first) == [("enter", "hot", "event"), ("stage", "raw", "event")]
    assert leads.changes(first["next_cursor"]) == {"changes": [], "next_cursor": first["next_cursor"]}
    leads.form("lin", 1)
    leads.say("status", "sal")
    leads.run(leads.world.date("2026-11-26"))
    rest = leads.changes(first["next_cursor"])
    assert [(c["change"], c["name"], c["from_stage"], c["cause"]) for c in rest["changes"]] == [
        ("stage", "mql", "raw", "event"), ("stage", "sal", "mql", "assertion"), ("exit", "hot", "", "time"),
    ]  # fmt: skip
    pages: list[dict[str, Any]] = []
    after = ""
    while page := leads.changes(after, limit=2)["changes"]:
        pages, after = pages + page, page[-1]["cursor"]
    assert pages == first["changes"] + rest["changes"]
    assert len({c["change_id"] for c in pages}) == len(pages)
    assert told(leads.changes(change=["enter", "exit"])) == [
        ("enter", "hot", "event"),
        ("exit", "hot", "time"),
    ]
    assert leads.read.get("/v1/changes", params={"after": "soon"}).json()["code"] == "bad_request"


def test_a_change_that_is_told_again_has_the_same_id(leads: Leads) -> None:
    """Published, then the process dies before the row is written: what comes after it tells it again."""
    leads.form("lin")
    where = "FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String}"
    before = leads.store.query_arrow(f"SELECT * {where}", {"w": leads.name})
    leads.form("lin", 1)
    first = leads.changes()
    leads.store.execute(
        "ALTER TABLE kintsugi_store.profile_rows DELETE WHERE workspace = {w:String} SETTINGS mutations_sync = 2",
        {"w": leads.name},
    )
    leads.store.insert_arrow("kintsugi_store.profile_rows", before)
    leads.form("lin", 1)
    (again,) = leads.changes(first["next_cursor"])["changes"]
    assert (again["change"], again["name"]) == ("stage", "mql")
    assert again["change_id"] in {c["change_id"] for c in first["changes"]}


def test_other_rules_are_told_once_they_are_in_force(leads: Leads) -> None:
    leads.form("lin")
    after = leads.changes()["next_cursor"]
    other = leads.world.rules(
        "namespaces: [{name: user_id}]", SCORING, ["{name: cold, when: behaviour_score < 90}"]
    )
    leads.run(leads.world.opened("g2", other))
    assert leads.changes(after)["changes"] == []
    leads.run(leads.world.activated("g2"))
    assert told(leads.changes(after)) == [("enter", "cold", "rule"), ("exit", "hot", "rule")]
