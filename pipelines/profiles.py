"""Golden records of some profiles, computed from the store for one generation and date.

Invariant: a row is a function of stored evidence, map, ruleset and date; nothing is carried over from the row before.
A profile without events up to the date has a tombstone, which still knows the next day on which it must be looked at.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.columns import activity_columns, empty, trait_columns
from pipelines.cycle import Cycle
from pipelines.generations import Ruleset
from pipelines.journal import Journal
from pipelines.moments import Judge
from pipelines.standing import Scores, Standing
from schemas.arrow import DAY, IDS, PROFILE_ROWS
from scoring.behaviour import behaviour, counted_by_day
from scoring.events import NEVER, Int64s
from store.client import Store

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


PIECE = 10_000
"""Profiles whose columns are computed together: few enough to stay in the processor's cache."""


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
        judge: Judge | None = None,
    ) -> None:
        """`excluded`: identifiers that do not cluster, where they are not those that the store holds.

        `judge`: one that others ask as well, so that it remembers more.
        """
        self._judge = judge or Judge(store)
        self._store = store
        self._workspace = workspace
        self._generation = generation
        self._ruleset = ruleset
        self._date = date
        self._excluded = excluded

    def write(
        self, identifiers: pa.StringArray, version: int, journal: Journal | None = None, *, own: bool = False
    ) -> None:
        """Write the rows of every profile that holds, or held, one of the identifiers; the journal goes first.

        What has one version is inserted at once: whoever follows the journal by version sees all of it or nothing.
        With `own`, of those alone that the identifiers name: a walk over all identifiers computes each once.
        """
        ids, members, gone = self._touched(identifiers, own)
        tombstones = self._store.begin(partial(self._tombstones, gone, version))
        rows = pa.concat_tables([self.scored(ids, members, version)[0], tombstones.result()])
        if journal:
            journal.publish(rows, version)
        self._store.insert_arrow("kintsugi_store.profile_rows", rows)

    def _ask(self, sql: str, **external: pa.Table) -> pa.Table:
        if self._excluded is not None:
            external["excluded"] = pa.table({"identifier_id": pa.array(self._excluded, pa.utf8())})
        parameters = {"w": self._workspace, "g": self._generation} if "{w:String}" in sql else {}
        return self._store.query_arrow(sql, parameters, external)

    def _touched(
        self, identifiers: pa.StringArray, own: bool = False
    ) -> tuple[pa.StringArray, pa.ListArray, pa.StringArray]:
        """Profiles of the identifiers, ascending, their members, and the identifiers that are no profile (any more)."""
        found = self._ask(_PROFILES_OF, touched=pa.table({"identifier_id": identifiers}))
        itself, profile, state = (column.cast(pa.utf8()) for column in found.columns)
        profile = pc.if_else(pc.equal(profile, ""), itself, profile)
        clusters = pc.is_in(state, value_set=pa.array(["", "member"]))
        if own:
            clusters = pc.and_(clusters, pc.equal(profile, itself))
        ids = _ascending(pc.unique(profile.filter(clusters)))
        held = self._ask(_MEMBERS_OF, wanted=pa.table({"profile_id": ids})).combine_chunks()
        listed = held.filter(pc.greater(pc.list_value_length(held["members"]), 0)).combine_chunks()
        alone = pa.ListArray.from_arrays(pa.array(np.arange(len(ids) + 1, dtype=np.int32)), ids, IDS)
        among = pc.index_in(ids, value_set=listed["profile_id"])
        place = pc.fill_null(among, pa.scalar(-1, pa.int32())).to_numpy()
        place = np.where(place < 0, listed.num_rows + np.arange(len(ids)), place)
        members = pa.chunked_array([*listed["members"].cast(IDS).chunks, alone], IDS).combine_chunks()
        gone = identifiers.filter(pc.invert(pc.is_in(identifiers, value_set=ids)))
        return ids, members.take(pa.array(place)), gone

    def _tombstones(self, gone: pa.StringArray, version: int) -> pa.Table:
        if not len(gone):
            return PROFILE_ROWS.empty_table()
        living = self._ask(_LIVING, wanted=pa.table({"profile_id": gone}))["profile_id"]
        return self._row_table(_ascending(living), {}, version)

    # one cycle ------------------------------------------------------------------------------------------------

    def scored(self, ids: pa.StringArray, members: pa.ListArray, version: int) -> tuple[pa.Table, Int64s]:
        """Rows of PROFILE_ROWS for profiles with these members, one each, and their behaviour scores on the date."""
        if not len(ids):
            return PROFILE_ROWS.empty_table(), np.zeros(0, np.int64)
        excluded = "" if self._excluded is None else "(SELECT identifier_id FROM excluded)"
        cycle = Cycle(
            self._ask,
            self._judge,
            self._workspace,
            self._generation,
            self._ruleset,
            self._date,
            excluded,
            members,
        )
        if len(ids) <= PIECE:  # most of it is waiting; of many profiles, the answers would stay all at once
            cycle = cycle.at_once(self._store.begin)
        parts = [
            self._piece(ids[start : start + PIECE], piece, version) for start, piece in cycle.pieces(PIECE)
        ]
        return pa.concat_tables([rows for rows, _ in parts]), np.concatenate([score for _, score in parts])

    def _piece(self, ids: pa.StringArray, cycle: Cycle, version: int) -> tuple[pa.Table, Int64s]:
        """Rows and scores of the profiles of one cycle."""
        scoring, seen = self._ruleset.scoring, cycle.seen
        today = cycle.moments(np.arange(len(ids)), np.full(len(ids), self._date), today=True)
        fit, robots = today.fit, scoring.robots.profiles
        holds = today.judged([each.condition() for each in robots])
        robot = _first(holds, [each.name for each in robots])
        is_counted = robot == ""
        hits = cycle.events.hits
        if not is_counted.all():
            hits = hits.where(is_counted[hits.profile])
        counted = counted_by_day(hits, scoring, self._date)
        result = behaviour(hits, np.where(is_counted, seen.last_day, NEVER), scoring, self._date, counted)
        standing = Standing(cycle, Scores(counted, result.score, is_counted))
        stood, next_change = standing.columns(today, np.minimum(result.next_change_on, seen.next_day))
        columns = {
            "members": cycle.members,
            "identifiers": cycle.masks,
            "held": cycle.shown,
            **activity_columns(seen),
            **trait_columns(cycle.traits, len(ids), self._date),
            "points": result.points,
            "decaying": result.decaying,
            "identity_points": fit.points,
            "identity_grade": fit.grade,
            "robot": pa.array(robot, pa.utf8()),
            **stood,
            "next_change_on": pa.array(next_change.astype(np.int32), mask=next_change == NEVER).cast(DAY),
        }
        return self._row_table(ids, columns, version), result.score

    def _row_table(self, ids: pa.StringArray, columns: Mapping[str, Any], version: int) -> pa.Table:
        """The table, with what the columns leave out: constants of the cycle, and nothing for a tombstone."""
        count = len(ids)
        fixed: dict[str, Any] = {
            "workspace": pa.repeat(self._workspace, count),
            "generation": pa.repeat(self._generation, count),
            "profile_id": ids,
            "as_of": pa.repeat(pa.scalar(self._date, pa.int32()).cast(DAY), count),
            "version": pa.repeat(pa.scalar(version, pa.uint64()), count),
            "is_tombstone": pa.repeat(pa.scalar(1, pa.uint8()), count),
        }
        given = {**fixed, **columns}
        arrays = [given[f.name] if f.name in given else empty(f.name, count) for f in PROFILE_ROWS]
        return pa.Table.from_arrays(arrays, schema=PROFILE_ROWS)


def _ascending(texts: pa.StringArray | pa.ChunkedArray) -> pa.StringArray:
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return texts.take(pc.sort_indices(texts))


def _first(holds: npt.NDArray[np.uint8], names: Sequence[str]) -> npt.NDArray[np.str_]:
    """Name of the first condition that holds of each row; empty where none does."""
    found = np.argmax(np.hstack([holds != 0, np.ones((len(holds), 1), bool)]), axis=1)
    return np.asarray(np.array([*names, ""])[found], np.str_)
