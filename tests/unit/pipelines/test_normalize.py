"""Promises of `normalize`: what one attempt sends, and what it does not send again."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.messages import unpack
from pipelines.normalize import Normalize, keys_in
from tests.worlds import RECEIVED_AT, World, lines


class Attempt:
    """The step of one attempt; every call is one record of the log."""

    def __init__(self, home: Path) -> None:
        self.world = World(home, "attempt")
        self.step = Normalize(1, keys_in(home))

    def sends(
        self, *events: dict[str, Any], received_at: int = RECEIVED_AT
    ) -> dict[str, list[dict[str, Any]]]:
        """Rows by table."""
        (line,) = lines(self.world.events(events, received_at=received_at))
        (message,) = self.step.line(line.decode())
        return {name: table.to_pylist() for name, table in unpack([message.body[1]]).items()}


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


def page(number: int, day: str = "2026-11-19", **fields: Any) -> dict[str, Any]:
    return {"type": "page", "messageId": f"m{number}", "timestamp": f"{day}T03:00:00Z", **fields}


def test_a_link_goes_with_the_sightings_of_its_ends_each_once(attempt: Attempt) -> None:
    """The ends' earlier sightings may wait in another land slot, those of the same record cannot."""
    user, browser = attempt.world.identifier("user_id", "u"), attempt.world.identifier("anonymous_id", "a")
    assert [row["identifier_id"] for row in attempt.sends(page(1, userId="u"))["sightings"]] == [user]
    sent = attempt.sends(page(2, anonymousId="a"), page(3, userId="u", anonymousId="a"))
    assert len(sent["links"]) == 1
    assert sorted(row["identifier_id"] for row in sent["sightings"]) == sorted([user, browser])


def test_what_was_sent_goes_again_only_for_another_day_or_an_earlier_receipt(attempt: Attempt) -> None:
    both = {"userId": "u", "anonymousId": "a"}
    evidence = {"identifiers", "sightings", "links"}
    assert attempt.sends(page(1, **both)).keys() & evidence == evidence
    assert attempt.sends(page(2, **both), received_at=RECEIVED_AT + 1).keys() & evidence == set()
    assert attempt.sends(page(3, "2026-11-18", **both)).keys() & evidence == {"sightings", "links"}
    again = attempt.sends(page(4, **both), received_at=RECEIVED_AT - 1)
    assert again.keys() & evidence == evidence
    assert [len(again[name]) for name in ("identifiers", "sightings", "links")] == [2, 2, 1]
    assert attempt.sends(page(5, **both)).keys() & evidence == set()


def test_the_kept_context_is_what_it_was_without_what_is_empty(attempt: Attempt) -> None:
    context = {"locale": "zh-CN", "userAgent": "", "page": {"b": 1, "a": "金"}, "ip": "1.2.3.4"}
    (event,) = attempt.sends(page(1, userId="u", context=context))["events"]
    assert event["context"] == '{"locale":"zh-CN","page":{"a":"\\u91d1","b":1}}'
