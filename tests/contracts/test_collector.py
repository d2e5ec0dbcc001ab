"""The collector's contract, as measured from the official SDKs, over real sockets."""

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api import collect
from api.intake import Taken, admit_all, take_apart
from api.keys import create_key, revoke_key
from schemas.errors import ERRORS, Problem
from schemas.log_record import MAX_BATCH, Events, Raw
from tests.contracts.collector import NOW, Collector, FileLog, basic, running, zipped

TRACK: dict[str, Any] = {"type": "track", "event": "E", "userId": "u1", "messageId": "m1"}
SINGLE = {
    "track": {"event": "E", "userId": "u1"},
    "identify": {"userId": "u1", "traits": {"email": "a@example.com"}},
    "page": {"anonymousId": "a1", "name": "Home"},
    "screen": {"anonymousId": "a1", "name": "Home"},
    "group": {"userId": "u1", "groupId": "g1"},
    "alias": {"userId": "u1", "previousId": "a1"},
}
BATCH_PATHS = [
    "/v1/batch",
    "/v1/b",
    "/v1/import",
    "/v1/import/",
    "//v1/batch",
    "/v1//batch/",
    "/beacon/v1/batch",
]
SINGLE_PATHS = [(f"/v1/{name}", kind) for kind in SINGLE for name in (kind, kind[0], f"{kind}/")]
GET_PATHS = ["/v1/projects/KEY/settings", "/sourceConfig/?writeKey=KEY", "/sourceConfig?writeKey=KEY"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    home = tmp_path_factory.mktemp("home")
    keys = create_key(home, "demo", "ingest", source="shop"), create_key(home, "demo", "read")
    log = FileLog(home / "log")
    with running(home, log, ack_timeout=1.0, body_timeout=1.0) as port:
        yield Collector(port, log, home, *keys)
    log.close()


@pytest.fixture
def collector(shared: Collector) -> Collector:
    shared.log.failure = None
    shared.log.gate.set()
    shared.new()
    return shared


def assert_refused(reply: Any, code: str) -> None:
    assert reply.status == ERRORS[code].status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.json["code"] == code
    assert reply.json["message"] == reply.json["detail"]
    assert reply.json["status"] == reply.status


# --- routes


@pytest.mark.parametrize("path", BATCH_PATHS)
def test_every_batch_route_takes_a_batch_without_redirect(collector: Collector, path: str) -> None:
    reply = collector.post(path, {"batch": [TRACK, {**TRACK, "messageId": "m2"}]})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {"success": True, "accepted": 2, "rejected": []}
    assert [event.messageId for event in collector.new_events()] == ["m1", "m2"]


@pytest.mark.parametrize(("path", "kind"), SINGLE_PATHS)
def test_the_path_gives_the_type_where_the_body_does_not(collector: Collector, path: str, kind: str) -> None:
    assert collector.post(path, SINGLE[kind]).json["accepted"] == 1
    assert [event.type for event in collector.new_events()] == [kind]


def test_the_type_in_the_body_wins_and_a_batch_is_one_on_any_path(collector: Collector) -> None:
    collector.post("/v1/track", {"type": "page", "userId": "u1"})
    collector.post("/v1/t", {"batch": [TRACK]})
    assert [event.type for event in collector.new_events()] == ["page", "track"]


def test_unknown_paths_and_methods_are_told_so(collector: Collector) -> None:
    assert collector.post("/v2/track", TRACK).status == 404
    assert collector.call("GET", "/v1/track").status == 405
    assert collector.call("DELETE", "/v1/batch").status == 405
    assert collector.new() == []


def test_a_record_says_who_sent_it_when_and_under_which_keys(collector: Collector) -> None:
    collector.post("/v1/t", {**TRACK, "sentAt": "2026-11-21T20:56:32Z"})
    (record,) = collector.new()
    assert isinstance(record, Events)
    assert (record.workspace, record.source, record.received_at, record.key_generation) == (
        "demo",
        "shop",
        NOW,
        7,
    )
    assert record.batch[0].s == "2026-11-21T20:56:32Z"


# --- keys


def test_a_key_is_found_in_each_of_its_places(collector: Collector) -> None:
    key = collector.write_key
    tries = [
        ("/v1/t", TRACK, {"Authorization": basic(f"{key}:")}),
        ("/v1/t", TRACK, {"Authorization": basic(key)}),
        (f"/beacon/v1/batch?writeKey={key}", {"batch": [TRACK]}, {}),
        ("/v1/import/", {"batch": [TRACK], "writeKey": key}, {}),
        ("/v1/batch", {"batch": [TRACK], "writeKey": key}, {"Authorization": "Bearer abc.def"}),
        ("/v1/t", {**TRACK, "writeKey": key}, {}),
        ("/v1/b", {"batch": [{**TRACK, "writeKey": key}]}, {}),
    ]
    for path, body, headers in tries:
        reply = collector.post(path, body, key="", **headers)
        assert (reply.status, reply.json["accepted"]) == (200, 1), (path, headers)
    assert len(collector.new_events()) == len(tries)


def test_the_header_counts_before_the_query_and_the_query_before_the_body(collector: Collector) -> None:
    good, bad = collector.write_key, "kw_wrong"
    assert collector.post(f"/v1/t?writeKey={good}", TRACK, key=bad).status == 401
    assert collector.post(f"/v1/t?writeKey={bad}", {**TRACK, "writeKey": good}, key="").status == 401
    assert collector.post(f"/v1/t?writeKey={good}", {**TRACK, "writeKey": bad}, key="").status == 200


def test_without_a_live_key_nothing_is_taken(collector: Collector) -> None:
    assert_refused(collector.post("/v1/t", TRACK, key=""), "unknown_key")
    assert_refused(collector.post("/v1/t", TRACK, key="kw_" + "0" * 49), "unknown_key")
    assert_refused(collector.post("/v1/t", TRACK, key="\u00e9\u4e2d"), "unknown_key")
    assert_refused(collector.post("/v1/t", TRACK, key="", Authorization="Basic %%%"), "unknown_key")
    assert_refused(collector.post("/v1/t", TRACK, key=collector.read_key), "wrong_scope")
    assert_refused(collector.call("GET", f"/sourceConfig?writeKey={collector.read_key}"), "wrong_scope")
    assert collector.new() == []


def test_a_new_workspace_is_live_at_once_and_a_revoked_key_is_not(collector: Collector) -> None:
    key = create_key(collector.home, "other", "ingest")
    assert collector.post("/v1/t", TRACK, key=key).status == 200
    assert [record.workspace for record in collector.new()] == ["other"]
    entries = json.loads((collector.home / "keys" / "access.json").read_text())["keys"]
    assert revoke_key(collector.home, next(e["id"] for e in entries if e["workspace"] == "other"))
    assert_refused(collector.post("/v1/t", TRACK, key=key), "unknown_key")


# --- browsers


@pytest.mark.parametrize("path", [*BATCH_PATHS, *(p for p, _ in SINGLE_PATHS), *GET_PATHS, "/v1/m"])
def test_every_route_answers_a_preflight_without_a_key(collector: Collector, path: str) -> None:
    asked = "authorization,content-type,anonymousid,sentat,x-retry-count"
    reply = collector.call("OPTIONS", path, Origin="https://x.cn", Access_Control_Request_Headers=asked)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == asked
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-max-age"] == "86400"


def test_a_preflight_echoes_header_names_and_nothing_else(collector: Collector) -> None:
    reply = collector.call("OPTIONS", "/v1/t", Access_Control_Request_Headers="x; <script>")
    assert reply.status == 200
    assert "access-control-allow-headers" not in reply.headers


def test_answers_let_browsers_read_retry_after(collector: Collector) -> None:
    assert collector.post("/v1/t", TRACK).headers["access-control-expose-headers"] == "Retry-After"


def test_settings_send_segments_web_sdk_to_this_host(collector: Collector) -> None:
    reply = collector.call(
        "GET", f"/v1/projects/{collector.write_key}/settings", Host="track.example.com:8000"
    )
    segment = {"apiKey": collector.write_key, "apiHost": "track.example.com:8000/v1", "protocol": "http"}
    assert reply.json["integrations"] == {"Segment.io": segment}
    assert reply.headers["access-control-allow-origin"] == "*"
    assert_refused(collector.call("GET", "/v1/projects/nope/settings"), "unknown_key")
    assert collector.call("GET", f"/v1/projects/{collector.write_key}/settings", Host='a"b').status == 422


def test_source_config_lets_rudderstacks_web_sdk_start(collector: Collector) -> None:
    for path in ("/sourceConfig/?p=npm&v=3.34.1&build=modern", "/sourceConfig"):
        reply = collector.call("GET", path, Authorization=basic(f"{collector.write_key}:"))
        assert reply.json["source"] == {"id": "shop", "enabled": True, "config": {}, "destinations": []}


def test_error_metrics_of_browsers_are_dropped(collector: Collector) -> None:
    assert collector.post("/v1/m", {"series": []}, key="").json == {"success": True}
    assert collector.new() == []


def test_a_public_address_can_be_configured(collector: Collector) -> None:
    with running(collector.home, collector.log, public_url="https://t.example.com/") as port:
        other = Collector(port, collector.log, collector.home)
        reply = other.call("GET", f"/v1/projects/{collector.write_key}/settings")
    assert reply.json["integrations"]["Segment.io"]["apiHost"] == "t.example.com/v1"
    assert reply.json["integrations"]["Segment.io"]["protocol"] == "https"


# --- what SDKs send

IDENTIFY: dict[str, Any] = {
    "type": "identify",
    "userId": "u1",
    "anonymousId": "a1",
    "traits": {"email": "a@example.com"},
    "integrations": {"All": True, "Mixpanel": False},
    "timestamp": "2026-01-02T03:04:05.678Z",
    "messageId": "node-next-1795294158901-4b79",
}
WECHAT = {
    "externalIds": [{"id": "wxo_123", "type": "wechat_openid", "collection": "users", "encoding": "none"}]
}


def test_segment_node(collector: Collector) -> None:
    event = {**IDENTIFY, "context": {**WECHAT, "library": {"name": "@segment/analytics-node"}}}
    event["_metadata"] = {"nodeVersion": "v20.20.2", "jsRuntime": "node"}
    body = {"batch": [event], "writeKey": collector.write_key, "sentAt": "2026-11-21T20:49:18.906Z"}
    assert collector.post("/v1/batch", body, Content_Type="application/json").status == 200
    (read,) = collector.new_events()
    assert (read.userId, read.anonymousId, read.traits) == ("u1", "a1", {"email": "a@example.com"})
    assert read.context.externalIds[0]["id"] == "wxo_123"


@pytest.mark.parametrize("compress", [False, True])
def test_segment_python(collector: Collector, compress: bool) -> None:
    event = {**TRACK, "userId": None, "anonymousId": "a1", "timestamp": "2026-01-02T11:04:05.000+08:00"}
    body = {"batch": [event], "sentAt": "2026-11-21T20:49:44.468810+00:00", "writeKey": collector.write_key}
    if compress:
        assert collector.post("/v1/batch", zipped(body), Content_Encoding="gzip").status == 200
    else:
        assert collector.post("/v1/batch", body).status == 200
    (read,) = collector.new_events()
    assert (read.userId, read.anonymousId) == (None, "a1")


def test_segment_go_posts_to_a_doubled_slash_with_the_context_beside_the_batch(collector: Collector) -> None:
    context = {"library": {"name": "analytics-go", "version": "3.0.0"}}
    body = {
        "messageId": "7b59",
        "sentAt": "2026-11-21T20:52:18.046130132Z",
        "batch": [TRACK],
        "context": context,
    }
    assert collector.post("//v1/batch", body).status == 200
    (record,) = collector.new()
    assert json.loads(bytes(record.batch[0].e))["context"] == context
    assert record.batch[0].s == "2026-11-21T20:52:18.046130132Z"


def test_segment_java_has_its_key_only_in_the_body(collector: Collector) -> None:
    event = {"type": "alias", "userId": "u1", "previousId": "a1", "integrations": {}, "messageId": "27a4"}
    body = {"batch": [event], "sequence": 1, "writeKey": collector.write_key}
    reply = collector.post("/v1/import/", body, key="", Content_Type="application/json; charset=UTF-8")
    assert reply.status == 200
    assert collector.new_events()[0].previousId == "a1"


def test_rudder_node_sends_gzip_as_a_form(collector: Collector) -> None:
    event = {**TRACK, "originalTimestamp": "2026-11-21T20:59:09.028Z", "channel": "server"}
    headers = {"Content_Type": "application/x-www-form-urlencoded", "Content_Encoding": "gzip"}
    assert collector.post("/v1/batch", zipped({"batch": [event], "sentAt": "x"}), **headers).status == 200
    assert collector.new_events()[0].originalTimestamp == "2026-11-21T20:59:09.028Z"


def test_segment_web_sends_plain_text(collector: Collector) -> None:
    body = {**IDENTIFY, "writeKey": collector.write_key, "context": {"library": {"name": "analytics.js"}}}
    reply = collector.post("/v1/i", body, Content_Type="text/plain, application/json", Origin="http://x")
    assert reply.status == 200
    assert b"writeKey" not in bytes(collector.new()[0].batch[0].e)


def test_rudder_web_gives_traits_in_the_context_and_sent_at_in_a_header(collector: Collector) -> None:
    body = {
        "type": "identify",
        "userId": "",
        "anonymousId": "d1",
        "context": {"traits": {"email": "a@b.com"}},
    }
    reply = collector.post("/v1/identify", body, SentAt="2026-11-21T20:56:31.517Z", AnonymousId="ZDE=")
    assert reply.status == 200
    (record,) = collector.new()
    assert record.batch[0].s == "2026-11-21T20:56:31.517Z"
    assert b"userId" not in bytes(record.batch[0].e)


def test_a_resent_event_has_the_same_bytes(collector: Collector) -> None:
    event = {**IDENTIFY, "properties": {"b": 1, "a": {"y": "价格", "x": None}}}
    shuffled = dict(reversed(event.items()))
    collector.post("/v1/batch", {"batch": [event], "sentAt": "2026-11-21T20:56:30Z"})
    collector.post("/v1/i", json.dumps({**shuffled, "sentAt": "2026-11-21T20:56:32Z"}, indent=2).encode())
    first, second = [bytes(record.batch[0].e) for record in collector.new()]
    assert first == second


def test_one_connection_carries_many_requests(collector: Collector) -> None:
    body = json.dumps(TRACK).encode()
    request = (
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(collector.write_key)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert len(collector.new_events()) == 3


# --- clocks


@pytest.mark.parametrize(
    ("library", "sent_at", "timestamp", "corrected"),
    [
        ("analytics.js", "2026-11-21T19:56:32Z", "2026-11-21T19:56:02Z", NOW - 30_000_000),
        ("analytics.js", "2026-11-21T22:56:32Z", "2026-11-21T22:56:02Z", NOW - 30_000_000),
        ("RudderLabs JavaScript SDK", "2026-11-21T19:56:32Z", "2026-11-21T19:57:32Z", NOW),
        ("analytics.js", "2026-11-21T20:56:02Z", "2026-11-21T20:55:32Z", None),
        ("analytics.js", "2026-11-21T19:56:32Z", None, None),
        ("analytics-go", "2026-11-21T19:56:32Z", "2026-11-21T19:56:02Z", None),
        (None, "2026-11-21T19:56:32Z", "2026-11-21T19:56:02Z", None),
        ("analytics.js", "no time", "2026-11-21T19:56:02Z", None),
    ],
)
def test_only_a_browsers_wrong_clock_is_corrected_and_never_past_now(
    collector: Collector, library: str | None, sent_at: str, timestamp: str | None, corrected: int | None
) -> None:
    event = {**TRACK, "timestamp": timestamp, "context": {"library": {"name": library}}}
    collector.post("/v1/b", {"batch": [event], "sentAt": sent_at})
    assert collector.new()[0].batch[0].t == corrected


# --- bad events


def test_a_bad_event_costs_nothing_but_itself(collector: Collector) -> None:
    bad = b'{ "type":"track",  "event":"E", "userId": ["u"] }'
    good = json.dumps(TRACK).encode()
    reply = collector.post("/v1/batch", b'{"batch":[' + b", ".join([good, bad, b"7", good]) + b"]}")
    assert reply.status == 200
    assert reply.json["accepted"] == 2
    assert [(r["index"], r["code"], r.get("pointer")) for r in reply.json["rejected"]] == [
        (1, "wrong_type", "/userId"),
        (2, "not_an_object", None),
    ]
    assert collector.log.appends[-1] == 2
    events, raw = collector.new()
    assert isinstance(events, Events)
    assert isinstance(raw, Raw)
    assert (raw.workspace, raw.source, raw.received_at) == ("demo", "shop", NOW)
    collector._seen -= 1
    assert collector.new_rejects() == [("wrong_type", "/userId", bad), ("not_an_object", "", b"7")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b'{"type":"track","event":"E","userId":"u","properties":{"a":NaN}}', "bad_number"),
        (b'{"type":"track","event":"E","userId":"u","properties":{"a":-Infinity}}', "bad_number"),
        (b'{"type":"track","event":"E","userId":"u","properties":{"a":1e999}}', "bad_number"),
        (b'{"type":"track","event":"E","userId":"\\ud800"}', "bad_text"),
        (b'{"type":"track","event":"E","userId":"\\udc00x"}', "bad_text"),
        (b'{"type":"track","event":"E","userId":"u","x":' + b"[" * 200 + b"]" * 200 + b"}", "too_deep"),
        (b'{"type":"track","event":"E","userId":"u","x":"' + b"x" * 300_000 + b'"}', "event_too_large"),
        (b'{"type":"track","event":"E"}', "missing_identity"),
        (b'{"type":"track","event":"E","userId":"u","\\u0075serId":"v"}', "dup_key"),
    ],
)
def test_each_fault_of_an_event_is_one_reject_among_others(
    collector: Collector, bad: bytes, code: str
) -> None:
    good = json.dumps({**TRACK, "properties": {"城市": "上海 😀"}}).encode()
    reply = collector.post("/v1/batch", b'{"batch":[' + b",".join([good, bad, good]) + b"]}")
    assert reply.status == 200
    assert (reply.json["accepted"], [r["code"] for r in reply.json["rejected"]]) == (2, [code])
    collector.new()
    assert collector.post("/v1/t", bad).json["rejected"][0]["code"] == code
    assert [reject[0] for reject in collector.new_rejects()] == [code]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "not_an_object"), (b"7", "not_an_object"), (b"null", "not_an_object"),
        (b"{}", "missing_type"), (b'{"batch": 5}', "not_a_list"), (b'{"batch": null}', "not_a_list"),
        (b'{"batch": {}}', "not_a_list"), (b'{"batch": NaN, "a": [1]}', "bad_number"),
        (b"[" * 200_000 + b"]" * 200_000, "too_deep"),
        (b'{"type":"track","event":"E","userId":"u","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "too_deep"),
    ],
)  # fmt: skip
def test_readable_nonsense_is_a_reject_not_an_error(collector: Collector, body: bytes, code: str) -> None:
    reply = collector.post("/v1/batch", body)
    assert reply.status == 200
    assert [r["code"] for r in reply.json["rejected"]] == [code]
    assert [(reject[0], reject[2]) for reject in collector.new_rejects()] == [(code, body)]


