"""Evidence of identity: what was seen together, what was seen at all, and what stewards said.

Invariant: evidence is only ever added, and none of it depends on the identity rules. Days are ints, days
since 1970-01-01 in the time zone of the workspace; times are µs since 1970, UTC. An identifier has one
kind, since the kind follows from what its id hashes. On the day of a link both its ends have a sighting.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.ids import ordered

Pair = tuple[str, str]
"""Two identifier_ids, the smaller first."""

Verb = Literal["force", "never", "none"]


class Link(NamedTuple):
    """Two identifiers seen together in an event on `day`."""

    a: str
    b: str
    day: int


class Sighting(NamedTuple):
    """An identifier seen on `day`; `kind` is its namespace, or `namespace|pattern1,pattern2`."""

    identifier: str
    kind: str
    day: int


class Override(NamedTuple):
    """A steward's word on a pair: `force`, `never`, or `none` (withdrawn); holds on days before
    `expires_on`.
    """

    a: str
    b: str
    verb: Verb
    at: int
    id: str
    expires_on: int | None = None


def namespace_of(kind: str) -> str:
    """Namespace of a kind.

    >>> namespace_of("phone|test_phones")
    'phone'
    """
    return kind.partition("|")[0]


def patterns_of(kind: str) -> frozenset[str]:
    """Named patterns of a kind.

    >>> sorted(patterns_of("phone|test_phones,zeros"))
    ['test_phones', 'zeros']
    """
    names = kind.partition("|")[2]
    return frozenset(names.split(",")) if names else frozenset()


def overrides_in_force(overrides: Iterable[Override], date: int) -> tuple[list[Pair], set[Pair]]:
    """Force-linked pairs, newest first, and never-linked pairs on `date`.

    For each pair the newest override wins, the greatest (at, id); once that one has expired the pair has
    none: an older word does not come back. An override has no first day: it holds for every date until it
    expires.
    """
    newest: dict[Pair, Override] = {}
    for override in overrides:
        pair = ordered(override.a, override.b)
        if pair not in newest or (override.at, override.id) > (newest[pair].at, newest[pair].id):
            newest[pair] = override
    holding = [
        (o.at, o.id, pair, o.verb)
        for pair, o in newest.items()
        if pair[0] != pair[1] and (o.expires_on is None or date < o.expires_on)
    ]
    forces = [pair for _, _, pair, verb in sorted(holding, reverse=True) if verb == "force"]
    return forces, {pair for _, _, pair, verb in holding if verb == "never"}
