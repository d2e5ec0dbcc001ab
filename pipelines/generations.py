"""A ruleset as it travels: identity and scoring rules together, one canonical JSON text in the `open` record.

Invariant: operators know rules from records alone, and the same files always give the same text. Which generations are
open is decided by the newest word on each, the greatest (at, id), whatever the order in which a replay brings them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from identity.rules import IdentityRules
from schemas.log_record import Generation
from scoring.ruleset import ScoringRules

Words = Mapping[str, tuple[int, str, str]]
"""The newest word on each generation: (at, id, its ruleset), the ruleset empty when the word was `close`."""


def heard(words: Words, record: Generation) -> Words:
    """The words after one more record; `words` itself when that is an activation or older than what is known.

    >>> close = Generation(workspace="w", at=2, id="b", action="close", generation="g")
    >>> opened = Generation(workspace="w", at=1, id="a", action="open", generation="g", ruleset="{}")
    >>> heard(heard({}, close), opened) == heard(heard({}, opened), close)
    True
    """
    said = (record.at, record.id, record.ruleset if record.action == "open" else "")
    if record.action == "activate" or said[:2] <= words.get(record.generation, (-1, "", ""))[:2]:
        return words
    return {**words, record.generation: said}


def open_of(words: Words) -> dict[str, str]:
    """Ruleset of each generation that is open."""
    return {generation: ruleset for generation, (_, _, ruleset) in words.items() if ruleset}


@dataclass(frozen=True)
class Ruleset:
    """What a generation derives by."""

    identity: IdentityRules
    scoring: ScoringRules

    def to_json(self) -> str:
        """Canonical text: sorted keys, ASCII."""
        parts = {
            "identity": json.loads(self.identity.to_json()),
            "scoring": json.loads(self.scoring.to_json()),
        }
        return json.dumps(parts, sort_keys=True, separators=(",", ":"))

    @staticmethod
    @lru_cache(maxsize=64)
    def from_json(text: str) -> "Ruleset":
        """The ruleset of its canonical text."""
        parts = json.loads(text)
        return Ruleset(
            IdentityRules.from_json(json.dumps(parts["identity"])),
            ScoringRules.from_json(json.dumps(parts["scoring"])),
        )
