"""The records that the resolver keeps: identifiers, pairs and clusters, and the store that holds them.

Invariant: a record is a plain tuple of text, ints, None and such tuples. What follows from others (whether a
link is accepted, whether it has expired) is not kept; a refusal is, as it was published.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from identity.evidence import Pair, Verb
from identity.limits import Refusal, Vector
from identity.packs import Pack, key_of, records
from identity.rules import IdentityRules, KindFacts, Rank


class State(Protocol):
    """Key-value store of one workspace and generation; values are plain: tuples, text, ints, None."""

    def get(self, key: str) -> Any | None:
        """Value of the key, None when there is none."""

    def put(self, key: str, value: Any) -> None:
        """Set the value of the key."""

    def delete(self, key: str) -> None:
        """Remove the key; nothing happens when there is none."""

    def fill(self, packs: Iterable[Pack]) -> None:
        """Put all records of packs of PACK identifiers, ascending, into a state that knows no identifier."""


class MemoryState:
    """State in a dict."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.get = self.values.get

    def put(self, key: str, value: Any) -> None:
        """Set the value of the key."""
        self.values[key] = value

    def delete(self, key: str) -> None:
        """Remove the key; nothing happens when there is none."""
        self.values.pop(key, None)

    def fill(self, packs: Iterable[Pack]) -> None:
        """Put the records of all packs."""
        for pack in packs:
            for identifier, fields in records(pack).items():
                for field, value in fields.items():
                    self.put(key_of(identifier, field), value)


class IdentityRow(NamedTuple):
    """Where an identifier belongs; `state` is member, shared or blocked. Without a row: (itself, member)."""

    profile_id: str
    state: str


class Identifier:
    """An identifier; `first_day` is None while only overrides name it."""

    __slots__ = (
        "counters", "degree", "exclusion", "facts", "first_day", "fresh", "id", "kind", "profile", "stored",
    )  # fmt: skip

    def __init__(self, id_: str, stored: tuple[Any, ...] | None, rules: IdentityRules) -> None:
        self.id = id_
        self.stored = stored
        self.fresh: list[str] = []
        self.kind: str
        self.first_day: int | None
        self.profile: str
        self.exclusion: str
        self.degree: int
        self.counters: Vector
        self.kind, self.first_day, self.profile, self.exclusion, self.degree, self.counters = stored or (
            "",
            None,
            id_,
            "",
            0,
            (),
        )
        self.facts: KindFacts = rules.facts(self.kind)

    @property
    def is_usable(self) -> bool:
        """True when it was sighted and is neither blocked nor shared: it clusters."""
        return self.first_day is not None and not self.exclusion

    @property
    def founding(self) -> tuple[int, int, str]:
        """The member of a cluster with the smallest one names the profile."""
        assert self.first_day is not None
        return (self.first_day, self.facts.strength, self.id)

    @property
    def row(self) -> IdentityRow:
        """Its published row."""
        return IdentityRow(self.profile, self.exclusion or "member")

    def record(self) -> tuple[Any, ...]:
        """Its value in the state."""
        return (self.kind, self.first_day, self.profile, self.exclusion, self.degree, self.counters)


class Couple:
    """A pair of identifiers, the smaller id first: its link, its override, its published refusal.

    `days` are the first and the last of its link, None without one.
    """

    __slots__ = ("days", "override", "refusal", "stored", "x", "y")

    def __init__(self, x: Identifier, y: Identifier, stored: tuple[Any, ...] | None) -> None:
        self.x = x
        self.y = y
        self.stored = stored
        self.days = stored_days(stored)
        self.refusal = stored_refusal(stored)
        self.override: tuple[Verb, int, str, int | None] | None
        """verb, at, id, expires_on of the newest."""
        self.override = (*stored, None, None)[3] if stored else None  # a pair that is only seen is short

    @property
    def pair(self) -> Pair:
        """The two ids."""
        return (self.x.id, self.y.id)

    @property
    def is_usable(self) -> bool:
        """True when both ends cluster."""
        return self.x.is_usable and self.y.is_usable

    def record(self) -> tuple[Any, ...] | None:
        """Its value in the state; short for the many links that are nothing but seen."""
        if self.refusal or self.override:
            return (*(self.days or (None, None)), self.refusal and tuple(self.refusal), self.override)
        return self.days


def stored_days(stored: tuple[Any, ...] | None) -> tuple[int, int] | None:
    """The days that a pair's value in the state holds."""
    return None if stored is None or stored[0] is None else (stored[0], stored[1])


def stored_refusal(stored: tuple[Any, ...] | None) -> Refusal | None:
    """The refusal that a pair's value in the state holds."""
    refusal = (*stored, None)[2] if stored else None
    return Refusal(*refusal) if refusal else None


class Cluster:
    """A cluster; `bottleneck` is an upper bound of the greatest rank that joined two parts of it.

    `contested`: a refused link may touch it. It may stay true after the last one is gone.
    """

    __slots__ = ("bottleneck", "contested", "counts", "members", "nevers", "profile", "stored")

    def __init__(self, profile: str, counts: Vector, stored: tuple[Any, ...] | None) -> None:
        self.profile = profile
        self.stored = stored
        self.counts = counts
        self.bottleneck: Rank = ()
        self.nevers: tuple[Pair, ...] = ()
        self.contested = False
        self.members: list[str] | None = None
        """None until asked for."""
        if stored:
            self.counts, self.bottleneck, self.nevers, self.contested = stored

    def record(self) -> tuple[Any, ...]:
        """Its value in the state."""
        return (self.counts, self.bottleneck, self.nevers, self.contested)
