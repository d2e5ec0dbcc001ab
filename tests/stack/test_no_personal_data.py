"""Personal data in the clear stands in the log alone: not in what processes print, keep or store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

PHONES = ("13987650001", "13987650002", "13987650003")
EMAILS = ("canary.one@seeded.example", "canary.two@seeded.example", "canary.three@seeded.example")
CANARIES = [text.encode() for text in (*PHONES, *EMAILS, "Canary Wang", "西湖区文三路金丝雀")]
FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}


def seed(stack: Stack, workspace: str) -> None:
    """Every way in: good events, sensitive traits and properties, rejects, refusals, lookups, mistakes."""
    events = [
        {"type": "identify", "messageId": f"c{n}", "userId": f"canary-{n}",
         "traits": {"phone": phone, "email": email, "name": "Canary Wang", "address": "西湖区文三路金丝雀"}}
        for n, (phone, email) in enumerate(zip(PHONES, EMAILS, strict=True))
    ]  # fmt: skip
    events.append({"type": "track", "event": "Form Submitted", "messageId": "c9", "userId": "canary-0",
                   "properties": {"phone": PHONES[0], "email": EMAILS[0]}})  # fmt: skip
    stack.send(workspace, events)
    write, read = (stack.write_keys[workspace], ""), {"Authorization": f"Bearer {stack.read_keys[workspace]}"}
    collector, api = stack.said.collector, stack.said.api
    bad = [{"type": "identify", "userId": {"phone": PHONES[1]}}, {"type": PHONES[2], "email": EMAILS[2]}]
    httpx.post(f"{collector}/v1/batch", json={"batch": bad}, auth=write, trust_env=False)
    httpx.post(
        f"{collector}/v1/batch",
        content=f'{{"batch": [{PHONES[0]}, "{EMAILS[0]}'.encode(),
        auth=write,
        trust_env=False,
    )
    httpx.get(f"{collector}/v1/{EMAILS[1]}?phone={PHONES[1]}", trust_env=False)
    for value in (PHONES[0], EMAILS[1], f"{PHONES[2]}x"):
        asked = {
            "identifiers": [{"namespace": "phone", "value": value}, {"namespace": value, "value": value}]
        }
        httpx.post(f"{api}/v1/profiles/lookup", json=asked, headers=read, trust_env=False)
    httpx.get(f"{api}/v1/profiles/{PHONES[0]}?email={EMAILS[0]}", headers=read, trust_env=False)


def leaks(home: Path) -> Iterator[str]:
    """Files beyond the log that hold a canary."""
    for path in sorted(home.rglob("*")):
        if path.is_file() and path.relative_to(home).parts[0] not in ("log", "kafka", "rules"):
            content = b""
            with contextlib.suppress(FileNotFoundError):
                content = path.read_bytes()
            yield from (
                f"{path.relative_to(home)}: {canary.decode()}" for canary in CANARIES if canary in content
            )


def test_seeded_people_are_nowhere_in_the_clear_but_in_the_log(stack: Stack) -> None:
    workspace = stack.workspace("canary", FILES)
    seed(stack, workspace)
    stack.cli("wait")
    assert stack.count("events", workspace) == 4
    assert any(
        canary in path.read_bytes() for path in (stack.home / "log").rglob("*.log") for canary in CANARIES
    )
    assert list(stack.home.glob("checkpoints/**/_metadata")), "there is a checkpoint to look into"
    assert list(leaks(stack.home)) == []


def test_no_table_holds_a_seeded_value(stack: Stack) -> None:
    tables = stack.store.query_rows(
        "SELECT name FROM system.tables WHERE database = 'kintsugi_store' AND engine LIKE '%MergeTree'"
    )
    assert len(tables) > 10
    for (table,) in tables:
        found = stack.store.query_rows(
            f"SELECT count() FROM kintsugi_store.{table}"
            " WHERE multiSearchAny(toString(tuple(*)), {values:Array(String)})",
            {"values": [canary.decode() for canary in CANARIES]},
        )
        assert found == [(0,)], table


def test_metrics_and_addresses_name_nobody(stack: Stack) -> None:
    for url in (stack.said.collector, stack.said.api):
        text = httpx.get(f"{url}/metrics", trust_env=False).text
        assert "kintsugi_" in text
        assert not any(canary.decode() in text for canary in CANARIES)
        assert "canary" not in text, "no workspace is a label"
