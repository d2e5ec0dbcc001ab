"""The way of an event through the real stack: SDK request, collector, log, Flink, store, query API, SQL."""

import base64
import gzip
import json
from datetime import date
from typing import Any

import httpx
import pytest

from kintsugi.demo_data import journeys
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}


@pytest.fixture(scope="module")
def acme(stack: Stack) -> str:
    return stack.workspace("fragments", FILES)


def post(
    stack: Stack, workspace: str, body: bytes, path: str = "/v1/batch", **headers: str
) -> httpx.Response:
    key = base64.b64encode(f"{stack.write_keys[workspace]}:".encode()).decode()
    return httpx.post(
        stack.said.collector + path, content=body, timeout=30, trust_env=False,
        headers={"Authorization": f"Basic {key}", **headers},
    )  # fmt: skip


def test_fragments_become_one_golden_record(stack: Stack, acme: str) -> None:
    phone, openid = "+86 138 2222 3333", {"id": "o-1", "type": "wechat_openid", "scope": "wx1"}
    events: list[dict[str, Any]] = [
        {"type": "page", "anonymousId": "browser-1", "messageId": "1", "properties": {"url": "https://a.cn/pricing"}},
        {"type": "track", "event": "QR Scanned", "messageId": "2", "context": {"externalIds": [openid]}},
        {"type": "identify", "anonymousId": "browser-1", "messageId": "3", "traits": {"phone": phone, "city": "Wuxi"}},
        {"type": "track", "event": "Webinar Joined", "messageId": "4", "properties": {"minutes": 45},
         "context": {"externalIds": [openid, {"id": "１３８２２２２３３３３", "type": "phone"}]}},
    ]  # fmt: skip
    assert stack.send(acme, events).accepted == 4
    stack.wait()
    answers = stack.lookup(
        acme, ("anonymous_id", "browser-1"), ("phone", "0086 138-2222-3333"), ("phone", "13999998888")
    )
    browser, found, unknown = answers
    assert unknown["profile"] is None
    assert browser["profile_id"] == found["profile_id"]
    assert found["profile"]["event_count"] == 4
    assert found["profile"]["traits"]["city"] == "Wuxi"
    assert found["profile"]["behaviour_score"] == 22
    assert found["profile"]["identity_score"] == 25
    assert "22223333" not in json.dumps(answers), "identifiers are masked"
    said = stack.cli(
        "sql", f"SELECT event_count FROM kintsugi.profiles WHERE workspace = '{acme}'", "--format", "TSV"
    )
    assert said.split() == ["4"]


def test_what_cannot_be_an_event_is_rejected_and_the_rest_lands(stack: Stack) -> None:
    name = stack.workspace("badinput", FILES)
    nested: Any = "deep"
    for _ in range(40):
        nested = {"d": nested}
    good = {"type": "track", "event": "Form Submitted", "userId": "good-1", "messageId": "g1"}
    bad: dict[str, Any] = {
        "missing_identity": {"type": "track", "event": "Form Submitted"},
        "wrong_type": {"type": "track", "event": ["no"], "userId": "u"},
        "too_deep": {"type": "track", "event": "E", "userId": "u", "properties": nested},
        "event_too_large": {
            "type": "track",
            "event": "E",
            "userId": "u",
            "properties": {"x": "y" * 1_000_000},
        },
        "unknown_type": {"type": "dance", "userId": "u"},
        "not_an_object": 17,
        "bad_text": {"type": "track", "event": "lone \udc00 surrogate", "userId": "u"},
    }
    kept = [
        good,
        {**good, "messageId": "g2", "userId": "nul\x00", "properties": {"a": "b\x00c"}},
        {**good, "messageId": "g3", "userId": "null", "anonymousId": "undefined"},
        {**good, "messageId": "g4", "context": {"externalIds": [{"id": "1", "type": "no_such_namespace"}]}},
    ]
    body = json.dumps({"batch": [*kept, *bad.values()]}).encode()
    answer = post(stack, name, gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == len(kept)
    for unreadable in (b"{", b'{"batch": [}', b"\xff\xfe\x00"):
        assert post(stack, name, unreadable).status_code == 400
    assert post(stack, name, b"not gzip", **{"Content-Encoding": "gzip"}).status_code == 400
    assert httpx.post(stack.said.collector + "/v1/batch", content=body, trust_env=False).status_code == 401
    stack.wait()
    rows = stack.store.query_rows(
        "SELECT code, pointer, detail FROM kintsugi.rejects WHERE workspace = {w:String}", {"w": name}
    )
    codes = {code for code, _, _ in rows}
    assert codes >= {*bad, "bad_json", "bad_encoding", "unknown_namespace"}
    assert stack.count("events", name) == len(kept)
    sealed = stack.store.query_rows(
        "SELECT min(length(sealed)) FROM kintsugi_store.rejects WHERE workspace = {w:String}", {"w": name}
    )
    assert sealed[0][0] > 0, "raw bytes are kept"
    assert stack.lookup(name, ("user_id", "null"))[0]["state"] == "blocked"
    assert stack.status()["job"]["state"] == "RUNNING"


def test_demo_data_through_flink_equals_what_evidence_says(stack: Stack) -> None:
    """Messy data over HTTP, four connections at once; the digest of the stream equals the pure functions'."""
    name = stack.workspace("messy", FILES)
    events = [e for batch in journeys(11, 6000, date(2026, 11, 1), 18) for e in batch.events]
    sent = stack.send(name, events)
    assert sent.accepted == 6000
    stack.wait()
    distinct = len({json.dumps(event, sort_keys=True) for event in events})
    assert stack.count("events", name) == distinct < 6000
    stored = stack.digest(name)
    assert stored.profiles > 500
    assert stored.identifiers > 500
    in_force = stack.store.query_rows(
        "SELECT toString(as_of) FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}", {"w": name}
    )[0][0]
    said = stack.cli("digest", "--workspace", name, "--date", in_force)
    assert stored.sha256 in said
