"""Packs: records of some identifiers as columns, cheap to write, which become records when one is asked for.

Invariant: a pack is plain data, and what it holds are records as identity/working_set.py describes them.
"""

from typing import Any, NamedTuple

from identity.rules import Rank

CHUNK = 64
"""Neighbours under one key."""
PACK = 16
"""Identifiers of a pack."""
STATES = ("", "blocked", "shared")


class Pack(NamedTuple):
    """Identifiers with their pairs, and the clusters that they found; lists of lists are laid end to end."""

    ids: list[str]
    """Ascending."""
    kinds: list[str]
    days: list[int]
    """First day of each."""
    profiles: list[str]
    states: list[int]
    """Place in STATES."""
    counters: list[int]
    """As many of each identifier."""
    degrees: list[int]
    neighbours: list[str]
    """As many of each as its degree."""
    pairs: list[int]
    """Of how many pairs each is the smaller end."""
    others: list[str]
    firsts: list[int]
    lasts: list[int]
    refusals: dict[int, tuple[str, str]]
    """Place of a pair → reason and blocker."""
    founders: list[int]
    """Places of identifiers whose clusters have a record."""
    counts: list[int]
    """As many of each founder."""
    bottlenecks: list[Rank]
    contested: list[bool]
    sizes: list[int]
    """Members of each founder's cluster; 0 where it is alone."""
    members: list[str]


def records(pack: Pack) -> dict[str, dict[str, Any]]:
    """Records of each identifier by field."""
    found: dict[str, dict[str, Any]] = {}
    width = len(pack.counters) // len(pack.ids)
    near = first = 0
    for at, (id_, kind, day, profile, state, degree, pairs) in enumerate(
        zip(
            pack.ids, pack.kinds, pack.days, pack.profiles, pack.states, pack.degrees, pack.pairs, strict=True
        )
    ):
        counters = tuple(pack.counters[at * width : (at + 1) * width])
        fields: dict[str, Any] = {"i": (kind, day, profile, STATES[state], degree, counters)}
        neighbours = pack.neighbours[near : near + degree]
        for k in range(0, degree, CHUNK):
            fields[f"n{k // CHUNK}"] = tuple(neighbours[k : k + CHUNK])
        for pair in range(first, first + pairs):
            days, refusal = (pack.firsts[pair], pack.lasts[pair]), pack.refusals.get(pair)
            fields["l" + pack.others[pair]] = (*days, refusal, None) if refusal else days
        found[id_] = fields
        near, first = near + degree, first + pairs
    start, width = 0, len(pack.counts) // max(1, len(pack.founders))
    for n, (at, bottleneck, is_contested, size) in enumerate(
        zip(pack.founders, pack.bottlenecks, pack.contested, pack.sizes, strict=True)
    ):
        fields = found[pack.ids[at]]
        fields["c"] = (tuple(pack.counts[n * width : (n + 1) * width]), bottleneck, (), is_contested)
        if size:
            fields["m"] = tuple(pack.members[start : start + size])
        start += size
    return found


def key_of(identifier: str, field: str) -> str:
    """Key of a record in the state: a field is a letter, and what tells its records of one identifier apart.

    >>> key_of("ab", "i"), key_of("ab", "n0")
    ('i:ab', 'n:ab:0')
    """
    return f"{field[0]}:{identifier}:{field[1:]}" if len(field) > 1 else f"{field}:{identifier}"