REPEATED = b'{ "type":"track","event":"E","userId":"u", "properties":{"a":1,"a":2}}'
NAN = b'{"type":"track", "event":"E","userId":"u","properties":{"a": NaN}}'
LONG = b'{"type":"track", "event":"E","userId":"u","properties":{"a":' + b"1" * 5000 + b',"b":NaN}}'


def test_beside_a_value_that_only_python_reads_every_event_is_still_judged_by_its_own_bytes(
    collector: Collector,
) -> None:
    good = '{"type":"track", "event":"城市 😀",\n"userId":"u"}'.encode()
    body = (
        b' {"context" : {"locale":"zh"},\n"batch": [ '
        + b" , ".join([good, REPEATED, NAN, LONG, good])
        + b" ] }\n"
    )
    reply = collector.post("/v1/batch", body)
    assert [(r["index"], r["code"], r["pointer"]) for r in reply.json["rejected"]] == [
        (1, "dup_key", "/properties/a"),
        (2, "bad_number", "/properties/a"),
        (3, "bad_number", "/properties/a"),
    ]
    events, raw = collector.new()
    assert [json.loads(bytes(item.e))["context"] for item in events.batch] == [{"locale": "zh"}] * 2
    assert [base64.b64decode(item.data) for item in raw.items] == [REPEATED, NAN, LONG]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b'{"batch":[EVENT],"batch":[7]}', "dup_key", "/batch"),
        (b'{"batch":[EVENT], "\\u0062atch" :[]}', "dup_key", "/batch"),
        (b'{"batch":[EVENT],"batch":{"a":5}}', "dup_key", "/batch"),
        (b'{"batch":{},"batch":[EVENT]}', "dup_key", "/batch"),
        (b'{"x:":":","batch":[EVENT],"context":{},"context":{"locale":"zh"}}', "dup_key", "/context"),
        (
            b'{"batch":[EVENT],"context":{"traits":{"email":"a","email":"b"}}}',
            "dup_key",
            "/context/traits/email",
        ),
        (b'{"batch":[EVENT],"x":NaN,"batch":[EVENT]}', "bad_number", "/x"),
    ],
)
def test_a_body_that_says_a_thing_twice_beside_its_events_is_one_reject(
    collector: Collector, body: bytes, code: str, pointer: str
) -> None:
    sent = body.replace(b"EVENT", json.dumps(TRACK).encode())
    reply = collector.post("/v1/batch", sent)
    assert (reply.status, reply.json["accepted"]) == (200, 0)
    assert [(r["code"], r["pointer"]) for r in reply.json["rejected"]] == [(code, pointer)]
    assert collector.new_rejects() == [(code, pointer, sent)]


