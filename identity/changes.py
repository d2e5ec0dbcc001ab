"""What a call of the resolver changed, for those who publish it.

Invariant: rows are the whole content of what they replace, so to apply them twice is to apply them once; moves
are a journal, told at least once.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from identity.evidence import Pair
from identity.limits import Refusal
from identity.records import IdentityRow

Cause = Literal["link", "override", "expiry", "sharing", "date"]


class Move(NamedTuple):
    """An identifier went from one profile to another, as the journal tells it."""

    identifier: str
    from_profile: str
    to_profile: str
    cause: Cause
    evidence: str
    """The identifiers concerned, separated by a space."""


@dataclass
class Changes:
    """What one call changed, row by row; all empty when nothing did.

    `clusters`: profile_id → members ascending, of two and more; () where there is none any more: the profile
    joined another, or its founding identifier is left alone (`current` tells which). `refused`: None where a
    link is refused no longer. `touched`: identifiers seen with one that became shared; their rows may stand,
    but events may now count for them.
    """

    identifiers: dict[str, IdentityRow] = field(default_factory=dict)
    clusters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    refused: dict[Pair, Refusal | None] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def append(self, later: "Changes") -> None:
        """Take in what changed afterwards."""
        self.identifiers |= later.identifiers
        self.clusters |= later.clusters
        self.excluded |= later.excluded
        self.refused |= later.refused
        self.moves += later.moves
        self.touched |= later.touched
