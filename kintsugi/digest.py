"""The digest: one hash of everything a workspace believes, equal for equal evidence, ruleset and date.

Invariant: nothing that depends on the order or moment of arrival enters it: no versions, no receive times, no `as_of`,
no ciphertexts, no journals. `digest` reads what is stored for the date in force; with a date it derives everything
from evidence with the pure functions. On the date in force both are equal, whatever way the records came.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from identity.clusters import clusters
from identity.evidence import Link, Sighting
from pipelines.generations import Ruleset
from pipelines.profiles import Profiles
from pipelines.resolve import days_of, overrides_of
from schemas.arrow import DAY, TIME
from schemas.errors import Problem
from store.client import Store

_CHUNK = 20_000
_COLUMNS = (
    "profile_id", "members", "trait_events", "points", "decaying", "identity_points", "stage", "tags", "segments",
    "first_channel", "last_channel", "owner", "first_seen_at", "last_seen_at", "event_count",
)  # fmt: skip
"""Columns of a golden record that the digest reads; traits stand for themselves by the event they come from."""


@dataclass(frozen=True)
class Digest:
    """A hash and what it was made of, so that nobody compares two digests of nothing."""

    sha256: str
    identifiers: int
    """Map rows that say something: identifiers with another profile than themselves, or excluded."""
    profiles: int
    """Golden records."""

    def __str__(self) -> str:
        return f"{self.sha256}  {self.profiles} profiles, {self.identifiers} mapped identifiers"


def digest(store: Store, workspace: str, date: str | None = None) -> Digest:
    """The digest of the stored map and profiles, or, for an ISO `date`, of what evidence says of that day.

    Raises Problem `unknown_workspace` when nothing is in force yet.
    """
    rows = store.query_rows(
        "SELECT i.generation, toInt32(i.as_of), g.ruleset FROM kintsugi_store.in_force AS i FINAL"
        " INNER JOIN (SELECT * FROM kintsugi_store.generations FINAL WHERE workspace = {w:String}) AS g"
        " ON g.generation = i.generation WHERE i.workspace = {w:String}",
        {"w": workspace},
    )
    if not rows:
        raise Problem("unknown_workspace", f"no ruleset is in force in workspace {workspace!r}")
    generation, _, ruleset = rows[0]
    if date is None:
        identity, profiles = _stored(store, workspace, generation)
    else:
        identity, profiles = _derived(store, workspace, generation, Ruleset.from_json(ruleset), days_of(date))
    return _hash(identity, profiles)


def digest_of(store: Store, workspace: str, generation: str) -> Digest:
    """The digest of what is stored of one generation, in force or beside it."""
    return _hash(*_stored(store, workspace, generation))


def _hash(identity: Iterable[str], profiles: Iterable[str]) -> Digest:
    hashed = hashlib.sha256()
    counts = []
    for lines in (sorted(identity), sorted(profiles)):
        counts.append(len(lines))
        for line in lines:
            hashed.update(line.encode() + b"\n")
    return Digest(hashed.hexdigest(), *counts)


def _line(*parts: Any) -> str:
    return json.dumps(parts, separators=(",", ":"))


def _stored(store: Store, workspace: str, generation: str) -> tuple[Iterable[str], Iterable[str]]:
    where = "FINAL WHERE workspace = {w:String} AND generation = {g:String}"
    ask = {"w": workspace, "g": generation}
    mapped = store.query_rows(
        "SELECT identifier_id, profile_id, state FROM kintsugi_store.identity_map " + where
        + " AND (profile_id != identifier_id OR state != 'member')",
        ask,
    )  # fmt: skip
    rows = store.query_arrow(
        f"SELECT {', '.join(_COLUMNS)} FROM kintsugi_store.profile_rows {where} AND is_tombstone = 0", ask
    )
    return (_line(*row) for row in mapped), _profile_lines(rows)


def _derived(
    store: Store, workspace: str, generation: str, ruleset: Ruleset, date: int
) -> tuple[Iterable[str], Iterable[str]]:
    ask = {"w": workspace}
    links = store.query_rows(
        "SELECT DISTINCT a, b, toInt32(day) FROM kintsugi_store.links WHERE workspace = {w:String}", ask
    )
    sightings = store.query_rows(
        "SELECT DISTINCT identifier_id, kind, toInt32(day) FROM kintsugi_store.sightings"
        " WHERE workspace = {w:String}", ask
    )  # fmt: skip
    assignment = clusters(
        [Link(*row) for row in links], [Sighting(*row) for row in sightings], overrides_of(store, workspace),
        ruleset.identity, date,
    )  # fmt: skip
    mapped = [
        _line(i, p, "member")
        for i, p in assignment.profile_of.items()
        if i != p and i not in assignment.excluded
    ]
    mapped += [_line(i, i, state) for i, state in assignment.excluded.items()]
    members: dict[str, list[str]] = {}
    for identifier in sorted({i for i, _, day in sightings if day <= date} - set(assignment.excluded)):
        members.setdefault(assignment.profile_of.get(identifier, identifier), []).append(identifier)
    computed = Profiles(store, workspace, generation, ruleset, date, excluded=sorted(assignment.excluded))

    def profiles() -> Iterator[str]:
        ids = sorted(members)
        for start in range(0, len(ids), _CHUNK):
            rows = computed.rows({p: members[p] for p in ids[start : start + _CHUNK]}, 0)
            living = rows.filter(pa.compute.equal(rows["is_tombstone"], 0))
            yield from _profile_lines(living.select(list(_COLUMNS)))

    return mapped, profiles()


def _profile_lines(rows: pa.Table) -> Iterator[str]:
    """One canonical line for each golden record: maps and parts sorted, times and days as integers."""
    plain = rows
    for index, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            plain = plain.set_column(index, field.name, rows[field.name].cast(TIME).cast(pa.int64()))
    for row in zip(*(plain[name].to_pylist() for name in _COLUMNS), strict=True):
        yield _line(*(_canonical(value) for value in row))


def _canonical(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], dict):
            epoch = pa.scalar(0, pa.int32()).cast(DAY).as_py()
            return sorted([part["rule"], (part["day"] - epoch).days, part["amount"]] for part in value)
        return sorted([list(item) if isinstance(item, tuple) else item for item in value])
    return value