@pytest.mark.parametrize("value", [b"1e999", b"NaN", b'"\\ud800"', b"[" * 2000 + b"]" * 2000, b"{}"])
@pytest.mark.parametrize(
    "beside", [b'{"batch":[{"type":"page","userId":"u"}],"%s":%s}', b'{"type":"page","%s":%s}']
)
@pytest.mark.parametrize("name", [b"writeKey", b"sentAt", b"context"])
def test_nonsense_beside_the_events_is_never_our_failure(
    collector: Collector, beside: bytes, name: bytes, value: bytes
) -> None:
    reply = collector.post("/v1/batch", beside % (name, value))
    assert (reply.status, reply.json["success"]) == (200, True)
    assert reply.json["accepted"] + len(reply.json["rejected"]) == 1
    collector.log.records()


def test_keys_with_colons_beside_the_events_are_fine(collector: Collector) -> None:
    good = json.dumps(TRACK).encode()
    body = b'{"a:b":":","c\\u003a":{"batch:":":"},"x":["\\"batch\\":[]"],"batch":[%s,%s]}' % (good, REPEATED)
    reply = collector.post("/v1/batch", body)
    assert (reply.json["accepted"], [r["index"] for r in reply.json["rejected"]]) == (1, [1])
    assert collector.new_rejects() == [("dup_key", "/properties/a", REPEATED)]


