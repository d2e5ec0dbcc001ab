"""The presets on the real stack: their stories come out as told, and each change is handed over."""

import json
import shutil
import time
from datetime import date
from typing import Any

import httpx

from api.keys import create_key
from kintsugi import rules, rules_test
from kintsugi.settings import CHECKOUT
from kintsugi.story import Story
from kintsugi.waiting import wait_for
from schemas.log_record import AnyRecord, Generation
from tests.stacks import Stack

PRESETS = ("jingsocial", "zhiqu", "chenfeng")
ROUNDS = 4
"""Days of each story that are looked at; all of them are in tests/laws/test_stories.py."""
_EPOCH = date(1970, 1, 1)


def opened(stack: Stack, name: str) -> list[AnyRecord]:
    """A copy of a preset as a workspace of the stack, with the records that put its rules in force."""
    shutil.copytree(CHECKOUT / "workspaces" / name.removeprefix("told-"), stack.config / name)
    rules_test.new_keys(stack.settings, name)
    compiled = rules.check(stack.settings, name)
    told: dict[str, Any] = {"workspace": name, "generation": compiled.generation}
    return [
        Generation(**told, at=1, id="open", action="open", ruleset=compiled.ruleset),
        Generation(**told, at=2, id="put", action="activate"),
    ]


def shifted(stack: Stack, name: str) -> Story:
    """The story, moved by whole weeks behind today: dates in force only go forward."""
    first = rules_test.story_of(stack.settings, name).days[0]
    days = (date.today() - _EPOCH).days - first
    return rules_test.story_of(stack.settings, name, (days // 7 + 2) * 7)


def looked_at(story: Story) -> list[int]:
    """A few of the days on which something is expected, the last among them."""
    days = sorted({told.day for told in story.told if told.verb in ("stands", "are")})
    return [days[len(days) * n // ROUNDS - 1] for n in range(1, ROUNDS + 1)]


def test_presets_tell_their_stories_and_hand_their_leads_over(stack: Stack) -> None:
    names = [f"told-{preset}" for preset in PRESETS]
    log = stack.log()

    def take(records: list[AnyRecord]) -> None:
        log.append(records).result(30)
        assert wait_for(log.mark(names), stack.store, 120) == [], stack.logs()

    with log:
        first = [record for name in names for record in opened(stack, name)]
        stories = {name: shifted(stack, name) for name in names}
        take(first + [r for story in stories.values() for day in story.days for r in story.records(day)])
        count = 0
        for number in range(ROUNDS):
            days = {name: looked_at(story)[number] for name, story in stories.items()}
            take([stories[name].dated(day) for name, day in days.items()])
            for name, day in days.items():
                found = list(stories[name].expectations(stack.store, day))
                assert [str(each) for each in found if not each.is_met] == []
                count += len(found)
        assert count > 20
    for name in names:
        assert handed_over(stack, name) == changes(stack, name)
    last = {
        c["name"] for c in changes(stack, "told-zhiqu") if c["change"] == "stage" and c["cause"] == "time"
    }
    assert "customer" in last


def changes(stack: Stack, name: str) -> list[dict[str, Any]]:
    """All that the API tells a follower, page by page."""
    key = {"Authorization": f"Bearer {create_key(stack.home, name, 'read')}"}
    found: list[dict[str, Any]] = []
    while True:
        params = {"after": found[-1]["cursor"] if found else "", "limit": "50"}
        answer = httpx.get(
            f"{stack.said.api}/v1/changes", params=params, headers=key, trust_env=False, timeout=30
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()["changes"]
        if not page:
            return found
        found += page


def handed_over(stack: Stack, name: str) -> list[dict[str, Any]]:
    """What the process that `up` keeps has written, once it is quiet."""
    path, seen, deadline = stack.home / "handover" / f"{name}.ndjson", -1, time.monotonic() + 30
    while time.monotonic() < deadline:
        size = path.stat().st_size if path.exists() else 0
        if size and size == seen:
            break
        seen = size
        time.sleep(1.5)
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert {change.pop("workspace") for change in told} == {name}
    return told
