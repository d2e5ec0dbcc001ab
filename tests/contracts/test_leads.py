"""Leads in and out: what people and the CRM say moves them, and every change can be followed, none is missed."""

import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

from api.keys import AccessKeys, create_key
from api.query import create_app
from kintsugi import outcomes
from kintsugi.handover import FileTarget, Target, hand_over
from kintsugi.handover_kafka import KafkaTarget
from kintsugi.settings import Settings
from pipelines.local_job import LocalJob
from schemas.errors import Problem
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
        self.store, self.name, self.home = store, name, home
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


@pytest.fixture(scope="module")
def calm(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Leads:
    """For tests that change nothing."""
    return Leads(store, tmp_path_factory.mktemp("calm"), f"calm-{uuid4().hex[:8]}")


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
        ({"what": "tag", "value": "x", "said_at": "2098-01-01T00:00:00Z"}, "ts_out_of_range", "now"),
        ({"what": "tag", "value": "x", "on": "9999-12-31"}, "ts_out_of_range", "2099"),
        ({"what": "tag", "value": "x", "on": "0001-01-01"}, "ts_out_of_range", "1970"),
        ({"what": "tag", "value": "x", "reason": ""}, "bad_request", "at least 1 character"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_and_nothing_is_written(
    calm: Leads, body: dict[str, Any], code: str, said: str
) -> None:
    answer = calm.steward.post(
        "/v1/assertions", json={"identifier": {"namespace": "user_id", "value": "lin"}, **WORD, **body}
    )
    assert (answer.status_code // 100, answer.json()["code"]) == (4, code)
    assert said in answer.json()["detail"]
    assert list(calm.log.read()) == []


def test_only_stewards_may_say_and_readers_follow(calm: Leads) -> None:
    body = {"identifier": {"namespace": "user_id", "value": "lin"}, "what": "tag", "value": "vip", **WORD}
    assert calm.read.post("/v1/assertions", json=body).status_code == 403
    assert calm.read.get("/v1/changes").status_code == 200


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


def test_what_is_published_together_is_there_at_once(leads: Leads) -> None:
    """Else a follower whose cursor is in the middle of it would never see the rest."""
    leads.form("lin")
    leads.form("bo")
    leads.run(
        leads.world.override("force", *(leads.world.identifier("user_id", who) for who in ("lin", "bo")))
    )
    rows = leads.store.query_rows(
        "SELECT version, groupUniqArray(changed_at) AS times, countIf(cause = 'merge')"
        " FROM kintsugi_store.profile_changes WHERE workspace = {w:String} GROUP BY version ORDER BY version",
        {"w": leads.name},
    )
    assert rows[-1][2] == 2, "the tombstone leaves its segment, the profile enters a stage"
    assert [times for _, times, _ in rows if len(times) > 1] == []


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


# outcomes of a file ------------------------------------------------------------------------------------------------

CSV = """namespace,scope,value,outcome,status,at,deal
user_id,,lin,won,,2026-11-19,A-1
user_id,,bo,,sal,2026-11-19T10:00:00+08:00,A-2
user_id,,bo,lost,disqualified,2026-11-20 09:30,"A-3, last"
"""


def take(leads: Leads, text: str | bytes) -> tuple[outcomes.Taken, str]:
    """What became of a file, and its rejects."""
    source, rejects = leads.home / "crm.csv", leads.home / "crm.rejects.csv"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    settings = replace(Settings.load({}), home=leads.home)
    taken = outcomes.into_log(settings, leads.store, leads.log, leads.name, source, rejects)
    return taken, rejects.read_text() if rejects.exists() else ""


def test_outcomes_of_a_file_move_stages_and_a_second_time_changes_nothing(leads: Leads) -> None:
    leads.form("lin")
    leads.form("bo")
    taken, rejects = take(leads, CSV)
    assert (taken.said, taken.rejected, rejects) == (3, 0, "")
    assert (leads.record("lin")["stage"], leads.record("bo")["stage"]) == ("customer", "disqualified")
    rows = (
        "SELECT outcome, toString(day), author FROM kintsugi.outcomes WHERE workspace = {w:String} ORDER BY 1"
    )
    before = leads.store.query_rows(rows, {"w": leads.name})
    assert before == [("lost", "2026-11-20", "outcomes"), ("won", "2026-11-19", "outcomes")]
    after = leads.changes()["next_cursor"]
    assert take(leads, "\ufeff" + CSV)[0].said == 3
    assert leads.store.query_rows(rows, {"w": leads.name}) == before
    assert leads.changes(after)["changes"] == []


def test_a_row_that_cannot_be_said_is_kept_with_its_number_and_the_reason(leads: Leads) -> None:
    bad = [
        (
            "fax,,1,won,,2026-11-19,x",
            "namespace: An identifier names a namespace that the workspace does not declare.",
        ),
        (
            "wechat_openid,,o1,won,,2026-11-19,x",
            "scope: The namespace is scoped and the identifier gives no scope.",
        ),
        ("phone,,soon,won,,2026-11-19,x", "value: This can be no phone."),
        (
            "user_id,,lin,,nowhere,2026-11-19,x",
            "status: The rules have no stage nowhere; they declare: raw, mql, sal",
        ),
        ("user_id,,lin,,,2026-11-19,x", "The row says nothing: fill status or outcome."),
        ("user_id,,lin,won,,yesterday,x", "at: 'yesterday' is no time as 2026-03-06"),
        ("user_id,,lin,won,,1950-01-01,x", "at: It was said between 1970 and now."),
        ("user_id,,lin,won,,2026-11-19,x,y", "The row has more fields than the header. (beyond: y)"),
        ("user_id", "value: "),
    ]
    head, *good = CSV.splitlines()
    taken, rejects = take(leads, "\n".join([head, *(row for row, _ in bad), *good]))
    assert (taken.said, taken.rejected) == (3, len(bad))
    assert taken.first_reject.startswith("row 2: namespace: An identifier")
    lines = rejects.splitlines()
    assert lines[0] == head + ",row,error"
    for number, (line, (row, reason)) in enumerate(zip(lines[1:], bad, strict=True), 2):
        kept = row.removesuffix(",y")
        assert line.startswith(kept), line
        assert f",{number}," in line, line
        assert reason.replace('"', '""') in line, line
    repaired = rejects.replace("yesterday", "2026-11-19")
    assert take(leads, repaired)[0].said == 2, (
        "the one that was repaired, and the one without its field too many"
    )
    assert (leads.home / "crm.rejects.csv").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"phone,won\n1,2\n", "no column namespace, value, at"),
        (b"namespace,value,at\n1,2,3\n", "no column status or outcome"),
        ("namespace,value,at,outcome\nuser_id,林,2026-11-19,赢单\n".encode("gbk"), "not UTF-8"),
        (b"", "no column"),
    ],
)
def test_a_file_that_is_no_table_is_refused(calm: Leads, text: bytes, said: str) -> None:
    with pytest.raises(Problem, match=said):
        take(calm, text)