def test_an_empty_batch_is_fine(collector: Collector) -> None:
    assert collector.post("/v1/batch", {"batch": []}).json == {"success": True, "accepted": 0, "rejected": []}
    assert collector.new() == []


def test_a_reject_keeps_the_type_that_only_the_path_said(collector: Collector) -> None:
    collector.post("/v1/track", {"event": "E"})
    ((code, _, raw),) = collector.new_rejects()
    assert (code, json.loads(raw)) == ("missing_identity", {"type": "track", "event": "E"})


def test_a_long_batch_is_taken_up_to_2500_events_in_records_the_job_can_hold(collector: Collector) -> None:
    reply = collector.post("/v1/batch", {"batch": [{**TRACK, "messageId": str(i)} for i in range(2502)]})
    assert reply.json["accepted"] == 2500
    assert [(r["index"], r["code"]) for r in reply.json["rejected"]] == [
        (i, "batch_too_long") for i in (2500, 2501)
    ]
    records = collector.new()
    sizes = [len(record.batch) for record in records if isinstance(record, Events)]
    assert sum(sizes) == 2500
    assert max(sizes) <= MAX_BATCH
    assert collector.log.appends[-1] == len(records)


def test_a_batch_of_very_many_is_refused_whole_and_kept(collector: Collector) -> None:
    body = b'{"batch":[' + b",".join([b"[]"] * 10_001) + b"]}"
    assert_refused(collector.post("/v1/batch", body), "body_too_large")
    assert [(code, raw) for code, _, raw in collector.new_rejects()] == [("body_too_large", body)]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (
            lambda: b'{"a":1,' + b"".join(b'"%x":1,' % i for i in range(1_000_000)) + b'"a":1}',
            "event_too_large",
        ),
        (lambda: b'{"batch":[' + b"[]," * 6_000_000 + b"7]}", "body_too_large"),
        (lambda: b'{"batch":[' + b'{"a":NaN},' * 1_500_000 + b"7]}", "event_too_large"),
        (
            lambda: b'{"a":1,"a":1,"batch":[' + b'{"a":"%s"},' % (b"x" * 10_000) * 1_500 + b"7]}",
            "event_too_large",
        ),
        (lambda: b'{"batch":[NaN' + b",[]" * 600_000 + b"]}", "body_too_large"),
        (lambda: b'{"batch":[NaN]' + b',"":7' * 400_000 + b"}", "body_too_large"),
    ],
    ids=["keys", "items", "NaN", "repeated", "items beside NaN", "keys beside NaN"],
)
def test_the_greatest_body_of_any_form_holds_up_others_no_longer_than_one_reading_of_it(
    make: Any, code: str, reading: float
) -> None:
    body, taken = make(), Taken()
    longest, last = 0.0, time.process_time()
    try:
        for _ in admit_all(take_apart(body), None, NOW, taken):
            now = time.process_time()
            longest, last = max(longest, now - last), now
        assert {each["code"] for each in taken.report} == {code}
    except Problem as problem:
        assert problem.code == code  # noqa: PT017 - either is fine
    assert max(longest, time.process_time() - last) < 2 * reading


