"""Ground truth of the demo: whose each identifier and each message is, and what makes it hard.

Invariant: people and identifiers come from the events themselves, so nothing here goes beyond them.
"""

import unicodedata
from collections.abc import Iterator

from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.journeys import Batch
from kintsugi.demo_data.visits import Event

Identifier = tuple[str, str, str]
"""Namespace, scope, value as it was sent."""


def folded(namespace: str, scope: str, raw: str) -> Identifier:
    """All spellings of one identifier as one key (only as much as the demo's spellings need).

    >>> folded("phone", "", "００８６ 139-1234-5678")
    ('phone', '', '13912345678')
    """
    value = raw.strip()
    if namespace == "phone":
        digits = "".join(c for c in unicodedata.normalize("NFKC", value) if c.isdigit())
        value = digits[-11:]
    elif namespace == "email":
        value = value.lower()
    return namespace, scope, value


def identifiers_of(event: Event) -> Iterator[Identifier]:
    """Raw identifiers of an event; the same one may come twice."""
    if "userId" in event:
        yield "user_id", "", event["userId"]
    if "anonymousId" in event:
        yield "anonymous_id", "", event["anonymousId"]
    for entry in event["context"].get("externalIds", ()):
        yield entry["type"], entry.get("scope", ""), entry["id"]
    if event["type"] == "identify":
        traits = event["traits"]
        for name in ("phone", "email"):
            if name in traits:
                yield name, "", traits[name]


class Truth:
    """Collects the truth of batches; memory grows with identifiers and messages: not for load tests.

    >>> from datetime import date
    >>> from kintsugi.demo_data.journeys import journeys
    >>> truth = Truth()
    >>> for batch in journeys(seed=1, events=100, start_day=date(2026, 9, 1), days=7):
    ...     truth.add(batch)
    >>> truth.person_of("anonymous_id", "", "undefined") is None
    True
    """

    def __init__(self) -> None:
        self._people: dict[Identifier, tuple[int, ...]] = {}
        self._messages: dict[str, int | None] = {}
        self._causes: dict[Identifier, str] = {
            folded(namespace, "", value): words.PLACEHOLDER
            for namespace, values in words.PLACEHOLDERS.items()
            for value in values
        }
        # union-find over (person, identifier): which identifiers of one person some event connects
        self._parents: dict[tuple[int, Identifier], tuple[int, Identifier]] = {}

    def add(self, batch: Batch) -> None:
        """Take in the next batch; linear in its events."""
        for namespace, scope, value, cause in batch.causes:
            self._causes[folded(namespace, scope, value)] = cause
        for event, person in zip(batch.events, batch.people, strict=True):
            if event["messageId"] in self._messages:
                continue
            self._messages[event["messageId"]] = person
            keys = dict.fromkeys(folded(*raw) for raw in identifiers_of(event))
            for key in keys:
                owners = self._people.setdefault(key, ())
                if person is not None and person not in owners:
                    self._people[key] = (*owners, person)
            if person is not None:
                self._connect(person, [key for key in keys if self._causes.get(key) not in words.NOBODYS])

    def _connect(self, person: int, keys: list[Identifier]) -> None:
        roots = [self._root((person, key)) for key in keys]
        for root in roots[1:]:
            self._parents[root] = roots[0]
            roots[0] = self._root(roots[0])

    def _root(self, node: tuple[int, Identifier]) -> tuple[int, Identifier]:
        parents = self._parents
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = parents[parent]
            node = parents[node]
        return node

    def person_of(self, namespace: str, scope: str, raw: str) -> int | None:
        """Owner of an identifier in any spelling: who was seen with it first; None where it is nobody's.

        Raises KeyError when no event showed it (and it is no known placeholder).
        """
        key = folded(namespace, scope, raw)
        if self._causes.get(key) in words.NOBODYS:
            return None
        return self._people[key][0]

    def people_of(self, namespace: str, scope: str, raw: str) -> tuple[int, ...]:
        """Everyone who was seen with an identifier, in order of arrival; empty when nobody was."""
        return self._people.get(folded(namespace, scope, raw), ())

    def person_of_message(self, message_id: str) -> int | None:
        """Who did an event; None for a robot. Raises KeyError for an unknown messageId."""
        return self._messages[message_id]

    def messages(self) -> dict[str, int | None]:
        """Who did each message."""
        return dict(self._messages)

    def identifiers(self) -> dict[Identifier, int | None]:
        """Owner of every identifier seen, spellings folded; None where it is nobody's."""
        return {key: self.person_of(*key) for key in self._people}

    def causes(self) -> dict[Identifier, str]:
        """What makes identifiers hard, of those seen: what was planted, then what no event connects.

        Where a person's identifiers fall into several pieces that no event connects, those outside the
        largest piece (ties: the first seen) are a `never identified device` (anonymous ids) or an
        `unlinked account`.
        """
        causes = {
            key: cause
            for key, cause in self._causes.items()
            if key in self._people and (cause not in words.SHARED_BY_TWO or len(self._people[key]) > 1)
        }
        for pieces in self._pieces().values():
            for piece in sorted(pieces, key=len, reverse=True)[1:]:
                for key in piece:
                    is_device = key[0] == "anonymous_id"
                    label = words.NEVER_IDENTIFIED_DEVICE if is_device else words.UNLINKED_ACCOUNT
                    causes.setdefault(key, label)
        return causes

    def _pieces(self) -> dict[int, list[list[Identifier]]]:
        """For each person, their identifiers grouped by what events connect."""
        grouped: dict[tuple[int, Identifier], list[Identifier]] = {}
        for node in list(self._parents):
            grouped.setdefault(self._root(node), []).append(node[1])
        pieces: dict[int, list[list[Identifier]]] = {}
        for (person, _), members in grouped.items():
            pieces.setdefault(person, []).append(members)
        return pieces
