"""The difference between two generations of one workspace, read whole from the store and compared in numpy.

Invariant: nothing is derived here: both generations are derived by the job, and what is compared is what readers see or
would see. Profiles of the two are matched by the identifiers they hold, never by their ids, since other rules may give
the same people another founding identifier. While events arrive, the second of the two may show some more of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kintsugi.digest import Digest, digest_of
from store.client import Store

Int64s = npt.NDArray[np.int64]

BANDS = 10
"""Bands of a histogram, at most; those at the ends are open."""
EXAMPLES = 5
SCORES = ("behaviour", "identity")
_SHOWN = 8
"""Identifiers of an example that are shown."""
KINDS = ("unchanged", "resized", "merged", "split", "regrouped", "created", "gone")
"""What becomes of profiles: the same identifiers; the same but for some that were or become excluded; several into one;
one into several; several into several others; none before; none after, where identifiers are excluded."""
_STAYS = ("unchanged", "resized")
"""Profiles that stay one."""

_ROWS = """SELECT profile_id, arrayMap(i -> reinterpretAsUInt64(unhex(substring(i, 1, 16))), members) AS members,
    stage, identity_score AS identity, behaviour_score AS behaviour
FROM kintsugi_store.scored_profiles(derivation = {%(g)s:String}) WHERE workspace = {w:String}"""
"""Living profiles of a generation with their scores on the date in force, in thousandths.