@pytest.fixture(scope="module")
def reading() -> float:
    """CPU seconds in which Python's parser reads a body of the greatest size, of many small things."""
    body = b"[" + b"[]," * 6_000_000 + b"7]"
    begun = time.process_time()
    assert len(json.loads(body)) == 6_000_001
    return time.process_time() - begun


def test_a_broken_batch_context_does_not_cost_the_events(collector: Collector) -> None:
    for context in (b"5", b'{"a":1e999}', b'"x"', b"null"):
        body = b'{"batch":[' + json.dumps(TRACK).encode() + b'],"context":' + context + b"}"
        assert collector.post("/v1/batch", body).json["accepted"] == 1


# --- unreadable bodies


@pytest.mark.parametrize(
    ("body", "headers", "code", "pointer"),
    [
        (b'{"batch":[', {}, "bad_json", "10"),
        (b'{"a":1} x', {}, "bad_json", None),
        (b"", {}, "bad_json", "0"),
        (b"a=b&c=d", {"Content_Type": "application/x-www-form-urlencoded"}, "bad_json", "0"),
        (b'{"a":"\xff"}', {}, "bad_json", "6"),
        (b'{"a":"NaN}', {}, "bad_json", "10"),
        (zipped({"batch": [TRACK]})[:-12], {"Content_Encoding": "gzip"}, "bad_encoding", None),
        (b'{"batch":[]}', {"Content_Encoding": "gzip"}, "bad_encoding", "0"),
        (zipped({"batch": []}) + b"x", {"Content_Encoding": "gzip"}, "bad_encoding", None),
        (b"{}", {"Content_Encoding": "br"}, "bad_encoding", None),
    ],
)
def test_what_cannot_be_read_is_refused_and_kept_for_its_workspace(
    collector: Collector, body: bytes, headers: dict[str, str], code: str, pointer: str | None
) -> None:
    reply = collector.post("/v1/batch", body, **headers)
    assert_refused(reply, code)
    assert pointer is None or reply.json["pointer"] == pointer
    ((kept_code, _, kept),) = collector.new_rejects()
    assert (kept_code, kept) == (code, body)
    assert_refused(collector.post("/v1/batch", body, key="", **headers), code)
    assert collector.new() == []


