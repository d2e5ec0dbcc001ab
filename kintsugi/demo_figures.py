"""What the demo shows, measured in the store and held against the truth of its generator.

Invariant: figures are data; nothing here draws, sends or waits. The truth is read with the normal forms of the
workspace, so an identifier here is the identifier of the store, whatever way it was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from identity.clusters import Assignment
from identity.evidence import Link
from identity.explain import how
from identity.normalize import normalize
from identity.quality import CauseCount, Quality, errors_by_cause, quality
from kintsugi.demo_data.truth import Identifier, Truth
from schemas.ids import identifier_id
from schemas.workspace import Workspace
from store.client import Store
from store.keyring import KeyGeneration

_EPOCH = date(1970, 1, 1).toordinal()
_FRAGMENTS = (5, 8)
"""A person with so many identifiers fits on a screen."""


@dataclass(frozen=True)
class Counts:
    """How many of what the workspace holds."""

    events: int
    identifiers: int
    profiles: int
    excluded: int
    """Identifiers that do not cluster: blocked or shared."""
    as_of: str
    """Date in force."""


@dataclass(frozen=True)
class Known:
    """The truth in terms of the store: its identifiers, whose they are, what makes them hard."""

    names: dict[str, Identifier]
    people: dict[str, int | None]
    causes: dict[str, str]


@dataclass(frozen=True)
class Fragment:
    """One identifier of a person."""

    namespace: str
    mask: str
    spellings: int
    """In how many ways it was written."""
    events: int
    first_day: date


@dataclass(frozen=True)
class Joint:
    """A link that made two pieces of a person one."""

    day: date
    event: str
    """Name of the event that shows both ends."""
    ends: tuple[str, str]
    """Masked, each behind its namespace."""
    pieces: int
    """How many are left after it."""


@dataclass(frozen=True)
class Person:
    """One profile, from fragments to the record."""

    profile_id: str
    fragments: list[Fragment]
    joints: list[Joint]
    links: int
    """Pairs of its identifiers that were seen together."""
    record: Mapping[str, Any]
    """Its row of `kintsugi.profiles` by column."""
    example: tuple[str, str]
    """Namespace and value, as somebody wrote it, of an identifier to look it up with."""


@dataclass(frozen=True)
class Again:
    """What the same events, sent again, changed."""

    new_profiles: int
    is_same_digest: bool


@dataclass(frozen=True)
class Figures:
    """Everything on the demo's screen."""

    sent: int
    distinct: int
    """Of them, as the generator knows; the others are copies."""
    rejected: int
    send_seconds: float
    whole_seconds: float
    """From the first event sent until the last one is in its profile."""
    memory_mib: int
    """Resident memory of all processes of the stack."""
    counts: Counts
    quality: Quality
    errors: list[CauseCount]
    person: Person
    digest: str
    again: Again | None
    """None in the first run."""


def counts(store: Store, workspace: str) -> Counts:
    """Figures of the whole workspace."""
    ((events, identifiers, profiles, excluded, as_of),) = store.query_rows(
        "SELECT (SELECT uniqExact(event_id) FROM kintsugi_store.events WHERE workspace = {w:String}),"
        " (SELECT uniqExact(identifier_id) FROM kintsugi_store.identifiers WHERE workspace = {w:String}),"
        " (SELECT count() FROM kintsugi_store.current_rows WHERE workspace = {w:String}),"
        " (SELECT count() FROM kintsugi_store.excluded_identifiers FINAL WHERE workspace = {w:String} AND reason != ''"
        "   AND generation IN (SELECT generation FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String})),"
        " (SELECT toString(any(as_of)) FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String})",
        {"w": workspace},
    )
    return Counts(int(events), int(identifiers), int(profiles), int(excluded), str(as_of))


def known(truth: Truth, workspace: Workspace, keys: KeyGeneration) -> Known:
    """The truth by identifier_id; what has no normal form is no identifier and is left out."""
    names: dict[str, Identifier] = {}
    for key in truth.identifiers():
        namespace, scope, value = key
        form = normalize(workspace.namespaces[namespace], value, workspace.region)
        if form is not None:
            names[identifier_id(keys.pepper, namespace, scope, form)] = key
    people, causes = truth.identifiers(), truth.causes()
    return Known(
        names,
        {i: people[key] for i, key in names.items()},
        {i: causes[key] for i, key in names.items() if key in causes},
    )


def judged(store: Store, workspace: str, truth: Known) -> tuple[Quality, list[CauseCount]]:
    """How well the stored map agrees with the truth, and the wrong pairs by cause."""
    rows = store.query_rows(
        "SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL WHERE workspace = {w:String}"
        " AND generation IN (SELECT generation FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String})",
        {"w": workspace},
    )
    assignment = {i: i for i in truth.names} | dict(rows)  # without a row an identifier is its own profile
    return quality(assignment, truth.people), errors_by_cause(assignment, truth.people, truth.causes)


