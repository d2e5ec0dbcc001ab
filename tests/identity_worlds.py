"""Generated worlds for the laws of identity: few identifiers, many meetings, tight rules.

Invariant: a world is dense enough that limits, sharing, expiry and overrides all happen
(tests/laws/test_identity_function.py counts them).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

import yaml
from hypothesis import strategies as st

from identity.evidence import Link, Override, Sighting, Verb
from identity.rules import IdentityRules, parse_rules
from tests.oracle import Truth, oracle

NAMESPACES = ("user", "union", "phone", "email", "cookie", "other")
DAYS = 14


def identify(namespace: str, value: str) -> str:
    """A short id; its order has nothing to do with the namespace."""
    return blake2b(f"{namespace}:{value}".encode(), digest_size=3).hexdigest()


@dataclass
class World:
    """Identifiers with their kinds, rules as a document and parsed, evidence piece by piece."""

    kinds: dict[str, str]
    document: dict[str, Any]
    rules: IdentityRules
    events: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)

    def sightings(self, day: int, identifiers: tuple[str, ...]) -> list[Sighting]:
        """Sightings of an event."""
        return [Sighting(i, self.kinds[i], day) for i in identifiers]

    def links(self, day: int, identifiers: tuple[str, ...]) -> list[Link]:
        """Links of an event: all its pairs."""
        ordered = sorted(identifiers)
        return [Link(a, b, day) for n, a in enumerate(ordered) for b in ordered[n + 1 :]]

    @property
    def all_sightings(self) -> list[Sighting]:
        """Sightings of all events."""
        return [s for event in self.events for s in self.sightings(*event)]

    @property
    def all_links(self) -> list[Link]:
        """Links of all events."""
        return [link for event in self.events for link in self.links(*event)]

    def truth(self, date: int) -> Truth:
        """What the oracle says."""
        return oracle(self.all_links, self.all_sightings, self.overrides, self.document, identify, date)


def make_document(random: Random) -> dict[str, Any]:
    """An identity.yaml as a document."""
    entries: list[dict[str, Any]] = []
    for name in random.sample(NAMESPACES[:5], random.randint(2, 5)):
        entry: dict[str, Any] = {"name": name}
        if random.random() < 0.5:
            entry["max_per_profile"] = random.randint(1, 2)
        if random.random() < 0.5:
            entry["shared_above"] = {random.choice(NAMESPACES): random.randint(1, 2) for _ in range(2)}
        if random.random() < 0.5:
            entry["with"] = {random.choice(NAMESPACES[:5]): random.randint(1, 2)}
        if random.random() < 0.6:
            entry["keep"] = random.choice(("first", "latest"))
        if random.random() < 0.3:
            entry["link_ttl"] = f"{random.randint(1, 7)}d"
        entries.append(entry)
    blocked = [{"phone": "0"}] if random.random() < 0.3 else []
    return {"namespaces": entries, "blocked": {"patterns": ["zeros"], "values": blocked}}


def make_override(random: Random, kinds: Collection[str], id_: str) -> Override:
    """A steward's word on some pair."""
    a, b = random.sample(sorted(kinds), 2)
    verb: Verb = random.choice(("force", "force", "never", "never", "none"))
    expires_on = random.choice((None, random.randint(1, DAYS + 4)))
    return Override(a, b, verb, random.randint(0, 9), id_, expires_on)


def make_event(random: Random, kinds: Collection[str], days: range) -> tuple[int, tuple[str, ...]]:
    """Identifiers that meet on a day."""
    return random.choice(days), tuple(random.sample(sorted(kinds), random.choice((1, 2, 2, 2, 3))))


def make_world(random: Random, events: int) -> World:
    """A world with so many events, and few overrides or many of few identifiers."""
    document = make_document(random)
    kinds: dict[str, str] = {}
    present = random.sample(NAMESPACES, random.randint(2, 6))
    for n in range(random.randint(4, 12)):
        namespace = random.choice(present)
        kinds[identify(namespace, str(n))] = namespace + ("|zeros" if random.random() < 0.1 else "")
    world = World(kinds, document, parse_rules(yaml.safe_dump(document), identify))
    world.events = [make_event(random, kinds, range(-2, DAYS + 3)) for _ in range(events)]
    disputed = random.sample(sorted(kinds), random.randint(3, len(kinds)))
    world.overrides = [
        make_override(random, disputed, f"o{n}") for n in range(random.choice((0, 1, 2, 4, 16)))
    ]
    return world


worlds = st.builds(make_world, st.randoms(use_true_random=True), st.integers(0, 60))
"""Worlds for hypothesis: the number of events shrinks, the rest comes from a seed."""