def test_gzip_of_several_members_and_deflate_are_read(collector: Collector) -> None:
    body = json.dumps({"batch": [TRACK]}).encode()
    parts = zipped({"batch": [TRACK]}), zlib.compress(body)
    assert collector.post("/v1/batch", parts[0], Content_Encoding="x-gzip").status == 200
    assert collector.post("/v1/batch", parts[1], Content_Encoding="deflate").status == 200
    joined = gzip.compress(body[:20]) + gzip.compress(body[20:])
    assert collector.post("/v1/batch", joined, Content_Encoding="GZIP").json["accepted"] == 1


def test_a_body_over_the_cap_is_refused_declared_or_not(collector: Collector) -> None:
    big = b" " * (5 * 1024 * 1024 + 1)
    assert_refused(collector.post("/v1/batch", big), "body_too_large")
    head = f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(collector.write_key)}\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(6):
            connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
    kept = collector.new_rejects()
    assert [code for code, _, _ in kept] == ["body_too_large"] * 2
    assert max(len(raw) for _, _, raw in kept) <= 256 * 1024


def test_five_megabytes_are_taken(collector: Collector) -> None:
    events = [{**TRACK, "messageId": str(i), "properties": {"x": "x" * 200_000}} for i in range(25)]
    assert collector.post("/v1/batch", {"batch": events}).json["accepted"] == 25