Of a member half its id, 64 of 128 bits: among ten million identifiers two are alike with a chance of 3 in a million.
"""


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
class Moved:
    """A profile that stays one and whose scores or stage change, as it is after: (before, after) of each."""

    profile: Shown
    scores: dict[str, tuple[float, float]]
    stage: tuple[str, str]


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
    moved: list[Moved]
    """Examples: whose scores change most, and some of those whose stage changes."""
    digest: Digest

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def difference(store: Store, workspace: str, before: str, after: str) -> Preview:
    """What changes when generation `after` takes the place of `before`; both must be derived and open.

    O(n log n) for n identifiers, of which it holds some 100 bytes each.
    """
    ((as_of,),) = store.query_rows(
        "SELECT toString(as_of) FROM kintsugi_store.in_force FINAL WHERE workspace = {w:String}",
        {"w": workspace},
    )
    ask = {"w": workspace, "g0": before, "g1": after}
    with ThreadPoolExecutor(1) as beside:
        hashed = beside.submit(digest_of, store, workspace, after)
        sides = [_side(store, ask, generation) for generation in ("g0", "g1")]
        pairs = matched(*(side["members"] for side in sides))
    excluded = dict(
        store.query_rows(
            "SELECT generation, count() FROM kintsugi_store.excluded_identifiers FINAL WHERE workspace = {w:String}"
            " AND generation IN ({g0:String}, {g1:String}) AND reason != '' GROUP BY generation",
            ask,
        )
    )
    return Preview(
        workspace,
        before,
        after,
        str(as_of),
        pairs.changes(),
        Change("excluded", int(excluded.get(before, 0)), int(excluded.get(after, 0))),
        [_effect(name, sides, pairs) for name in SCORES],
        _stages(sides, pairs),
        _examples(store, ask, sides, pairs),
        _moved(store, ask, sides, pairs),
        hashed.result(),
    )


def _side(store: Store, ask: Mapping[str, Any], generation: str) -> pa.Table:
    """Living profiles of a generation with members, stage and scores, in the order of ids."""
    found = store.query_arrow(f"{_ROWS % {'g': generation}} ORDER BY profile_id", ask)
    return found.combine_chunks()


@dataclass(frozen=True)
class Pairs:
    """Profiles before and after that share an identifier, as places in the order of ids; -1 where there is none."""

    before: Int64s
    after: Int64s
    kind: Int64s
    """Place in KINDS of the change that the pair is part of; -1 for identifiers that a profile gains or loses."""

    def of(self, *kinds: str) -> tuple[Int64s, Int64s]:
        """The two profiles of each pair of these kinds."""
        chosen = np.isin(self.kind, [KINDS.index(kind) for kind in kinds])
        return self.before[chosen], self.after[chosen]

    def changes(self) -> list[Change]:
        """How many profiles each kind of change has before and after."""
        found = ((kind, self.of(kind)) for kind in KINDS)
        return [Change(kind, *(len(np.unique(side[side >= 0])) for side in sides)) for kind, sides in found]


def matched(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Pairs:
    """Match profiles, given as lists of members; an identifier is in one profile of each side at most.

    >>> pairs = matched(pa.chunked_array([[["a"], ["b", "c"]]]), pa.chunked_array([[["a", "b", "c"], ["d"]]]))
    >>> [change for change in pairs.changes() if change.after]
    [Change(kind='merged', before=2, after=1), Change(kind='created', before=0, after=1)]
    """
    members = [pc.list_flatten(side) for side in (before, after)]
    every = pa.chunked_array([chunk for side in members for chunk in side.chunks], members[0].type)
    encoded = every.combine_chunks().dictionary_encode()
    places = encoded.indices.to_numpy()
    owners = np.full((2, len(encoded.dictionary)), -1, np.int64)
    split = len(members[0])
    for owner, side, of_side in zip(owners, (before, after), (places[:split], places[split:]), strict=True):
        owner[of_side] = np.repeat(np.arange(len(side)), pc.list_value_length(side).to_numpy())
    n, m = len(before), len(after)
    one, two = np.divmod(np.unique((owners[0] + 1) * (m + 1) + owners[1] + 1), m + 1)
    both = (one > 0) & (two > 0)
    outs, ins = np.bincount(one[both], minlength=n + 1), np.bincount(two[both], minlength=m + 1)
    loses, gains = np.zeros(n + 1, bool), np.zeros(m + 1, bool)
    loses[one[two == 0]] = gains[two[one == 0]] = True
    splits, merges = np.zeros(m + 1, np.int64), np.zeros(n + 1, np.int64)
    np.maximum.at(splits, two[both], outs[one[both]])
    np.maximum.at(merges, one[both], ins[two[both]])
    alone = (outs[one] == 1) & (ins[two] == 1)
    kind = np.select(
        [
            (one == 0) & (ins[two] == 0),
            (two == 0) & (outs[one] == 0),
            ~both,
            alone & ~loses[one] & ~gains[two],
            alone,
            (ins[two] > 1) & (splits[two] == 1),
            (outs[one] > 1) & (merges[one] == 1),
        ],
        [
            KINDS.index("created"), KINDS.index("gone"), -1, KINDS.index("unchanged"), KINDS.index("resized"),
            KINDS.index("merged"), KINDS.index("split"),
        ],
        KINDS.index("regrouped"),
    )  # fmt: skip
    return Pairs(one - 1, two - 1, kind)


def _stages(sides: Sequence[pa.Table], pairs: Pairs) -> list[tuple[str, str, int]]:
    """(stage before, stage after, count) of profiles that stay one, where it differs; most first."""
    stages = [
        side["stage"].cast(pa.utf8()).take(pa.array(at))
        for side, at in zip(sides, pairs.of(*_STAYS), strict=True)
    ]
    found = Counter(zip(*(names.to_pylist() for names in stages), strict=True))
    moved = [(old, new, count) for (old, new), count in found.items() if old != new]
    return sorted(moved, key=lambda row: (-row[2], row))


def _effect(name: str, sides: Sequence[pa.Table], pairs: Pairs) -> Effect:
    """A score before and after with a histogram, whose bands are drawn so that outliers do not squash the rest."""
    scores = [side[name].to_numpy() for side in sides]
    was, becomes = (score[at] for score, at in zip(scores, pairs.of(*_STAYS), strict=True))
    effect = Effect(name, int(np.sum(becomes > was)), int(np.sum(becomes < was)))
    every = np.sort(np.concatenate(scores))
    if not len(every):
        return effect
    low, high = (int(every[int(q * len(every))]) for q in (0.01, 0.99))
    width = step(high - low)
    first, last = low // width, high // width
    counts = [
        np.bincount(np.clip(score // width, first, last) - first, minlength=last - first + 1)
        for score in scores
    ]
    for band in range(first, last + 1):
        low_end = None if band == first else band * width / 1000
        high_end = None if band == last else (band + 1) * width / 1000
        effect.bands.append(Band(low_end, high_end, *(int(of_side[band - first]) for of_side in counts)))
    return effect


def step(span: int) -> int:
    """Width of a band, in thousandths: 1, 2 or 5 times a power of ten, at least a point.

    >>> step(0), step(9_000), step(118_000)
    (1000, 2000, 20000)
    """
    width = 1000
    while True:
        for factor in (1, 2, 5):
            if span < width * factor * (BANDS - 1):
                return width * factor
        width *= 10


def _examples(store: Store, ask: Mapping[str, Any], sides: Sequence[pa.Table], pairs: Pairs) -> list[Example]:
    """The first few changes of each kind, in the order of ids."""
    told: list[tuple[str, list[list[str]]]] = []
    for kind in KINDS[1:]:
        places = pairs.of(kind)
        which = places[0] if kind in ("split", "gone") else places[1]
        for at in np.unique(which)[:EXAMPLES]:
            here = [np.unique(side[which == at]) for side in places]
            told.append((kind, [_ids(side, at) for side, at in zip(sides, here, strict=True)]))
    before, after = (
        _shown(store, ask, generation, sorted({p for _, example in told for p in example[n]}))
        for n, generation in enumerate(("g0", "g1"))
    )
    return [
        Example(kind, [before[p] for p in old if p in before], [after[p] for p in new if p in after])
        for kind, (old, new) in told
    ]


def _moved(store: Store, ask: Mapping[str, Any], sides: Sequence[pa.Table], pairs: Pairs) -> list[Moved]:
    """Of each score the profiles that it changes most, then some that change their stage."""
    old, new = (side.take(pa.array(at)) for side, at in zip(sides, pairs.of(*_STAYS), strict=True))
    chosen: dict[int, None] = {}
    for name in SCORES:
        change = np.abs(new[name].to_numpy() - old[name].to_numpy())
        most = np.argsort(-change, kind="stable")[:EXAMPLES]
        chosen |= dict.fromkeys(most[change[most] > 0].tolist())
    differs = pc.not_equal(old["stage"].cast(pa.utf8()), new["stage"].cast(pa.utf8()))
    chosen |= dict.fromkeys(np.flatnonzero(differs.to_numpy())[:EXAMPLES].tolist())
    rows = zip(
        *(side.take(pa.array(list(chosen), pa.int64())).to_pylist() for side in (old, new)), strict=True
    )
    told = list(rows)
    shown = _shown(store, ask, "g1", sorted(after["profile_id"] for _, after in told))
    return [
        Moved(
            shown[after["profile_id"]],
            {name: (before[name] / 1000, after[name] / 1000) for name in SCORES},
            (before["stage"], after["stage"]),
        )
        for before, after in told
        if after["profile_id"] in shown
    ]


def _ids(side: pa.Table, places: Int64s) -> list[str]:
    ids: list[str] = side["profile_id"].take(pa.array(places[places >= 0])).to_pylist()
    return ids


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
