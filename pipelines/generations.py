"""A ruleset as it travels: identity and scoring rules together, one canonical JSON text in the `open` record.

Invariant: operators know rules from records alone, and the same files always give the same text.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from identity.rules import IdentityRules
from scoring.ruleset import ScoringRules


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
