"""One cycle of scoring: what is computed, and what the store says of it, each table read once.

Invariant: everything is read by the same list of identifiers (`touched`, sent with every question) and given by
profile, counted from 0 in the order of `members`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.columns import mask_column, offsets_of
from pipelines.generations import Ruleset
from pipelines.moments import Held, Judge, Moments, held_of
from schemas.arrow import HELD
from scoring.events import Events, Int64s, Seen, events_of, starts_of
from scoring.facts import (
    assertions_select,
    events_select,
    held_select,
    observations_select,
    sighted_select,
)
from scoring.traits import Traits

_EMAIL = "email"


@dataclass(frozen=True)
class Said:
    """What was said of one profile (an index)."""

    profile: int
    day: int
    at: int
    id: str
    what: str
    value: str


@dataclass(frozen=True)
class Cycle:
    """Profiles that are computed together on one date, and the facts of them."""

    ask: Callable[..., pa.Table]
    judge: Judge
    workspace: str
    generation: str
    ruleset: Ruleset
    date: int
    excluded: str
    """SQL of the identifiers that do not cluster; empty: those that the store holds."""
    members: pa.ListArray
    """identifier_ids of each profile."""

    @property
    def count(self) -> int:
        """Profiles."""
        return len(self.members)

    @cached_property
    def _owner(self) -> Int64s:
        """Profile of each row of `touched`."""
        return np.repeat(np.arange(self.count), self.members.value_lengths().to_numpy())

    @cached_property
    def _touched(self) -> pa.Table:
        ids = self.members.flatten()
        return pa.table({"identifier_id": ids, "member": pa.array(np.arange(len(ids), dtype=np.uint32))})

    def _query(self, sql: str) -> pa.Table:
        return self.ask(sql, touched=self._touched)

    @property
    def _events_sql(self) -> str:
        return events_select(self.workspace, self.generation, self.ruleset.scoring, excluded=self.excluded)

    @property
    def _observations_sql(self) -> str:
        return observations_select(
            self.workspace, self.generation, self.ruleset.identity, excluded=self.excluded
        )

    @property
    def _held_sql(self) -> str:
        return held_select(self.workspace)

    @property
    def _assertions_sql(self) -> str:
        return assertions_select(self.workspace)

    def at_once(self, begin: "Callable[[Callable[[], pa.Table]], Future[pa.Table]]") -> "Cycle":
        """The same cycle, with the questions that every cycle asks put together."""
        questions = (self._events_sql, self._observations_sql, self._held_sql, self._assertions_sql)
        asked = {sql: begin(partial(self.ask, sql, touched=self._touched)) for sql in questions}

        def ask(sql: str, touched: pa.Table) -> pa.Table:
            return asked.pop(sql).result() if sql in asked else self.ask(sql, touched=touched)

        return replace(self, ask=ask)

    def pieces(self, size: int) -> "Iterator[tuple[int, Cycle]]":
        """Cycles of so many of the profiles each, and where they begin; the store is asked for all together."""
        if self.count <= size:
            yield 0, self
            return
        starts = np.arange(0, self.count, size)
        ends = np.append(starts[1:], self.count)
        rows = np.append(0, np.cumsum(self.members.value_lengths().to_numpy()))
        shares = _Shares(self._query, rows[starts], rows[ends])
        for n, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            yield start, replace(self, ask=partial(shares.of, n), members=self.members[start:end])

    @cached_property
    def events(self) -> Events:
        """Hits and activity, on any day."""
        rows = self._query(self._events_sql)
        return events_of(rows, self._owner, self.count, self.ruleset.scoring.robots)

    @cached_property
    def seen(self) -> Seen:
        """When the profiles were seen up to the date."""
        return self.events.until(self.date)

    @cached_property
    def traits(self) -> Traits:
        """Observations of traits, on any day."""
        return Traits(self._query(self._observations_sql), self._owner)

    @cached_property
    def said(self) -> list[Said]:
        """What people said of the profiles, by (day, at, id)."""
        found = self._query(self._assertions_sql)
        rows = zip(*(column.to_pylist() for column in found.columns), strict=True)
        told = [Said(int(self._owner[member]), *row) for member, *row in rows]
        return sorted(told, key=lambda said: (said.day, said.at, said.id))

    @cached_property
    def _known(self) -> tuple[Int64s, pa.Table]:
        """Row of `touched` of each identifier, ascending, and what it is."""
        found = self._query(self._held_sql)
        member = found["member"].to_numpy().astype(np.int64)
        order = np.argsort(member, kind="stable")
        first = order[starts_of(member[order])]
        return member[first], found.take(pa.array(first))

    @property
    def _identifiers(self) -> tuple[Int64s, pa.StringArray, pa.StringArray]:
        """Row of `touched`, namespace and mask of each identifier."""
        member, known = self._known
        namespace, mask = (known[name].cast(pa.utf8()).combine_chunks() for name in ("namespace", "mask"))
        return member, namespace, mask

    @cached_property
    def _since(self) -> Int64s:
        """Day of the first sighting of each row of `touched`."""
        found = self._query(sighted_select(self.workspace))
        since = np.zeros(len(self._owner), np.int64)
        since[found["member"].to_numpy()] = found["day"].to_numpy()
        return since

    @property
    def masks(self) -> pa.MapArray:
        """Masks by namespace."""
        member, namespace, mask = self._identifiers
        return mask_column(self._owner[member], namespace, mask, self.count)

    @property
    def shown(self) -> pa.ListArray:
        """Identifiers as the query API shows them, in the order of members."""
        member, known = self._known
        known = known.set_column(0, "identifier_id", self._touched["identifier_id"].take(pa.array(member)))
        parts = [known[field.name].cast(pa.utf8()).combine_chunks() for field in HELD]
        offsets = offsets_of(self.count, self._owner[member])
        return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(HELD)))

    def held(self, what: str, *, today: bool = False) -> Held:
        """`identifiers` (namespaces) or `email_domains` (as the masks show them) and since when they are held.

        `today`: the members of the profiles are those of the date, so all of it is held.
        """
        member, namespaces, masks = self._identifiers
        since = np.zeros(len(self._owner), np.int64) if today else self._since
        if what == "identifiers":
            return held_of(self._owner[member], namespaces, since[member])
        emails = pc.equal(namespaces, _EMAIL)
        domains = pc.replace_substring_regex(masks.filter(emails), pattern="(?s)^.*@", replacement="")
        member = member[emails.to_numpy(zero_copy_only=False)]
        return held_of(self._owner[member], domains, since[member])

    def moments(self, profile: Int64s, day: Int64s, *, today: bool = False) -> Moments:
        """Profiles on days, for conditions."""
        held = {
            what: lambda what=what: self.held(what, today=today) for what in ("identifiers", "email_domains")
        }
        return Moments(
            profile,
            day,
            judge=self.judge,
            rules=self.ruleset.scoring,
            traits=self.traits,
            seen=self.seen,
            held=held,
        )


class _Shares:
    """Answers to questions about members that stand together, from one answer about all of them."""

    def __init__(self, query: Callable[[str], pa.Table], starts: Int64s, ends: Int64s) -> None:
        """`starts`, `ends`: rows of `touched` of each share."""
        self._query = query
        self._starts, self._ends = starts, ends
        self._known: dict[str, list[pa.Table]] = {}

    def of(self, share: int, sql: str, touched: pa.Table) -> pa.Table:
        """What the store says to the question about `touched`, the rows of one share."""
        if sql not in self._known:
            self._known[sql] = list(self._split(self._query(sql)))
        return self._known[sql][share]

    def _split(self, found: pa.Table) -> Iterator[pa.Table]:
        member = found["member"].to_numpy()
        share = np.searchsorted(self._ends, member, "right").astype(np.uint16)
        found = found.set_column(0, "member", pa.array(member - self._starts[share].astype(np.uint32)))
        found = found.take(pa.array(np.argsort(share, kind="stable"))).combine_chunks()
        sizes = np.bincount(share, minlength=len(self._ends))
        for start, size in zip((np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), strict=True):
            yield found.slice(start, size)
