"""The difference between two generations of one workspace, in SQL over the rows of both.

Invariant: nothing is derived here: both generations are derived by the job, and what is compared is what readers see or
would see. Profiles of the two are matched by the identifiers they hold, never by their ids, since other rules may give
the same people another founding identifier. While events arrive, the queries of one preview may see some more of them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from kintsugi.digest import Digest, digest_of
from store.client import Store

BANDS = 10
"""Bands of a histogram, at most; those at the ends are open."""
EXAMPLES = 5
SCORES = ("behaviour", "identity")
_SHOWN = 8
"""Identifiers of an example that are shown."""
KINDS = ("unchanged", "resized", "merged", "split", "regrouped", "created", "gone")
"""What becomes of profiles: the same identifiers; the same but for some that were or become excluded; several into one;
one into several; several into several others; none before; none after, where identifiers are excluded."""

_ROWS = """
SELECT profile_id, members, stage, arraySum(mapValues(identity_points)) AS identity,
    arraySum(mapValues(points)) + arraySum(arrayMap(r -> toInt64(intDiv(
        arraySum(arrayMap(d -> if(d.1 = r, d.2, toInt128(0)), weighed)), toInt128(1073741824))),
        arrayDistinct(weighed.1))) AS behaviour
FROM (
    WITH
        (SELECT (mapKeys(weights), arrayFlatten(mapValues(weights)),
                 arrayPushFront(arrayCumSum(arrayMap(w -> length(w), mapValues(weights))), toUInt64(0)))
         FROM kintsugi_store.generations FINAL
         WHERE workspace = {w:String} AND generation = {%(g)s:String}) AS half_lives,
        half_lives.1 AS rules, half_lives.2 AS flat, half_lives.3 AS starts
    SELECT profile_id, members, stage, identity_points, points,
        arrayMap(d -> (d.1, if(d.3 > 0 AND d.4 >= 0 AND d.4 < starts[d.3 + 1] - starts[d.3],
                               toInt128(d.2) * flat[starts[d.3] + d.4 + 1], toInt128(0))),
            arrayMap(d -> (d.rule, d.amount, indexOf(rules, d.rule), {as_of:Int32} - toInt32(d.day)), decaying)
        ) AS weighed
    FROM kintsugi_store.profile_rows FINAL
    WHERE workspace = {w:String} AND generation = {%(g)s:String} AND is_tombstone = 0
)"""
"""Living profiles of a generation with their scores on the date in force, in thousandths."""
_EDGES = f"""
WITH
    before AS ({_ROWS % {"g": "g0"}}), after AS ({_ROWS % {"g": "g1"}}),
    pairs AS (
        SELECT b.profile_id AS p0, a.profile_id AS p1
        FROM (SELECT profile_id, arrayJoin(members) AS i FROM kintsugi_store.profile_rows FINAL
              WHERE workspace = {{w:String}} AND generation = {{g0:String}} AND is_tombstone = 0) AS b
        FULL JOIN (SELECT profile_id, arrayJoin(members) AS i FROM kintsugi_store.profile_rows FINAL
              WHERE workspace = {{w:String}} AND generation = {{g1:String}} AND is_tombstone = 0) AS a ON b.i = a.i
        GROUP BY p0, p1
    ),
    counted AS (
        SELECT p0, p1, countIf(p1 != '') OVER of_0 AS outs, countIf(p1 = '') OVER of_0 AS lost,
            countIf(p0 != '') OVER of_1 AS ins, countIf(p0 = '') OVER of_1 AS gained
        FROM pairs WINDOW of_0 AS (PARTITION BY p0), of_1 AS (PARTITION BY p1)
    ),
    edges AS (
        SELECT p0, p1, multiIf(
            p0 = '' AND ins = 0, 'created', p1 = '' AND outs = 0, 'gone', p0 = '' OR p1 = '', '',
            outs = 1 AND ins = 1, if(lost = 0 AND gained = 0, 'unchanged', 'resized'),
            ins > 1 AND max(outs) OVER (PARTITION BY p1) = 1, 'merged',
            outs > 1 AND max(ins) OVER (PARTITION BY p0) = 1, 'split', 'regrouped') AS kind
        FROM counted
    )"""
"""Pairs of profiles, before and after, that share an identifier, and what kind of change they are part of."""


@dataclass(frozen=True)
class Change:
    """Profiles of one kind of change."""

    kind: str
    before: int
    after: int


@dataclass(frozen=True)
class Band:
    """Profiles whose score lies in [low, high); None where the band is open."""

    low: float | None
    high: float | None
    before: int
    after: int


@dataclass(frozen=True)
class Effect:
    """What becomes of one score; profiles are compared where they stay one profile."""

    name: str
    rises: int
    falls: int
    bands: list[Band] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """A profile as an example: its id, its first identifiers masked behind their namespaces, how many it has."""

    profile_id: str
    identifiers: list[str]
    count: int


@dataclass(frozen=True)
class Example:
    """One change: the profiles before, the profiles after."""

    kind: str
    before: list[Shown]
    after: list[Shown]


@dataclass(frozen=True)
class Preview:
    """The whole difference; `digest` is the one that `kintsugi digest` shows once the generation after is in force."""

    workspace: str
    before: str
    after: str
    as_of: str
    changes: list[Change]
    excluded: Change
    """Identifiers that do not cluster."""
    effects: list[Effect]
    stages: list[tuple[str, str, int]]
    """Stage before, stage after, profiles; where they differ."""
    examples: list[Example]
    digest: Digest

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def difference(store: Store, workspace: str, before: str, after: str) -> Preview:
    """What changes when generation `after` takes the place of `before`; both must be derived and open."""
    ((as_of, days),) = store.query_rows(
        "SELECT toString(as_of), toInt32(as_of) FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}",
        {"w": workspace},
    )
    ask = {"w": workspace, "g0": before, "g1": after, "as_of": days}
    found = {kind: (n, m) for kind, n, m in store.query_rows(
        _EDGES + " SELECT kind, uniqExactIf(p0, p0 != ''), uniqExactIf(p1, p1 != '') FROM edges GROUP BY kind", ask
    )}  # fmt: skip
    excluded = dict(
        store.query_rows(
            "SELECT generation, count() FROM kintsugi_store.excluded_identifiers FINAL WHERE workspace = {w:String}"
            " AND generation IN ({g0:String}, {g1:String}) AND reason != '' GROUP BY generation",
            ask,
        )
    )
    stages, told = _moves(store, ask)
    return Preview(
        workspace,
        before,
        after,
        str(as_of),
        [Change(kind, *map(int, found.get(kind, (0, 0)))) for kind in KINDS],
        Change("excluded", int(excluded.get(before, 0)), int(excluded.get(after, 0))),
        _effects(store, ask, told),
        stages,
        _examples(store, ask),
        digest_of(store, workspace, after),
    )


_SAME = " FROM edges INNER JOIN before AS b ON b.profile_id = p0 INNER JOIN after AS a ON a.profile_id = p1"
_SAME += " WHERE kind IN ('unchanged', 'resized')"


def _moves(store: Store, ask: Mapping[str, Any]) -> tuple[list[tuple[str, str, int]], list[int]]:
    """Profiles that stay one: (stage before, after, count) where it differs; rises and falls of both scores."""
    rows = store.query_rows(
        _EDGES + " SELECT b.stage, a.stage, count() AS n, countIf(a.behaviour > b.behaviour),"
        " countIf(a.behaviour < b.behaviour), countIf(a.identity > b.identity), countIf(a.identity < b.identity)"
        + _SAME + " GROUP BY b.stage, a.stage ORDER BY n DESC, b.stage, a.stage",
        ask,
    )  # fmt: skip
    stages = [(str(before), str(after), int(count)) for before, after, count, *_ in rows if before != after]
    return stages, [sum(int(row[3 + n]) for row in rows) for n in range(4)]


def _effects(store: Store, ask: Mapping[str, Any], told: list[int]) -> list[Effect]:
    """Both scores with histograms over the same bands, drawn so that outliers do not squash the rest."""
    both = " FROM (SELECT 0 AS g, behaviour, identity FROM before UNION ALL SELECT 1, behaviour, identity FROM after)"
    quantiles = ", ".join(f"quantileExact({q})({name})" for name in SCORES for q in (0.01, 0.99))
    ((count, *ends),) = store.query_rows(f"{_EDGES} SELECT count(), {quantiles}{both}", ask)
    effects = []
    bounds = {}
    for n, name in enumerate(SCORES):
        low, high = int(ends[2 * n]), int(ends[2 * n + 1])
        width = step(high - low)
        bounds[name] = (low // width, high // width, width)
        effects.append(Effect(name, told[2 * n], told[2 * n + 1]))
    if not count:
        return effects
    bands = ", ".join(
        f"('{name}', greatest({first}, least({last}, toInt64(floor({name} / {width})))))"
        for name, (first, last, width) in bounds.items()
    )
    rows = store.query_rows(
        f"{_EDGES} SELECT at.1, at.2, countIf(g = 0), countIf(g = 1)"
        f" FROM (SELECT g, arrayJoin([{bands}]) AS at{both}) GROUP BY at",
        ask,
    )
    counts = {(name, int(band)): (int(n), int(m)) for name, band, n, m in rows}
    for effect in effects:
        first, last, width = bounds[effect.name]
        for band in range(first, last + 1):
            low_end = None if band == first else band * width / 1000
            high_end = None if band == last else (band + 1) * width / 1000
            effect.bands.append(Band(low_end, high_end, *counts.get((effect.name, band), (0, 0))))
    return effects


def step(span: int) -> int:
    """Width of a band, in thousandths: 1, 2 or 5 times a power of ten, at least a point.

    >>> step(0), step(9_000), step(118_000)
    (1000, 1000, 20000)
    """
    width = 1000
    while True:
        for factor in (1, 2, 5):
            if span < width * factor * (BANDS - 1):
                return width * factor
        width *= 10


def _examples(store: Store, ask: Mapping[str, Any]) -> list[Example]:
    """The first few changes of each kind, in the order of ids."""
    rows = store.query_rows(
        _EDGES + " SELECT kind, if(kind IN ('split', 'gone'), p0, p1) AS at, arraySort(groupUniqArray(p0)), "
        "arraySort(groupUniqArray(p1)) FROM edges WHERE kind NOT IN ('', 'unchanged')"
        " GROUP BY kind, at ORDER BY at LIMIT {most:UInt8} BY kind",
        {**ask, "most": EXAMPLES},
    )
    sides = [
        _shown(store, ask, generation, sorted({p for row in rows for p in row[at] if p}))
        for generation, at in (("g0", 2), ("g1", 3))
    ]
    told = [
        Example(kind, [sides[0][p] for p in before if p in sides[0]], [sides[1][p] for p in after if p in sides[1]])
        for kind, _, before, after in rows
    ]  # fmt: skip
    return sorted(told, key=lambda example: KINDS.index(example.kind))


def _shown(store: Store, ask: Mapping[str, Any], generation: str, profiles: list[str]) -> dict[str, Shown]:
    rows = store.query_rows(
        "SELECT profile_id, any(count), arraySort(groupArray(concat(i.namespace, ' ', i.mask))) FROM ("
        " SELECT profile_id, length(members) AS count,"
        " arrayJoin(arraySlice(members, 1, {shown:UInt8})) AS identifier_id"
        " FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String}"
        f" AND generation = {{{generation}:String}}"
        " AND is_tombstone = 0 AND profile_id IN (SELECT profile_id FROM asked)) AS p"
        " INNER JOIN (SELECT identifier_id, any(namespace) AS namespace, any(mask) AS mask"
        " FROM kintsugi_store.identifiers WHERE workspace = {w:String} GROUP BY identifier_id) AS i"
        " ON p.identifier_id = i.identifier_id GROUP BY profile_id",
        {**ask, "shown": _SHOWN},
        {"asked": pa.table({"profile_id": pa.array(profiles, pa.utf8())})},
    )
    return {str(p): Shown(str(p), [str(name) for name in names], int(count)) for p, count, names in rows}