def test_a_bomb_is_refused_while_it_is_unpacked(collector: Collector) -> None:
    for size in (2 * 1024 * 1024, 200 * 1024 * 1024):
        started = time.monotonic()
        assert_refused(
            collector.post("/v1/batch", gzip.compress(b" " * size, 1), Content_Encoding="gzip"),
            "body_too_large",
        )
        assert time.monotonic() - started < 20
    noisy = json.dumps({"batch": [{**TRACK, "messageId": str(i)} for i in range(2000)]}).encode()
    assert collector.post("/v1/batch", gzip.compress(noisy), Content_Encoding="gzip").status == 200


# --- the log


class _Full(Problem):
    retry_after = 3

    def __init__(self) -> None:
        super().__init__("overloaded")


@pytest.mark.parametrize(
    ("failure", "retry_after"), [(_Full(), "3"), (OSError("disk full"), "5"), (RuntimeError("closed"), "5")]
)
@pytest.mark.parametrize("body", [b'{"batch":[{"type":"page","userId":"u"}]}', b"{"])
def test_when_the_log_cannot_take_more_the_client_is_asked_to_wait(
    collector: Collector, failure: Exception, retry_after: str, body: bytes
) -> None:
    collector.log.failure = failure
    reply = collector.post("/v1/batch", body)
    assert_refused(reply, "overloaded")
    assert reply.headers["retry-after"] == retry_after
    assert collector.new() == []
    collector.log.failure = None
    assert collector.post("/v1/t", TRACK).status == 200


def test_nothing_is_acknowledged_before_it_is_durable(collector: Collector) -> None:
    collector.log.gate.clear()
    replies: list[Any] = []
    caller = threading.Thread(target=lambda: replies.append(collector.post("/v1/t", TRACK)))
    caller.start()
    time.sleep(0.3)
    assert replies == []
    assert collector.call("GET", "/health").status == 200  # others are served meanwhile
    collector.log.gate.set()
    caller.join(5)
    assert replies[0].status == 200
    assert len(collector.new_events()) == 1


def test_a_log_that_hangs_is_answered_with_429_not_with_silence(collector: Collector) -> None:
    collector.log.gate.clear()
    reply = collector.post("/v1/t", TRACK)
    assert_refused(reply, "overloaded")
    collector.log.gate.set()
    assert collector.post("/v1/t", {**TRACK, "messageId": "m2"}).status == 200
    assert [event.messageId for event in collector.new_events()] == [
        "m1",
        "m2",
    ]  # sent again, it would be one event


def test_a_body_that_never_comes_holds_nobody(collector: Collector) -> None:
    key = basic(collector.write_key)
    head = f"POST /v1/t HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as slow:
        slow.sendall(head.encode() + b"{")
        assert collector.post("/v1/t", TRACK).status == 200
        assert slow.recv(65536).startswith(b"HTTP/1.1 429")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as gone:
        gone.sendall(head.encode() + b"{")
    assert collector.post("/v1/t", TRACK).status == 200


# --- who asks too much


def test_a_key_that_sends_too_often_is_told_when_to_send_again_and_others_are_served(
    collector: Collector,
) -> None:
    other = create_key(collector.home, "demo", "ingest")
    with running(collector.home, collector.log, rate=2) as port:
        eager = Collector(port, collector.log, collector.home, collector.write_key)
        replies = [eager.post("/v1/t", TRACK) for _ in range(30)]
        assert [reply.status for reply in replies[:20]] == [200] * 20
        assert_refused(replies[-1], "too_many_requests")
        assert replies[-1].headers["retry-after"] == "1"
        assert_refused(
            eager.post("/v1/t", {**TRACK, "writeKey": eager.write_key}, key=""), "too_many_requests"
        )
        assert eager.post("/v1/t", TRACK, key=other).status == 200
        time.sleep(0.6)
        assert eager.post("/v1/t", TRACK).status == 200


def test_large_bodies_count_for_more(collector: Collector) -> None:
    batch = {"batch": [{**TRACK, "properties": {"x": "x" * 200_000}}] * 7}
    with running(collector.home, collector.log, rate=2) as port:
        eager = Collector(port, collector.log, collector.home, collector.write_key)
        assert eager.post("/v1/b", batch).json["accepted"] == 7
        assert_refused(eager.post("/v1/t", TRACK), "too_many_requests")


def test_an_address_without_a_live_key_is_refused_after_a_while_and_a_live_key_from_it_is_not(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "STRANGER_RATE", 1)
    with running(collector.home, collector.log) as port:
        other = Collector(port, collector.log, collector.home, collector.write_key)
        statuses = [other.post("/v1/t", TRACK, key="kw_none").status for _ in range(30)]
        assert statuses[:10] == [401] * 10
        assert 429 in statuses
        assert other.post("/v1/t", TRACK).status == 200
        assert other.post("/v1/t", {**TRACK, "writeKey": other.write_key}, key="").status == 200


