"""Step `resolve`: links, overrides, rulesets and dates become the identity map of every open generation.

Invariant: for each open generation the state equals `identity.clusters.clusters` over the evidence told so far, and
the stored map equals the state once an element is done: rows are written before anything is told to `score`.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from identity.bulk import Bulk
from identity.evidence import Link, Override, Sighting
from identity.incremental import Changes, IdentityRow, Resolver
from pipelines.generations import Ruleset, Words, heard, open_of
from pipelines.land import fill
from pipelines.messages import Message
from pipelines.state import Packed
from schemas import arrow, log_record
from store.client import Store
from store.evidence import evidence_after, evidence_until
from store.overrides import days_of, override_of, overrides_of

__all__ = ["Resolve", "Versions", "days_of", "override_of", "overrides_of"]

BUILD_ROWS = 200_000
"""Rows that one insert writes, and pieces of later evidence that wait together, when a generation is built."""
_SWITCHED = """
INSERT INTO kintsugi_store.identity_changes
    (workspace, generation, changed_at, identifier_id, from_profile, to_profile, cause, version, evidence)
SELECT {w:String}, {new:String}, fromUnixTimestamp64Micro({now:Int64}, 'UTC'), identifier_id, source, target,
    'generation', {v:UInt64}, []
FROM (
    SELECT identifier_id,
        maxIf(profile_id, generation = {old:String}) AS was, maxIf(profile_id, generation = {new:String}) AS becomes,
        if(was = '', identifier_id, was) AS source, if(becomes = '', identifier_id, becomes) AS target
    FROM kintsugi_store.identity_map FINAL
    WHERE workspace = {w:String} AND generation IN ({old:String}, {new:String})
    GROUP BY identifier_id
)
WHERE source != target"""
"""What readers see change when another generation comes into force; without a row an identifier is its own profile."""
_BLANK = {
    "identity_map": (
        "identifier_id, identifier_id, 'member'",
        "(profile_id != identifier_id OR state != 'member')",
    ),
    "clusters": ("profile_id, []", "notEmpty(members)"),
    "excluded_identifiers": ("identifier_id, ''", "reason != ''"),
    "refused_links": ("a, b, '', ''", "reason != ''"),
}
"""By table of the map: the row that says nothing, and whether a row says something."""
_T = TypeVar("_T")
_decode = msgspec.json.Decoder(log_record.AnyRecord).decode


class Versions:
    """Row versions of one attempt: `epoch << 32 | counter`, so that a zombie of an older attempt always loses."""

    def __init__(self, store: Store, table: str) -> None:
        newest = store.query_rows(f"SELECT max(version) FROM kintsugi_store.{table}")[0][0]
        epoch = max(int(time.time()), (int(newest) >> 32) + 1)
        self._next = epoch << 32

    def next(self) -> int:
        """A version greater than all before."""
        self._next += 1
        return self._next


class Resolve:
    """The step for one workspace, without Flink: `state` is a key-value store that the operator backs with Flink's.

    `state` keys: `words` -> what was said of generations, `date`, `version`, `active` -> newest activation (at, id,
    generation), `told` -> generation that the journal follows, and the keys of each generation's resolver behind a
    prefix.
    """

    def __init__(
        self, workspace: str, store: Store, state: Any, versions: Versions, *, check: bool = False,
        now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._workspace = workspace
        self._store = store
        self._state = state
        self._versions = versions
        self._check = check
        self._now = now
        self._resolvers: dict[str, Resolver] = {}
        for generation, ruleset in open_of(self._words()).items():
            self._resolvers[generation] = self._resolver(generation, ruleset)
        self._must_reconcile = True

    # state ------------------------------------------------------------------------------------------------

    def _words(self) -> Words:
        return dict(self._state.get("words") or {})

    @property
    def date(self) -> int:
        """Date in force, days since 1970-01-01; everything lies in the future until the first `date` record."""
        return int(self._state.get("date") or 0)

    def _resolver(self, generation: str, ruleset: str) -> Resolver:
        rules = Ruleset.from_json(ruleset).identity
        return Resolver(Packed(self._state, f"{generation}:"), rules, self.date, check=self._check)

    def _all_copies_in(self, what: str, name: str, copy: str) -> bool:
        """True when every land slot has sent its copy of a control record or trailer.

        How many there are says the copy: when it was made the job may have had more slots, or fewer.
        """
        count = copy.partition("/")[2]
        key = f"copies:{what}:{name}:{count}"
        copies = set(self._state.get(key) or ()) | {copy}
        if len(copies) < int(count):
            self._state.put(key, sorted(copies))
            return False
        self._state.delete(key)
        return True

    # elements ---------------------------------------------------------------------------------------------

    def on(self, message: Message) -> Iterator[Message]:
        """Handle one message from `land`; yields what `score` must know."""
        if self._must_reconcile:
            self._must_reconcile = False
            yield from self._reconcile_all()
        if message.what == "evidence":
            sightings, links = (zip(*columns, strict=True) for columns in message.body)
            yield from self._add([Sighting(*row) for row in sightings], [Link(*row) for row in links], [])
        elif message.what == "touched":
            yield message
        elif message.what == "trailer":
            if self._all_copies_in("trailer", message.body, message.copy):
                yield Message(self._workspace, "trailer", message.body)
        else:
            record = _decode(message.body)
            if self._all_copies_in("control", record.id, message.copy):
                yield from self._control(record, message)

    def _add(
        self, sightings: list[Sighting], links: list[Link], overrides: list[Override]
    ) -> Iterator[Message]:
        for generation, resolver in self._resolvers.items():
            yield from self._publish(generation, resolver.add(sightings, links, overrides))

    def _control(self, record: log_record.ControlRecord, message: Message) -> Iterator[Message]:
        if isinstance(record, log_record.Override):
            yield from self._add([], [], [override_of(record)])
        elif isinstance(record, log_record.Date):
            day = days_of(record.date)
            if day > self.date:
                self._state.put("date", day)
                for generation, resolver in self._resolvers.items():
                    yield from self._publish(generation, resolver.advance(day))
            yield from self._reconcile_all()
        elif isinstance(record, log_record.Generation):
            words = heard(self._words(), record)
            self._state.put("words", words)
            is_open = record.generation in open_of(words)
            if is_open and record.generation not in self._resolvers:
                self._resolvers[record.generation] = self._resolver(record.generation, record.ruleset)
                self._build(record.generation, record.ruleset)
            elif not is_open and record.generation in self._resolvers:
                del self._resolvers[record.generation]
                self._state.delete_prefix(f"{record.generation}:")
            if record.action == "activate":
                said = (record.at, record.id, record.generation)
                known = tuple(self._state.get("active") or ())
                self._state.put("active", max(said, known, key=lambda s: s[:2]))
            self._tell_switch()
        elif isinstance(record, log_record.Assertion):
            yield Message(self._workspace, "said", [record.identifier])
            return
        yield Message(self._workspace, "control", message.body)

    def _tell_switch(self) -> None:
        """Once the newest activated generation is derived, the journal says what changes with it, and follows it."""
        active, told = self._state.get("active"), self._state.get("told") or ""
        if active and active[2] in self._resolvers and active[2] != told:
            asked = {"new": active[2], "old": told, "now": self._now(), "v": self._versions.next()}
            self._store.execute(_SWITCHED, {"w": self._workspace, **asked})
            self._state.put("told", active[2])

    # a new generation -------------------------------------------------------------------------------------

    def _build(self, generation: str, ruleset: str) -> None:
        """Derive hits and map of all stored evidence.

        Every land slot has heard of the generation: it derives the hits of what it lands from now on, and all else is
        in the store. `score` computes every profile of a new generation and need not be told which ones changed.
        """
        resolver = self._resolvers[generation]
        with ThreadPoolExecutor(1) as beside:
            hits = beside.submit(fill, self._store, self._workspace, generation, ruleset)
            bulk = resolver.build(evidence_until(self._store, self._workspace, self.date))
            self._write_all(generation, bulk)
            hits.result()
        sightings, links = evidence_after(self._store, self._workspace, self.date)
        for part in (
            *((some, (), ()) for some in _portions(sightings)),
            *(((), some, ()) for some in _portions(links)),
            ((), (), overrides_of(self._store, self._workspace)),
        ):
            for _ in self._publish(generation, resolver.add(*part)):
                pass

    def _write_all(self, generation: str, bulk: Bulk) -> None:
        """Write the map of a new generation, and take back what else an earlier life of it said."""
        version = self._versions.next()
        self._state.put("version", version)
        for name, columns in (
            ("identity_map", bulk.identity_map),
            ("clusters", bulk.clusters),
            ("excluded_identifiers", bulk.excluded),
            ("refused_links", bulk.refused_links),
        ):
            count = len(columns[0])
            head = (pa.repeat(value, count) for value in (self._workspace, generation))
            versions = pa.repeat(pa.scalar(version, pa.uint64()), count)
            rows = pa.Table.from_arrays([*head, *columns, versions], schema=arrow.TABLES[name])
            for start in range(0, count, BUILD_ROWS):
                self._store.insert_arrow(f"kintsugi_store.{name}", rows.slice(start, BUILD_ROWS))
            blank, says = _BLANK[name]
            self._store.execute(
                f"INSERT INTO kintsugi_store.{name} SELECT workspace, generation, {blank}, {{v:UInt64}}"
                f" FROM kintsugi_store.{name} FINAL WHERE workspace = {{w:String}} AND generation = {{g:String}}"
                f" AND version < {{v:UInt64}} AND {says}",
                {"w": self._workspace, "g": generation, "v": version},
            )

    # writing ----------------------------------------------------------------------------------------------

    def _publish(self, generation: str, changes: Changes) -> Iterator[Message]:
        """Write the changed rows, then tell `score` whose profiles they are."""
        version = self._versions.next()
        now = self._now()
        head = (self._workspace, generation)
        # the journal is what readers were told: of a generation that is not in force they hear nothing
        moves = changes.moves if generation == self._state.get("told") else []
        self._insert(
            identity_map=[
                (*head, i, row.profile_id, row.state, version) for i, row in changes.identifiers.items()
            ],
            clusters=[(*head, p, list(m), version) for p, m in changes.clusters.items()],
            excluded_identifiers=[(*head, i, r, version) for i, r in changes.excluded.items()],
            refused_links=[
                (*head, a, b, refusal.reason if refusal else "", refusal.blocker if refusal else "", version)
                for (a, b), refusal in changes.refused.items()
            ],
            identity_changes=[
                (*head, now, m.identifier, m.from_profile, m.to_profile, m.cause, version, m.evidence.split())
                for m in moves
            ],
        )
        told = {*changes.identifiers, *changes.clusters, *changes.excluded, *changes.touched}
        told.update(move.from_profile for move in changes.moves)
        if told:
            self._state.put("version", version)
            yield Message(self._workspace, "moved", (generation, sorted(told)))

    def _insert(self, **tables: list[tuple[Any, ...]]) -> None:
        self._store.insert_all(
            {f"kintsugi_store.{name}": arrow.table(name, rows) for name, rows in tables.items() if rows}
        )

    # after a restore --------------------------------------------------------------------------------------

    def _reconcile_all(self) -> Iterator[Message]:
        since = int(self._state.get("version") or 0)
        for generation in self._resolvers:
            yield from self._reconcile(generation, since)

    def _reconcile(self, generation: str, since: int) -> Iterator[Message]:
        """Compare rows newer than `since` with the state and write the differences.

        A dead attempt may have written rows for evidence that the replay reaches in another order, so that this
        attempt finds nothing to change where the store says something else.
        """
        resolver = self._resolvers[generation]
        changes = Changes()
        where = " FINAL WHERE workspace = {w:String} AND generation = {g:String} AND version > {v:UInt64}"
        ask = {"g": generation, "v": since}
        for iid, profile_id, state in self._query(
            "SELECT identifier_id, profile_id, state FROM kintsugi_store.identity_map" + where, **ask
        ):
            now = resolver.current(iid)
            if now != IdentityRow(profile_id, state):
                changes.identifiers[iid] = now
        for profile_id, members in self._query(
            "SELECT profile_id, members FROM kintsugi_store.clusters" + where, **ask
        ):
            current = resolver.members(profile_id)
            current = tuple(current) if len(current) > 1 else ()
            if current != tuple(members):
                changes.clusters[profile_id] = current
        for iid, reason in self._query(
            "SELECT identifier_id, reason FROM kintsugi_store.excluded_identifiers" + where, **ask
        ):
            state = resolver.current(iid).state
            current_reason = "" if state == "member" else state
            if current_reason != reason:
                changes.excluded[iid] = current_reason
        for a, b, reason, blocker in self._query(
            "SELECT a, b, reason, blocker FROM kintsugi_store.refused_links" + where, **ask
        ):
            refusal = resolver.refusal(a, b)
            if (refusal.reason, refusal.blocker) != (reason, blocker) if refusal else reason != "":
                changes.refused[a, b] = refusal
        yield from self._publish(generation, changes)

    def _query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._store.query_rows(sql, {"w": self._workspace, **parameters})


def _portions(evidence: list[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(evidence), BUILD_ROWS):
        yield evidence[start : start + BUILD_ROWS]