def person(store: Store, workspace: str, truth: Known, spellings: Mapping[Identifier, set[str]]) -> Person:
    """The profile with the most kinds of identifier and, of those, the most spellings of one."""
    profile_id, members = _chosen(store, workspace, truth, spellings)
    ask = {"w": workspace, "p": profile_id, "ids": members}
    fragments = _fragments(store, ask, truth, spellings)
    joints, links = _joints(store, ask, fragments)
    table = store.query_arrow(
        "SELECT * FROM kintsugi.profiles WHERE workspace = {w:String} AND profile_id = {p:String}", ask
    )
    values = {field.name: table[field.name][0].as_py() for field in table.schema}
    maps = {field.name for field in table.schema if pa.types.is_map(field.type)}
    record = {name: dict(value) if name in maps else value for name, value in values.items()}
    written = {truth.names[i]: spellings[truth.names[i]] for i in members}
    key = min(written, key=lambda k: (k[0] != "phone", k[0] != "email", k))
    ordered = sorted(fragments.values(), key=lambda f: (f.first_day, f.namespace, f.mask))
    return Person(
        profile_id,
        ordered,
        joints,
        links,
        record,
        (key[0], max(written[key], key=lambda s: (s.isascii(), len(s), s))),
    )


def _chosen(
    store: Store, workspace: str, truth: Known, spellings: Mapping[Identifier, set[str]]
) -> tuple[str, list[str]]:
    rows = store.query_rows(
        "SELECT profile_id, members FROM kintsugi_store.current_rows WHERE workspace = {w:String}"
        " AND length(members) BETWEEN {least:UInt8} AND {most:UInt8}",
        {"w": workspace, "least": _FRAGMENTS[0], "most": _FRAGMENTS[1]},
    )

    def worth(row: tuple[Any, ...]) -> tuple[bool, int, int, int, str]:
        keys = [truth.names[i] for i in row[1] if i in truth.names]
        is_one = len({truth.people.get(i) for i in row[1]}) == 1
        kinds = len({namespace for namespace, _, _ in keys})
        ways = max((len(spellings[key]) for key in keys), default=0)
        return is_one and len(keys) == len(row[1]), kinds, ways, len(keys), max(map(str, keys))

    profile_id, members = max(rows, key=worth)
    return str(profile_id), list(members)


def _fragments(
    store: Store, ask: dict[str, Any], truth: Known, spellings: Mapping[Identifier, set[str]]
) -> dict[str, Fragment]:
    rows = store.query_rows(
        "SELECT i.identifier_id, i.namespace, i.mask, s.first_day, e.event_count FROM"
        " (SELECT identifier_id, any(namespace) AS namespace, any(mask) AS mask FROM kintsugi_store.identifiers"
        "   WHERE workspace = {w:String} AND identifier_id IN {ids:Array(String)} GROUP BY identifier_id) AS i"
        " INNER JOIN (SELECT identifier_id, min(day) AS first_day FROM kintsugi_store.sightings"
        "   WHERE workspace = {w:String} AND identifier_id IN {ids:Array(String)} GROUP BY identifier_id) AS s"
        "   ON i.identifier_id = s.identifier_id"
        " INNER JOIN (SELECT arrayJoin(arrayIntersect(identifiers, {ids:Array(String)})) AS identifier_id,"
        "   uniqExact(event_id) AS event_count FROM kintsugi_store.events WHERE workspace = {w:String}"
        "   GROUP BY identifier_id) AS e ON i.identifier_id = e.identifier_id",
        ask,
    )
    return {
        i: Fragment(namespace, mask, len(spellings[truth.names[i]]), int(events), first_day)
        for i, namespace, mask, first_day, events in rows
    }


def _joints(store: Store, ask: dict[str, Any], fragments: dict[str, Fragment]) -> tuple[list[Joint], int]:
    """The links that made pieces one, in order of time; and the number of all links of the profile."""
    rows = store.query_rows(
        "SELECT l.a, l.b, toInt32(l.day), e.event FROM (SELECT a, b, day, min(example_event) AS example_event"
        "   FROM kintsugi_store.links WHERE workspace = {w:String} AND a IN {ids:Array(String)}"
        "   AND b IN {ids:Array(String)} GROUP BY a, b, day) AS l"
        " LEFT JOIN (SELECT event_id, any(event) AS event FROM kintsugi_store.events WHERE workspace = {w:String}"
        "   GROUP BY event_id) AS e ON e.event_id = l.example_event",
        ask,
    )
    shown = {(a, b, day): event for a, b, day, event in rows}
    profile_id, members = ask["p"], ask["ids"]
    links = [Link(*key) for key in shown]
    assignment = Assignment(
        profile_of=dict.fromkeys(members, profile_id),
        members={profile_id: tuple(sorted(members))},
        accepted=tuple({(link.a, link.b) for link in links}),
    )
    steps = how(profile_id, assignment, links, max((link.day for link in links), default=0))
    piece = {i: i for i in members}
    joints: list[Joint] = []
    for step in steps:
        if step.first_day is None or piece[step.a] == piece[step.b]:
            continue
        old, new = piece[step.a], piece[step.b]
        piece = {i: new if p == old else p for i, p in piece.items()}
        ends = [f"{fragments[i].namespace} {fragments[i].mask}" for i in (step.a, step.b)]
        joints.append(
            Joint(
                date.fromordinal(_EPOCH + step.first_day),
                shown[step.a, step.b, step.first_day],
                (ends[0], ends[1]),
                len(set(piece.values())),
            )
        )
    return joints, len(assignment.accepted)