def test_connections_that_ask_nothing_are_closed_and_never_keep_a_caller_out(collector: Collector) -> None:
    with running(collector.home, collector.log, {"most": 20, "head_timeout": 1.0}) as port:
        other = Collector(port, collector.log, collector.home, collector.write_key)
        silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(60)]
        for each in silent[::2]:
            with contextlib.suppress(OSError):
                each.sendall(b"POST /v1/t HT")
        assert other.post("/v1/t", TRACK).status == 200
        time.sleep(0.5)
        with contextlib.suppress(OSError):
            silent[-2].sendall(b"TP/1.1\r\nX: ")  # more of the head does not give it more time
        started = time.monotonic()
        assert [closed(each) for each in silent] == [True] * 60
        assert time.monotonic() - started < 20


def closed(connection: socket.socket) -> bool:
    """Whether the other side closes the connection without a word."""
    with connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def test_a_head_without_end_is_cut_and_a_large_one_is_not(collector: Collector) -> None:
    def line(number: int) -> bytes:
        return b"X-%d: %s\r\n" % (number, b"y" * 1000)

    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as fine:
        fine.sendall(b"GET /health HTTP/1.1\r\n" + b"".join(map(line, range(60))) + b"\r\n")
        assert fine.recv(65536).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as flood:
        flood.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            flood.sendall(b"".join(map(line, range(20_000))))


def test_a_client_that_is_still_sending_reads_its_refusal(collector: Collector) -> None:
    head = b"POST /v1/t?writeKey=kw_none HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as busy:
        busy.sendall(head)
        for _ in range(5):
            time.sleep(0.05)
            busy.sendall(b" " * 100_000)
        assert busy.recv(65536).startswith(b"HTTP/1.1 401")


def test_unfinished_bodies_hold_no_more_memory_than_there_is_room_for(
    collector: Collector,
) -> None:
    head = b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    with running(collector.home, collector.log, room=5_000_000) as port, contextlib.ExitStack() as held:
        other = Collector(port, collector.log, collector.home, collector.write_key)
        slow = [
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(4)
        ]
        for each in slow:
            each.sendall(head + b" " * 3_000_000)
            assert other.post("/v1/t", TRACK).status == 200
        assert [each.recv(65536)[9:12] for each in slow[:3]] == [b"429"] * 3
        slow[3].sendall(b" " * 1_000_000)
        assert slow[3].recv(65536)[9:12] == b"400"


def test_a_kept_connection_lives_on_between_its_requests(collector: Collector) -> None:
    with running(collector.home, collector.log, {"head_timeout": 0.3}) as port:
        head = b"POST /v1/t?writeKey=%s HTTP/1.1\r\nHost: x\r\n" % collector.write_key.encode()
        body = json.dumps(TRACK).encode()
        request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with socket.create_connection(("127.0.0.1", port), timeout=10) as kept:
            for pause in (0.0, 0.5):
                time.sleep(pause)
                kept.sendall(request[:-5])
                time.sleep(pause)  # a slow body is not a slow head
                kept.sendall(request[-5:])
                assert kept.recv(65536).startswith(b"HTTP/1.1 200")


# --- what operators see


def test_metrics_count_events_rejects_bytes_and_latency(collector: Collector) -> None:
    def value(name: str) -> float:
        lines = collector.call("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    names = [
        "kintsugi_collector_accepted_events_total",
        'kintsugi_collector_rejected_events_total{code="missing_identity"}',
        'kintsugi_collector_refused_requests_total{code="bad_json"}',
        "kintsugi_collector_ack_seconds_count",
    ]
    before = [value(name) for name in names]
    received = value("kintsugi_collector_received_bytes_total")
    collector.post("/v1/batch", {"batch": [TRACK, {"type": "page"}]})
    collector.post("/v1/batch", b"{")
    assert [value(name) for name in names] == [b + d for b, d in zip(before, [1, 1, 1, 2], strict=True)]
    assert value("kintsugi_collector_received_bytes_total") > received


def test_strangers_write_nothing_into_the_log(
    collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    collector.post("/v1/t", TRACK, key="kw_none")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as stranger:
        stranger.sendall(b"no request at all\r\n\r\n")
        assert stranger.recv(65536).startswith(b"HTTP/1.1 400")
    assert "".join(capfd.readouterr()) == ""


def test_logs_hold_no_keys_and_no_personal_data(
    collector: Collector, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    secret = "canary-13900000001@example.com"
    collector.post(f"/v1/t?writeKey={collector.write_key}", {**TRACK, "userId": [secret]}, key="")
    collector.post(f"/v1/t?writeKey={secret}", {**TRACK, "userId": secret}, key="")
    collector.post("/v1/t", b'{"userId":"' + secret.encode(), AnonymousId=secret)
    collector.call("GET", f"/v1/projects/{secret}/settings")
    collector.log.failure = RuntimeError(secret)
    collector.post("/v1/t", {**TRACK, "userId": secret})
    said = "".join(capfd.readouterr()) + collector.call("GET", "/metrics").body.decode()
    assert "request refused" in said
    for hidden in (secret, "canary", collector.write_key):
        assert hidden not in said