# hand-over ---------------------------------------------------------------------------------------------------------


def hand(leads: Leads, target: Target, after: str = "") -> int:
    """Hand over what there is."""
    with closing(target):
        count = 0
        for size in hand_over(leads.store, leads.name, target, after):
            count += size
            if not size:
                break
    return count


def test_a_file_holds_every_change_once_whatever_a_writer_that_died_left(leads: Leads) -> None:
    path = leads.home / "crm" / "changes.ndjson"
    leads.form("lin")
    assert hand(leads, FileTarget(path, leads.name)) == 2
    leads.form("bo")
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole[:40])
    assert hand(leads, FileTarget(path, leads.name)) == 2
    assert hand(leads, FileTarget(path, leads.name)) == 0
    told = [json.loads(line) for line in path.read_text().splitlines()]
    workspace = {"workspace": leads.name}
    assert told == [workspace | change for change in leads.changes()["changes"]]


def test_one_process_at_a_time_hands_over_to_a_file(calm: Leads) -> None:
    path = calm.home / "changes.ndjson"
    with closing(FileTarget(path, calm.name)), pytest.raises(Problem, match="Another process"):
        FileTarget(path, calm.name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"workspace":"other","cursor":"00"}\n', "holds the changes of workspace other"),
        ("a remark\n", "no change that was handed over"),
        ("no line at all", "not handed over"),
        ('{"workspace":"?","cursor":"00"}\nand then', "not handed over"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(calm: Leads, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text.replace("?", calm.name))
    before = path.read_bytes()
    with pytest.raises(Problem, match=said):
        FileTarget(path, calm.name)
    assert path.read_bytes() == before


class Dying(FileTarget):
    """A target whose process dies in the middle of writing."""

    def write(self, changes: Sequence[tuple[str, bytes]]) -> None:
        os.write(self._descriptor, changes[0][1] + b"\n" + changes[1][1][:9])
        raise OSError("no space left")


def test_what_was_half_written_is_told_again_from_there(leads: Leads) -> None:
    path = leads.home / "changes.ndjson"
    leads.form("lin")
    with pytest.raises(OSError, match="no space"):
        hand(leads, Dying(path, leads.name))
    assert hand(leads, FileTarget(path, leads.name)) == 1
    assert len(path.read_text().splitlines()) == 2


def test_a_topic_holds_every_change_in_order_and_says_where_to_go_on(
    leads: Leads, kafka_servers: str
) -> None:
    topic = f"{leads.name}.profile_changes"
    leads.form("lin")
    assert hand(leads, KafkaTarget(kafka_servers, topic, leads.name)) == 2
    leads.form("lin", 1)
    leads.say("status", "sal")
    assert hand(leads, KafkaTarget(kafka_servers, topic, leads.name)) == 2
    assert hand(leads, KafkaTarget(kafka_servers, topic, leads.name)) == 0
    reader = Consumer(
        {"bootstrap.servers": kafka_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    reader.assign([TopicPartition(topic, 0, 0)])
    messages = reader.consume(4, timeout=20)
    reader.close()
    told = [json.loads(message.value()) for message in messages]
    assert told == [{"workspace": leads.name} | change for change in leads.changes()["changes"]]
    assert {message.key().decode() for message in messages} == {leads.world.identifier("user_id", "lin")}
