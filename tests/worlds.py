"""A workspace for tests: keys, rules and log lines, made with the product's own front ends."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from identity.normalize import normalize
from identity.rules import parse_rules
from pipelines.generations import Ruleset
from schemas import log_record
from schemas.events import admit
from schemas.ids import identifier_id
from schemas.log_record import AnyRecord, Events, encode
from schemas.workspace import Workspace, parse_workspace
from scoring.profile_rules import parse_segment
from scoring.ruleset import parse_scoring, with_segments
from store import keyring
from store.keyring import KeyGeneration

RECEIVED_AT = 1_795_241_600_000_000
"""A moment of 2026-11-21, µs."""

WORKSPACE = "time_zone: Asia/Shanghai\nregion: CN\n"
IDENTITY = """
namespaces:
  - {name: user_id, max_per_profile: 1}
  - {name: phone, max_per_profile: 2, shared_above: {wechat_openid: 4}}
  - {name: email, max_per_profile: 2}
  - {name: wechat_openid}
  - {name: anonymous_id, shared_above: {phone: 3}}
"""
SCORING = """
behaviour:
  rules:
    - {name: pages, event: Page Viewed, points: 2, cap: {points: 6, per: day}, decay: {half_life: 14d}}
    - {name: webinar, event: Webinar Joined, where: "number(properties['minutes']) > 9", points: 20,
       decay: {window: 5d}}
    - {name: forms, event: Form Submitted, points: 15, cap: {points: 30, per: lifetime}}
  inactivity: {after: 4d, points: -5, every: 2d, floor: -20}
identity:
  rules:
    - {name: reachable, when: "has(identifiers, 'phone')", points: 20}
    - {name: city, when: "traits['city'] != ''", points: 5}
"""

FILTERED = SCORING.replace(
    "identity:\n",
    """
  robots:
    - {name: model, where: "context['userAgent'] ILIKE '%V2408A%'"}
    - {name: burst, more_than: 9, per: day}
    - {name: managers, when: "traits['title'] = '总经理'"}
  cap: {points: 32, per: day}
  floor: -12
  ceiling: 60
identity:
  floor: 1
  grades: {A: 25, B: 5, C: 1}
""",
)
"""The same with robots filters, bounds and grades."""


class World:
    """One workspace: `home` holds its keys."""

    def __init__(
        self,
        home: Path,
        name: str,
        workspace: str = WORKSPACE,
        identity: str = IDENTITY,
        scoring: str = SCORING,
        segments: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.name = name
        self.workspace: Workspace = parse_workspace(name, workspace)
        if name not in keyring.names(home):
            keyring.create(home, name, self.workspace.to_json())
        self.keys: KeyGeneration = keyring.load(home, name)
        self.ruleset = self.rules(identity, scoring, segments)
        self._at = 0

    def rules(self, identity: str, scoring: str, segments: Sequence[str] = ()) -> str:
        """Canonical ruleset of the files' texts."""
        scored = with_segments(parse_scoring(scoring), [parse_segment(text) for text in segments])
        return Ruleset(parse_rules(identity, self.blocked_id), scored).to_json()

    def blocked_id(self, namespace: str, value: str) -> str:
        return self.identifier(namespace, value)

    def identifier(self, namespace: str, value: str, scope: str = "") -> str:
        """identifier_id of a raw value."""
        form = normalize(self.workspace.namespaces[namespace], value, self.workspace.region)
        assert form is not None
        return identifier_id(self.keys.pepper, namespace, scope, form)

    def events(
        self, events: Iterable[dict[str, Any]], size: int = 50, received_at: int = RECEIVED_AT
    ) -> list[Events]:
        """Log records of these events."""
        items = [admit(event) for event in events]
        return [
            Events(
                workspace=self.name, source="test", received_at=received_at, key_generation=self.keys.generation,
                batch=items[start : start + size],
            )
            for start in range(0, len(items), size)
        ]  # fmt: skip

    def _control(self) -> dict[str, Any]:
        self._at += 1
        return {"workspace": self.name, "at": self._at, "id": f"c{self._at}"}

    def opened(self, generation: str, ruleset: str = "") -> log_record.Generation:
        return log_record.Generation(
            **self._control(), action="open", generation=generation, ruleset=ruleset or self.ruleset
        )

    def activated(self, generation: str) -> log_record.Generation:
        return log_record.Generation(**self._control(), action="activate", generation=generation)

    def date(self, date: str) -> log_record.Date:
        return log_record.Date(**self._control(), date=date)

    def said(
        self, identifier: str, what: Literal["status", "tag", "untag", "outcome"], value: str, day: str
    ) -> log_record.Assertion:
        return log_record.Assertion(**self._control(), identifier=identifier, what=what, value=value, day=day)

    def override(self, verb: Literal["force", "never", "none"], a: str, b: str) -> log_record.Override:
        return log_record.Override(**self._control(), verb=verb, a=min(a, b), b=max(a, b))


def lines(records: Sequence[AnyRecord]) -> list[bytes]:
    """Lines of the log."""
    return [encode(record) for record in records]
