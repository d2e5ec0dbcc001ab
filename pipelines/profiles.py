"""Golden records of some profiles, computed from the store for one generation and date.

Invariant: a row is a function of stored evidence, map, ruleset and date; nothing is carried over from the row before.
A profile without events up to the date has a tombstone, which still knows the next day on which it must be looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.generations import Ruleset
from schemas.arrow import DAY, IDS, PROFILE_ROWS, TIME
from scoring.behaviour import NEVER, behaviour
from scoring.compile import when_select
from scoring.facts import activity_select, facts_select, traits_select
from scoring.fit import identity_points
from store.client import Store

Indexes = npt.NDArray[np.int64]

_TEXTS = pa.map_(pa.utf8(), pa.utf8())
_HELD = """SELECT t.profile_id AS profile_id, i.namespace AS namespace, i.mask AS mask
FROM (SELECT identifier_id, any(namespace) AS namespace, any(mask) AS mask FROM kintsugi_store.identifiers
    WHERE workspace = {w:String} AND identifier_id IN (SELECT identifier_id FROM touched) GROUP BY identifier_id) AS i
INNER JOIN touched AS t ON i.identifier_id = t.identifier_id"""
_PROFILES_OF = """SELECT t.identifier_id AS identifier_id, m.profile_id AS profile_id, m.state AS state
FROM touched AS t LEFT JOIN (
    SELECT identifier_id, argMax(profile_id, version) AS profile_id, argMax(state, version) AS state
    FROM kintsugi_store.identity_map WHERE workspace = {w:String} AND generation = {g:String}
        AND identifier_id IN (SELECT identifier_id FROM touched) GROUP BY identifier_id
) AS m ON t.identifier_id = m.identifier_id"""
_MEMBERS_OF = """SELECT profile_id, argMax(members, version) AS members FROM kintsugi_store.clusters
WHERE workspace = {w:String} AND generation = {g:String} AND profile_id IN (SELECT profile_id FROM wanted)
GROUP BY profile_id"""
_LIVING = """SELECT profile_id FROM kintsugi_store.profile_rows WHERE workspace = {w:String} AND generation = {g:String}
    AND profile_id IN (SELECT profile_id FROM wanted) GROUP BY profile_id HAVING argMax(is_tombstone, version) = 0"""


class Profiles:
    """Computes golden records of one generation on one date."""

    def __init__(
        self,
        store: Store,
        workspace: str,
        generation: str,
        ruleset: Ruleset,
        date: int,
        excluded: Sequence[str] | None = None,
    ) -> None:
        """`excluded`: identifiers that do not cluster, where they are not those that the store holds."""
        self._store = store
        self._workspace = workspace
        self._generation = generation
        self._ruleset = ruleset
        self._date = date
        self._excluded = excluded

    def write(self, identifiers: Sequence[str], version: int) -> None:
        """Write the rows of every profile that holds, or held, one of the identifiers."""
        members, gone = self._touched(identifiers)
        for rows in (self.rows(members, version), self._tombstones(gone, version)):
            self._store.insert_arrow("kintsugi_store.profile_rows", rows)

    def _ask(self, sql: str, **external: pa.Table) -> pa.Table:
        if self._excluded is not None:
            external["excluded"] = pa.table({"identifier_id": pa.array(self._excluded, pa.utf8())})
        return self._store.query_arrow(sql, {"w": self._workspace, "g": self._generation}, external)

    def _touched(self, identifiers: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
        """Members by profile of the identifiers, and those that are no profile of their own any more."""
        found = self._ask(_PROFILES_OF, touched=pa.table({"identifier_id": pa.array(identifiers, pa.utf8())}))
        profiles = {
            profile_id or identifier
            for identifier, profile_id, state in zip(*(c.to_pylist() for c in found.columns), strict=True)
            if state in ("", "member")
        }
        clusters = self._ask(
            _MEMBERS_OF, wanted=pa.table({"profile_id": pa.array(sorted(profiles), pa.utf8())})
        )
        members = {profile_id: [profile_id] for profile_id in profiles}
        for profile_id, ids in zip(*(column.to_pylist() for column in clusters.columns), strict=True):
            if ids:
                members[profile_id] = ids
        return members, sorted(set(identifiers) - profiles)

    def _tombstones(self, gone: list[str], version: int) -> pa.Table:
        living = (
            self._ask(_LIVING, wanted=pa.table({"profile_id": pa.array(gone, pa.utf8())})) if gone else None
        )
        ids = sorted(living["profile_id"].to_pylist()) if living else []
        return self._row_table(ids, {}, version)

    # one cycle ------------------------------------------------------------------------------------------------

    def rows(self, members: Mapping[str, Sequence[str]], version: int) -> pa.Table:
        """Rows of PROFILE_ROWS for these profiles, one each."""
        ids = sorted(members)
        if not ids:
            return PROFILE_ROWS.empty_table()
        touched = pa.table(
            {
                "profile_id": pa.array([p for p in ids for _ in members[p]], pa.utf8()),
                "identifier_id": pa.array([i for p in ids for i in members[p]], pa.utf8()),
            }
        )
        where = (self._workspace, self._generation, self._date)
        excluded = "" if self._excluded is None else "(SELECT identifier_id FROM excluded)"
        activity = self._activity(ids, self._ask(activity_select(*where, excluded=excluded), touched=touched))
        columns = {
            "members": pa.array([list(members[p]) for p in ids], IDS),
            **activity,
            **self._traits(
                ids,
                self._ask(traits_select(*where, self._ruleset.identity, excluded=excluded), touched=touched),
            ),
        }
        hits = self._ask(facts_select(*where, excluded=excluded), touched=touched)
        indexed = hits.set_column(0, "profile", _index(ids, hits["profile_id"]).cast(pa.int32()))
        result = behaviour(indexed, columns.pop("last_day"), self._ruleset.scoring, self._date)
        columns["points"], columns["decaying"] = result.points, result.decaying
        next_change = np.minimum(result.next_change_on, columns.pop("next_day"))
        columns["next_change_on"] = pa.array(next_change, pa.int32(), mask=next_change == NEVER).cast(DAY)
        columns["identifiers"] = self._identifiers(ids, self._ask(_HELD, touched=touched))
        columns["identity_points"] = self._fit(ids, columns)
        return self._row_table(ids, columns, version)

    def _activity(self, ids: list[str], found: pa.Table) -> dict[str, Any]:
        """Counts and times by profile, in the order of `ids`."""
        at = _index(ids, found["profile_id"]).to_numpy()
        count = np.zeros(len(ids), np.uint64)
        count[at] = found["event_count"].to_numpy()
        first, last = (_scatter(len(ids), at, found[name], 0) for name in ("first_seen_at", "last_seen_at"))
        days = _scatter(len(ids), at, found["last_day"], NEVER)
        days[count == 0] = NEVER
        return {
            "event_count": pa.array(count),
            "is_tombstone": pa.array((count == 0).astype(np.uint8)),
            "first_seen_at": pa.array(np.where(count == 0, 0, first)).cast(TIME),
            "last_seen_at": pa.array(np.where(count == 0, 0, last)).cast(TIME),
            "last_day": days.astype(np.int32),
            "next_day": _scatter(len(ids), at, found["next_day"], NEVER),
        }

    def _traits(self, ids: list[str], found: pa.Table) -> dict[str, Any]:
        """Traits, where they come from, channels and owner by profile."""
        order = pc.sort_indices(found, [("profile_id", "ascending"), ("name", "ascending")])
        found = found.take(order)
        own = pc.starts_with(found["name"], "$")
        sealed = pc.equal(found["is_sealed"], 1)
        columns: dict[str, Any] = {
            "traits": self._by_name(ids, found.filter(pc.and_not(pc.invert(own), sealed)), "value"),
            "sealed_traits": self._by_name(ids, found.filter(pc.and_(pc.invert(own), sealed)), "value"),
            "trait_events": self._by_name(ids, found.filter(pc.invert(own)), "event_id"),
        }
        for column, name, value in (
            ("first_channel", "$channel", "first_value"),
            ("last_channel", "$channel", "value"),
            ("owner", "$owner", "value"),
        ):
            rows = found.filter(pc.equal(found["name"], name))
            values = np.full(len(ids), "", object)
            values[_index(ids, rows["profile_id"]).to_numpy()] = rows[value].to_numpy()
            columns[column] = pa.array(values, pa.utf8())
        return columns

    @staticmethod
    def _by_name(ids: list[str], rows: pa.Table, value: str) -> pa.MapArray:
        """Map name -> value by profile; rows sorted by profile and name."""
        offsets = _offsets(len(ids), _index(ids, rows["profile_id"]).to_numpy())
        keys, values = rows["name"].combine_chunks(), rows[value].combine_chunks()
        return pa.MapArray.from_arrays(offsets, keys.cast(pa.utf8()), values.cast(pa.utf8())).cast(_TEXTS)

    @staticmethod
    def _identifiers(ids: list[str], held: pa.Table) -> pa.MapArray:
        """Masks by namespace and profile."""
        held = held.sort_by([(name, "ascending") for name in ("profile_id", "namespace", "mask")])
        at = _index(ids, held["profile_id"]).to_numpy()
        namespaces = held["namespace"].cast(pa.utf8()).combine_chunks()
        names = namespaces.dictionary_encode().indices.to_numpy()
        first = np.ones(len(at), bool)  # of its profile and namespace
        first[1:] = (at[1:] != at[:-1]) | (names[1:] != names[:-1])
        starts = np.append(np.flatnonzero(first), len(at)).astype(np.int32)
        masks = pa.ListArray.from_arrays(pa.array(starts), held["mask"].cast(pa.utf8()).combine_chunks())
        return pa.MapArray.from_arrays(
            _offsets(len(ids), at[first]), namespaces.filter(pa.array(first)), masks
        )

    def _fit(self, ids: list[str], columns: Mapping[str, Any]) -> pa.MapArray:
        """Identity points: the store judges the conditions over the rows of this cycle."""
        rules = self._ruleset.scoring
        if not rules.identity:
            return _empty("identity_points", len(ids))
        held = columns["identifiers"]
        events = columns["trait_events"]
        rows = pa.table(
            {
                "profile_id": pa.array(ids, pa.utf8()),
                "traits": columns["traits"],
                "trait_names": pa.ListArray.from_arrays(events.offsets, events.keys),
                "identifiers": pa.ListArray.from_arrays(held.offsets, held.keys),
                "event_count": columns["event_count"],
                **{name: columns[name] for name in ("first_channel", "last_channel", "owner")},
            }
        )
        judged = self._ask(
            when_select([rule.condition_sql() for rule in rules.identity], "cycle"), cycle=rows
        )
        flat = judged["results"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        results = np.zeros((len(ids), len(rules.identity)), np.uint8)
        results[_index(ids, judged["profile_id"]).to_numpy()] = flat.reshape(-1, len(rules.identity))
        return identity_points(results, rules).points

    def _row_table(self, ids: list[str], columns: Mapping[str, Any], version: int) -> pa.Table:
        """The table, with what the columns leave out: constants of the cycle, and nothing for a tombstone."""
        count = len(ids)
        fixed: dict[str, Any] = {
            "workspace": pa.repeat(self._workspace, count),
            "generation": pa.repeat(self._generation, count),
            "profile_id": pa.array(ids, pa.utf8()),
            "as_of": pa.repeat(pa.scalar(self._date, pa.int32()).cast(DAY), count),
            "version": pa.repeat(pa.scalar(version, pa.uint64()), count),
            "is_tombstone": pa.repeat(pa.scalar(1, pa.uint8()), count),
        }
        given = {**fixed, **columns}
        arrays = [given[f.name] if f.name in given else _empty(f.name, count) for f in PROFILE_ROWS]
        return pa.Table.from_arrays(arrays, schema=PROFILE_ROWS)


def _index(ids: list[str], values: pa.ChunkedArray) -> pa.Array:
    """Position in `ids` of each value; all are there."""
    found = pc.index_in(values.cast(pa.utf8()), pa.array(ids, pa.utf8()))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _offsets(count: int, at: Indexes) -> pa.Array:
    """Offsets of a list or map column from the sorted positions of its entries."""
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(at, minlength=count), out=offsets[1:])
    return pa.array(offsets)


def _scatter(count: int, at: Indexes, values: pa.ChunkedArray, missing: int) -> Indexes:
    """Integers (days, µs) at their positions, `missing` where there is none."""
    plain = values.cast(pa.int32() if values.type == DAY else pa.int64()).fill_null(missing)
    out = np.full(count, missing, np.int64)
    out[at] = plain.to_numpy()
    return out


def _empty(column: str, count: int) -> pa.Array:
    """A column that says nothing: empty text, list or map, zero, null."""
    kind = PROFILE_ROWS.field(column).type
    if column == "next_change_on":
        return pa.nulls(count, kind)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return pa.array([[]] * count, kind)
    return pa.repeat(
        pa.scalar("" if kind == pa.utf8() else 0, pa.int64() if kind == TIME else kind).cast(kind), count
    )
