"""Stewards and changed rules on the real stack: what is said while events arrive, the pure functions say too."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import httpx
import pytest

from kintsugi.demo_data import journeys
from kintsugi.digest import Digest, digest
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}
WORD = {"author": "li.na", "reason": "called the customer"}
TWO_ACCOUNTS = IDENTITY.replace("user_id, max_per_profile: 1", "user_id, max_per_profile: 2")
PEOPLE = 400
"""Events before the rules change, and again while they do."""


def met(number: int, day: str, user: str, phone: str) -> dict[str, Any]:
    return {
        "type": "identify", "messageId": f"met-{number}", "timestamp": f"{day}T03:00:00Z", "userId": user,
        "traits": {"phone": phone},
    }  # fmt: skip


HANDED_ON = [
    met(1, "2026-11-02", "anna", "13900000001"),
    met(2, "2026-11-02", "bert", "13900000002"),
    # the same phone later: two accounts on it, which the rules keep apart
    met(3, "2026-11-09", "bert", "13900000001"),
]


class Story:
    """A workspace of the shared stack, asked and told as a steward does."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = stack.workspace(name, FILES)
        key = stack.cli("workspace", "key", name, "--scope", "steward").strip()
        self.api = httpx.Client(
            base_url=stack.said.api, trust_env=False, timeout=30, headers={"Authorization": f"Bearer {key}"}
        )

    def say(self, verb: str, a: tuple[str, str], b: tuple[str, str]) -> str:
        """Id of the override."""
        refs = {end: {"namespace": ref[0], "value": ref[1]} for end, ref in (("a", a), ("b", b))}
        answer = self.api.post("/v1/overrides", json={"verb": verb, **refs, **WORD})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["overrides"][0]["override_id"])

    def withdraw(self, override_id: str) -> None:
        assert self.api.delete(f"/v1/overrides/{override_id}", params=WORD).status_code == 202

    def are_one(self, *identifiers: tuple[str, str]) -> bool:
        return len({found["profile_id"] for found in self.stack.lookup(self.name, *identifiers)}) == 1

    def believed(self) -> Digest:
        """The digest, once everything is in; equal to what the pure functions say of the evidence."""
        self.stack.wait()
        found = self.stack.digest(self.name)
        assert found.profiles > PEOPLE / 10
        assert found.identifiers > PEOPLE / 10
        ((as_of,),) = self.stack.store.query_rows(
            "SELECT toString(as_of) FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}",
            {"w": self.name},
        )
        assert digest(self.stack.store, self.name, as_of) == found
        return found

    @contextmanager
    def arriving(self, events: list[dict[str, Any]]) -> Iterator[None]:
        """Events go on arriving in small requests until the block is done, and then all the rest."""
        done = threading.Event()

        def send() -> None:
            for start in range(0, len(events), 20):
                self.stack.send(self.name, events[start : start + 20])
                done.wait(0.2)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            done.set()
            sender.join()


@pytest.fixture
def story(stack: Stack) -> Iterator[Story]:
    made = Story(stack, "stewarded")
    yield made
    made.api.close()


def test_what_stewards_and_rules_change_while_events_arrive_is_what_evidence_says(story: Story) -> None:
    anna, bert, phone = ("user_id", "anna"), ("user_id", "bert"), ("phone", "13900000001")
    crowd = [e for batch in journeys(23, 2 * PEOPLE, date(2026, 11, 1), 18) for e in batch.events]
    assert story.stack.send(story.name, [*HANDED_ON, *crowd[:PEOPLE]]).accepted == PEOPLE + 3
    at_first = story.believed()
    assert story.are_one(anna, phone)
    assert not story.are_one(anna, bert), "refused by the limit of one account"

    force = story.say("force", anna, bert)
    never = story.say("never", anna, phone)
    forced = story.believed()
    assert story.are_one(anna, bert)
    assert forced != at_first
    story.withdraw(force)
    story.believed()
    assert story.are_one(bert, phone)
    assert not story.are_one(anna, phone), "the never-link still holds"
    story.withdraw(never)
    assert story.believed() == at_first, "what was withdrawn never was"

    (story.stack.config / story.name / "identity.yaml").write_text(TWO_ACCOUNTS)
    with story.arriving(crowd[PEOPLE:]):
        shown = story.stack.cli("rules", "preview", "--workspace", story.name, "--keep")
        assert "merged" in shown
        story.stack.cli("rules", "apply", "--workspace", story.name)
    applied = story.believed()
    assert applied.profiles > at_first.profiles, "all that arrived meanwhile is there"
    assert story.are_one(anna, bert, phone)
    story.stack.cli("rules", "rollback", "--workspace", story.name)
    back = story.believed()
    assert back.profiles > applied.profiles
    assert story.are_one(anna, phone)
    assert not story.are_one(anna, bert)
