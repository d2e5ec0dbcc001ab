"""The load under which things die: how large it is in CI and in `make soak`, and the stack that nobody disturbed."""

import os
from dataclasses import dataclass
from datetime import date

import orjson
import pytest

from kintsugi.demo_data import journeys
from pipelines.jars import JarsUnavailable, fetch
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

_ASKED = os.environ.get("KINTSUGI_SOAK")
SOAK = bool(_ASKED)
EVENTS = int(_ASKED or 100_000)
ROUNDS = 3 if SOAK else 1
"""How often each process dies."""
FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}
NAME = "undisturbed"


@dataclass(frozen=True)
class Undisturbed:
    """A workspace of the session's stack that has all events, and what others shall be compared with."""

    stack: Stack
    events: list[bytes]
    workspace: str = NAME

    @property
    def distinct(self) -> int:
        return len(set(self.events))


def undisturbed_in(stack: Stack) -> Undisturbed:
    """Sends the load; it is processed when `wait` of the stack has returned."""
    load = [orjson.dumps(e) for batch in journeys(23, EVENTS, date(2026, 11, 1), 18) for e in batch.events]
    stack.workspace(NAME, FILES)
    assert stack.send(NAME, load).accepted == EVENTS
    return Undisturbed(stack, load)


def need_jars() -> None:
    """What runs on Kafka is skipped where its jars cannot be had, except in CI."""
    try:
        fetch("broker")
        fetch("connector")
    except JarsUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
