"""The digest: one hash of everything a workspace believes, equal for equal evidence, ruleset and date.

Invariant: nothing that depends on the order or moment of arrival enters it: no versions, no receive times, no `as_of`,
no ciphertexts, no journals. `digest` reads what is stored for the date in force; with a date it derives everything
from evidence with the pure functions. On the date in force both are equal, whatever way the records came.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from identity.clusters import clusters
from identity.evidence import Link, Sighting
from kintsugi.words import counted
from pipelines.generations import Ruleset
from pipelines.profiles import Profiles
from pipelines.resolve import days_of, overrides_of
from schemas.arrow import IDS
from schemas.errors import Problem
from schemas.ids import ranges
from store.client import Store

_CHUNK = 20_000
"""Profiles derived together."""
_SLICE = 200_000
"""Stored rows whose lines are asked for together."""
_PROFILE = """toJSONString(tuple(profile_id, arraySort(members), mapSort(trait_events), mapSort(points),
    arraySort(arrayMap(d -> (d.rule, toInt32(d.day), d.amount), decaying)), mapSort(identity_points),
    toString(identity_grade), toString(robot), toString(stage),
    arrayMap(h -> (h.stage, toInt32(h.day), h.cause, h.behaviour_score), stage_history),
    arraySort(tags), arraySort(segments), first_channel, last_channel, owner,
    toUnixTimestamp64Micro(first_seen_at), toUnixTimestamp64Micro(last_seen_at), event_count, behaviour_score))"""
"""Canonical line of a golden record, stored or computed; traits stand for themselves by the event they come from."""
_MAPPED = "toJSONString([identifier_id, profile_id, toString(state)])"
"""Canonical line of a row of the map."""


@dataclass(frozen=True)
class Digest:
    """A hash and what it was made of, so that nobody compares two digests of nothing."""

    sha256: str
    identifiers: int
    """Map rows that say something: identifiers with another profile than themselves, or excluded."""
    profiles: int
    """Golden records."""

    def __str__(self) -> str:
        return f"{self.sha256}  {counted(self.profiles, 'profile')}, {counted(self.identifiers, 'mapped identifier')}"


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


def _hash(identity: Iterable[list[str]], profiles: Iterable[list[str]]) -> Digest:
    """Hash of both parts; their lines come in slices, in the order of ids."""
    hashed = hashlib.sha256()
    counts = []
    for part in (identity, profiles):
        count = 0
        for lines in part:
            count += len(lines)
            hashed.update("".join(f"{line}\n" for line in lines).encode())
        counts.append(count)
    return Digest(hashed.hexdigest(), *counts)


def _stored(store: Store, workspace: str, generation: str) -> tuple[Iterable[list[str]], Iterable[list[str]]]:
    def lines(table: str, id_: str, line: str, condition: str) -> Iterator[list[str]]:
        rows = f"FROM kintsugi_store.{table} WHERE workspace = {{w:String}} AND generation = {{g:String}}"
        ask = {"w": workspace, "g": generation}
        ((count,),) = store.query_rows(f"SELECT count() {rows}", ask)
        slice_ = f"{id_} >= {{low:String}} AND {id_} < {{high:String}}"
        for low, high in ranges(count, _SLICE):
            found = store.query_arrow(
                f"SELECT {line} AS line {rows} AND {condition} AND {slice_} ORDER BY {id_}",
                {**ask, "low": low, "high": high},
            )
            yield found["line"].to_pylist()

    return (
        lines(
            "identity_map FINAL",
            "identifier_id",
            _MAPPED,
            "(profile_id != identifier_id OR state != 'member')",
        ),
        lines("scored_profiles(derivation = {g:String})", "profile_id", _PROFILE, "is_tombstone = 0"),
    )


def _derived(
    store: Store, workspace: str, generation: str, ruleset: Ruleset, date: int
) -> tuple[Iterable[list[str]], Iterable[list[str]]]:
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
    states = dict.fromkeys(assignment.profile_of, "member") | assignment.excluded
    mapped = [
        f'["{i}","{p}","{states[i]}"]'
        for i, p in sorted(assignment.profile_of.items())
        if i != p or i in assignment.excluded
    ]
    members: dict[str, list[str]] = {}
    for identifier in sorted({i for i, _, day in sightings if day <= date} - set(assignment.excluded)):
        members.setdefault(assignment.profile_of.get(identifier, identifier), []).append(identifier)
    computed = Profiles(store, workspace, generation, ruleset, date, excluded=sorted(assignment.excluded))

    def profiles() -> Iterator[list[str]]:
        ids = sorted(members)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            held = pa.array([members[profile_id] for profile_id in chunk], IDS)
            rows, score = computed.scored(pa.array(chunk, pa.utf8()), held, 0)
            found = store.query_arrow(
                f"SELECT {_PROFILE} AS line FROM computed WHERE is_tombstone = 0 ORDER BY profile_id",
                external={"computed": rows.append_column("behaviour_score", pa.array(score))},
            )
            yield found["line"].to_pylist()

    return [mapped], profiles()
