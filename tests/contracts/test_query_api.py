"""The query API on the real store: right records, nobody else's, masked, fresh, and coalesced under load."""

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api import metering
from api.keys import AccessKeys, create_key
from api.query import create_app
from api.serving import server
from store.client import Store, StoreSettings
from tests.contracts.golden import ANNA, BLOCKED, BOB, GENERATION, SHOP, UNSCORED, Golden, Raw

EXAMPLE = Path(__file__).parents[2] / "docs/examples/read_profiles.py"
LOOKUP = "/v1/profiles/lookup"
_MAPS = ("traits", "behaviour_points", "identity_points")
CLEAR = ("+8613800138001", "13800138001", "anna@example.com", "oAnna000001", "安娜")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def golden(store: Store, home: Path) -> Golden:
    return Golden(store, home).fill()


@pytest.fixture(scope="module")
def neighbour(store: Store, home: Path) -> Golden:
    """Another tenant with the same people."""
    return Golden(store, home).fill()


@pytest.fixture(scope="module")
def app(store: Store, home: Path) -> FastAPI:
    return create_app(store, AccessKeys(home), home)


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of `app`, served over a socket as in production."""
    web = server(app, lifespan="on")
    thread = threading.Thread(target=web.run)
    thread.start()
    try:
        while not web.started:
            time.sleep(0.01)
        port = web.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            yield client
    finally:
        web.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with serving(app) as client:
        yield client


def headers(golden: Golden, home: Path, scope: str = "read") -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(home, golden.workspace, scope)}"}


@pytest.fixture(scope="module")
def reader(golden: Golden, home: Path) -> dict[str, str]:
    return headers(golden, home)


def test_a_key_that_asks_too_often_is_told_when_to_come_again_and_others_are_served(
    store: Store, home: Path, golden: Golden
) -> None:
    eager, calm = headers(golden, home), headers(golden, home)
    path = f"/v1/profiles/{golden.anna[0]}"
    with serving(create_app(store, AccessKeys(home), home, rate=2)) as client:
        answers = [client.get(path, headers=eager) for _ in range(40)]
        refused = answers[-1]
        assert [each.status_code for each in answers[:20]] == [200] * 20
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert refused.headers["retry-after"] == "1"
        assert client.get(path, headers=calm).status_code == 200
        time.sleep(1)
        assert client.get(path, headers=eager).status_code == 200
        assert client.get("/health").status_code == 200


def test_an_address_without_a_live_key_is_refused_after_a_while_and_a_live_key_from_it_is_not(
    store: Store, home: Path, reader: dict[str, str], golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "STRANGER_RATE", 1)
    with serving(create_app(store, AccessKeys(home), home)) as client:
        made_up = {"Authorization": "Bearer kr_none"}
        answers = [client.post(LOOKUP, content=b"x", headers=made_up) for _ in range(10)]
        answers += [client.get("/v1/changes") for _ in range(30)]
        assert [each.status_code for each in answers[:10]] == [401] * 10
        assert "too_many_requests" in {each.json()["code"] for each in answers[10:]}
        assert client.get(f"/v1/profiles/{golden.anna[0]}", headers=reader).status_code == 200


def test_a_key_in_a_url_is_refused_and_told_by_its_public_name(
    client: httpx.Client,
    reader: dict[str, str],
    home: Path,
    golden: Golden,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = create_key(home, golden.workspace, "read")
    for path in (f"/v1/changes?key={key}", f"/v1/profiles/{key}", "/v1/changes?key=%6b" + key[1:]):
        answer = client.get(path, headers=reader)
        assert (answer.status_code, answer.json()["code"]) == (400, "key_in_url")
        assert key not in answer.text
    said = "".join(capfd.readouterr())
    access = AccessKeys(home).find(key)
    assert access is not None
    assert said.count(access.id) == 3
    assert key[4:] not in said
    assert client.get("/v1/changes?key=kr_" + "0" * 49, headers=reader).status_code == 200


def test_a_body_that_repeats_a_key_is_refused(client: httpx.Client, reader: dict[str, str]) -> None:
    asked = {**reader, "Content-Type": "application/json"}
    one = b'{"namespace":"user_id","value":"a"}'
    for body, pointer in (
        (b'{"identifiers":[%s],"identifiers":[]}' % one, "/identifiers"),
        (b'{"identifiers":[{"value":"b",%s]}' % one[1:], "/identifiers/0/value"),
    ):
        answer = client.post(LOOKUP, content=body, headers=asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "dup_key")
        assert answer.json()["pointer"] == pointer
    assert client.post(LOOKUP, content=b'{"identifiers":[%s]}' % one, headers=asked).status_code == 200


def query(*raws: Raw) -> dict[str, Any]:
    return {"identifiers": [{"namespace": n, "scope": s, "value": v} for n, s, v in raws]}


def test_any_spelling_of_any_identifier_finds_the_record(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    spellings = [("phone", "", "+86 138-0013-8001"), ("phone", "", "０１３８００１３８００１"), *ANNA]
    answer = client.post(LOOKUP, json=query(*spellings), headers=reader)
    assert answer.status_code == 200
    items = answer.json()["items"]
    found = [item for item in items if item["state"] == "member"]
    assert {item["profile_id"] for item in found} == {golden.anna[0]}
    assert [item["identifier_id"] for item in items[-3:]] == golden.anna
    profile = items[-1]["profile"]
    assert profile["behaviour_score"] == 26.206
    assert profile["behaviour_points"] == {
        "webinar": 20.0, "inactivity": -5.0, "price_page": 12.0, "complaint": -0.794
    }  # fmt: skip
    assert (profile["identity_score"], profile["stage"], profile["tags"]) == (15.0, "mql", ["vip"])
    assert profile["next_change_on"] == "2026-12-01"


def test_the_record_equals_the_public_view(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    same = [
        "profile_id", "traits", "behaviour_score", "identity_score", "behaviour_points", "identity_points",
        "stage", "tags", "segments", "first_channel", "last_channel", "owner", "event_count",
    ]  # fmt: skip
    sql = f"SELECT {', '.join(same)} FROM kintsugi.profiles WHERE workspace = {{w:String}}"
    shown = golden.store.query_rows(sql, {"w": golden.workspace})
    assert len(shown) == 2
    for row in shown:
        profile = client.get(f"/v1/profiles/{row[0]}", headers=reader).json()["profile"]
        for name, value in zip(same, row, strict=True):
            assert profile[name] == (dict(value) if name in _MAPS else value), name


def test_each_state_is_told(client: httpx.Client, golden: Golden, reader: dict[str, str]) -> None:
    wanted = [BOB, SHOP, BLOCKED, UNSCORED, ("phone", "", "13700137000")]
    invalid = [("crm", "", "1"), ("wechat_openid", "", "oAnna000001"), ("phone", "", "12")]
    items = client.post(LOOKUP, json=query(*wanted, *invalid), headers=reader).json()["items"]
    assert [(item["state"], item["profile_id"], item["reason"]) for item in items] == [
        ("member", golden.bob, None),
        ("shared", None, None),
        ("blocked", None, None),
        ("member", golden.unscored, None),
        ("unknown", None, None),
        ("invalid", None, "unknown_namespace"),
        ("invalid", None, "missing_scope"),
        ("invalid", None, "no_normal_form"),
    ]
    assert [item["profile"] is not None for item in items] == [True] + 7 * [False]


def test_a_merged_profile_redirects_uncached_and_brings_the_record(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    anna, email, _ = golden.anna
    merged = client.get(f"/v1/profiles/{email}", headers=reader)
    assert merged.status_code == 307
    assert merged.headers["Location"] == f"/v1/profiles/{anna}"
    assert merged.headers["Cache-Control"] == "no-store"
    canonical = client.get(merged.headers["Location"], headers=reader)
    assert canonical.status_code == 200
    assert merged.json() == canonical.json() | {"redirected_from": email}


def test_each_answer_says_how_fresh_it_is(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    expected = {"as_of": "2026-11-21", "ruleset": GENERATION, "evidence_through": "2026-11-18T11:06:40Z"}
    assert client.get(f"/v1/profiles/{golden.bob}", headers=reader).json()["freshness"] == expected
    for asked in (query(BOB), query(("crm", "", "1"))):
        assert client.post(LOOKUP, json=asked, headers=reader).json()["freshness"] == expected


def test_without_the_scope_pii_nothing_is_in_the_clear(
    client: httpx.Client, golden: Golden, home: Path, reader: dict[str, str]
) -> None:
    answer = client.post(LOOKUP, json=query(*ANNA), headers=reader)
    assert not [text for text in CLEAR if text in answer.text]
    profile = answer.json()["items"][0]["profile"]
    assert [i["value"] for i in profile["identifiers"]] == ["a***@example.com", "138****8001", "****0001"]
    assert (profile["traits"], profile["hidden_traits"]) == ({"city": "Shanghai"}, ["name"])
    opened = client.post(LOOKUP, json=query(*ANNA), headers=headers(golden, home, "pii")).json()
    profile = opened["items"][0]["profile"]
    assert opened["masked"] is False
    assert [i["value"] for i in profile["identifiers"]] == [
        "anna@example.com",
        "+8613800138001",
        "oAnna000001",
    ]
    assert (profile["traits"], profile["hidden_traits"]) == ({"city": "Shanghai", "name": "安娜"}, [])


_STRANGE = {"identifiers": [{"namespace": "phone", "value": "13800138001", "workspace": "x"}]}


@pytest.mark.parametrize(
    ("sent", "status", "code", "pointer"),
    [
        (b"{", 400, "bad_json", None),
        (b"{}", 422, "bad_request", "/identifiers"),
        (b'{"identifiers":[]}', 422, "bad_request", "/identifiers"),
        (json.dumps(_STRANGE).encode(), 422, "bad_request", "/identifiers/0/workspace"),
        (json.dumps(query(*[BOB] * 1001)).encode(), 422, "too_many_items", "/identifiers"),
        (b" " * (6 << 20), 413, "body_too_large", None),
    ],
)  # fmt: skip
def test_a_refusal_names_code_and_place_and_repeats_no_value(
    client: httpx.Client, reader: dict[str, str], sent: bytes, status: int, code: str, pointer: str | None
) -> None:
    answer = client.post(LOOKUP, content=sent, headers={**reader, "Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert pointer is None or problem["pointer"] == pointer
    assert "13800138001" not in answer.text


def test_only_a_live_read_key_opens(client: httpx.Client, golden: Golden, home: Path) -> None:
    for sent, status, code in (
        ({}, 401, "unknown_key"),
        ({"Authorization": "Bearer kr_wrong"}, 401, "unknown_key"),
        (headers(golden, home, "ingest"), 403, "wrong_scope"),
    ):
        for answer in (
            client.get(f"/v1/profiles/{golden.bob}", headers=sent),
            client.post(LOOKUP, json=query(BOB), headers=sent),
        ):
            assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["0" * 32, "nothing", "A" * 32, "%27%20OR%201"])
def test_an_unknown_profile_is_not_found(client: httpx.Client, reader: dict[str, str], path: str) -> None:
    answer = client.get(f"/v1/profiles/{path}", headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_profile")


def test_a_shared_identifier_is_no_profile(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    answer = client.get(f"/v1/profiles/{golden.shop}", headers=reader)
    assert answer.status_code == 300
    told = answer.json()
    assert (told["state"], told["profiles"]) == ("shared", [{"profile_id": golden.bob, "event_count": 1}])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_key_reaches_another_workspace(
    client: httpx.Client, golden: Golden, neighbour: Golden, home: Path, data: st.DataObject
) -> None:
    mine, other = data.draw(st.permutations([golden, neighbour]))
    key = _key(mine, home, data.draw(st.sampled_from(["read", "pii"])))
    foreign = data.draw(st.sampled_from([*other.anna, other.bob, other.shop, other.blocked, other.unscored]))
    assert client.get(f"/v1/profiles/{foreign}", headers=key).status_code == 404
    asked = query(*data.draw(st.lists(st.sampled_from([*ANNA, BOB, SHOP, UNSCORED]), min_size=1, max_size=5)))
    text = client.post(LOOKUP, json=asked, headers=key).text
    assert not [i for i in (*other.anna, other.bob, other.shop, other.unscored) if i in text]


_keys: dict[tuple[str, str], dict[str, str]] = {}


def _key(golden: Golden, home: Path, scope: str) -> dict[str, str]:
    if (golden.workspace, scope) not in _keys:
        _keys[golden.workspace, scope] = headers(golden, home, scope)
    return _keys[golden.workspace, scope]


def test_concurrent_lookups_are_coalesced_and_each_gets_its_own_answer(
    store: Store, golden: Golden, neighbour: Golden, home: Path
) -> None:
    people = [f"{n:032x}" for n in range(1, 101)]
    for tenant in (golden, neighbour):
        base = {"is_tombstone": 0, "stage": tenant.workspace}
        tenant.insert(
            "profile_rows", *({"profile_id": p, "members": [p], "owner": p, **base} for p in people)
        )
    app = create_app(store, AccessKeys(home), home)
    asked = [(tenant, person) for tenant in (golden, neighbour) for person in people]
    random.Random(3).shuffle(asked)

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            sent = [http.get(f"/v1/profiles/{p}", headers=_key(t, home, "read")) for t, p in asked]
            return await asyncio.gather(*sent)

    for (tenant, person), answer in zip(asked, asyncio.run(all_at_once()), strict=True):
        profile = answer.json()["profile"]
        assert (profile["profile_id"], profile["owner"], profile["stage"]) == (
            person,
            person,
            tenant.workspace,
        )
    assert app.state.query.coalescer.asked <= 20  # of 200


def test_health_and_metrics_name_no_person_and_no_tenant(
    client: httpx.Client, golden: Golden, reader: dict[str, str]
) -> None:
    client.get(f"/v1/profiles/{golden.bob}", headers=reader)
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    metrics = client.get("/metrics").text
    assert 'kintsugi_query_request_seconds_count{route="/v1/profiles/{profile_id}",status="200"}' in metrics
    assert golden.bob not in metrics
    assert golden.workspace not in metrics


def test_a_store_that_does_not_answer_is_a_503(home: Path, golden: Golden, reader: dict[str, str]) -> None:
    nowhere = Store(StoreSettings(url="http://127.0.0.1:9", patience=0.1))
    with serving(create_app(nowhere, AccessKeys(home), home)) as client:
        for answer in (client.post(LOOKUP, json=query(BOB), headers=reader), client.get("/health")):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["Retry-After"]


def test_a_body_that_does_not_arrive_is_given_up(
    store: Store, home: Path, golden: Golden, reader: dict[str, str]
) -> None:
    with serving(create_app(store, AccessKeys(home), home, body_timeout=0.5)) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, timeout=10) as slow:
            key = reader["Authorization"]
            head = (
                f"POST {LOOKUP} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 100\r\n\r\n{{"
            )
            slow.sendall(head.encode())
            assert client.get(f"/v1/profiles/{golden.bob}", headers=reader).status_code == 200
            answer = slow.recv(65536)
            assert answer.startswith(b"HTTP/1.1 429")
            assert b"retry-after" in answer.lower()


def test_the_client_example_runs(client: httpx.Client, reader: dict[str, str]) -> None:
    key = reader["Authorization"].removeprefix("Bearer ")
    pairs = ["phone=138 0013 8001", "wechat_openid:wx1=oAnna000001", "phone=13900139000", "crm=1"]
    ran = subprocess.run(
        [sys.executable, EXAMPLE, str(client.base_url), key, *pairs],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.count("behaviour  26.206") == 2
    assert "known as   phone 138****8001" in ran.stdout
    assert "shared" in ran.stdout
    assert "invalid unknown_namespace" in ran.stdout


def test_every_field_of_the_reference_is_described(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    ours = {name: schema for name, schema in schemas.items() if "ValidationError" not in name}
    assert {"Profile", "LookupItem", "Freshness"} <= set(ours)
    bare = [
        f"{n}.{f}"
        for n, s in ours.items()
        for f, spec in s["properties"].items()
        if not spec.get("description")
    ]
    assert bare == []
    assert "not a confidence" in ours["Profile"]["properties"]["identity_score"]["description"]
