"""Columns of golden records: what was read of events, traits and identifiers as Arrow, one entry for each profile.

Invariant: what a profile does not have is empty. Entries of lists and maps are given as (profile, what), sorted by
profile, and profiles are counted from 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import DAY, IDS, PROFILE_ROWS, TIME
from scoring.events import Indexes, Int64s, Seen, event_ids, starts_of
from scoring.traits import Traits

_TEXTS = pa.map_(pa.utf8(), pa.utf8())
CHANNEL, OWNER = "$channel", "$owner"
"""Traits that the mapping of the workspace gives; they are columns of their own."""


def activity_columns(seen: Seen) -> dict[str, Any]:
    """Counts and times."""
    count = seen.event_count
    return {
        "event_count": pa.array(count.astype(np.uint64)),
        "is_tombstone": pa.array((count == 0).astype(np.uint8)),
        "first_seen_at": pa.array(seen.first_at).cast(TIME),
        "last_seen_at": pa.array(seen.last_at).cast(TIME),
    }


def trait_columns(traits: Traits, count: int, date: int) -> dict[str, Any]:
    """Traits, where they come from, channels and owner."""
    everyone, on = np.arange(count), np.full(count, date)
    rows = traits.current(date)
    rows = rows[traits.is_own[traits.name[rows]]]
    sealed = traits.is_sealed[rows]
    names = pa.array(traits.names, pa.utf8())

    def by_name(rows: Indexes, values: pa.Array) -> pa.MapArray:
        offsets = offsets_of(count, traits.profile[rows])
        return pa.MapArray.from_arrays(offsets, names.take(pa.array(traits.name[rows])), values).cast(_TEXTS)

    return {
        "traits": by_name(rows[~sealed], traits.values.take(pa.array(rows[~sealed]))),
        "sealed_traits": by_name(rows[sealed], traits.values.take(pa.array(rows[sealed]))),
        "trait_events": by_name(rows, event_ids(traits.event[rows])),
        "first_channel": texts_at(traits.values, traits.first_on(CHANNEL, everyone, on)),
        "last_channel": texts_at(traits.values, traits.on(CHANNEL, everyone, on)),
        "owner": texts_at(traits.values, traits.on(OWNER, everyone, on)),
    }


def texts_at(values: pa.Array, rows: Indexes) -> pa.Array:
    """Texts of rows, empty for row -1."""
    return values.take(pa.array(rows, mask=rows < 0)).fill_null("")


def mask_column(profile: Int64s, namespace: pa.StringArray, mask: pa.StringArray, count: int) -> pa.MapArray:
    """Masks by namespace, ascending, from one entry of each identifier in any order."""
    held = pa.table({"profile": profile, "namespace": namespace, "mask": mask})
    held = held.take(pc.sort_indices(held, [(name, "ascending") for name in held.column_names]))
    profile = held["profile"].to_numpy()
    namespaces = held["namespace"].combine_chunks()
    starts = starts_of(profile, namespaces.dictionary_encode().indices.to_numpy())
    masks = pa.ListArray.from_arrays(
        pa.array(np.append(starts, len(profile)).astype(np.int32)), held["mask"].combine_chunks()
    )
    return pa.MapArray.from_arrays(
        offsets_of(count, profile[starts]), namespaces.take(pa.array(starts)), masks
    )


def coded(texts: pa.StringArray) -> tuple[Int64s, list[str]]:
    """Place of each text among the distinct ones, and these, ascending."""
    found = texts.dictionary_encode()
    names = found.dictionary.to_pylist()
    place = np.empty(len(names), np.int64)
    place[np.argsort(np.array(names, object), kind="stable")] = np.arange(len(names))
    return place[found.indices.to_numpy()], sorted(names)


def list_column(profile: Int64s, code: Int64s, names: Sequence[str], count: int) -> pa.ListArray:
    """Names by profile, ascending and each once, from entries in any order; `names` ascending."""
    entries = np.unique(profile * max(len(names), 1) + code)
    profile, code = np.divmod(entries, max(len(names), 1))
    values = pa.array(names, pa.utf8()).take(pa.array(code))
    return pa.ListArray.from_arrays(offsets_of(count, profile), values).cast(IDS)


def offsets_of(count: int, profile: Int64s) -> pa.Array:
    """Offsets of a list or map column from the profiles of its entries."""
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(profile, minlength=count), out=offsets[1:])
    return pa.array(offsets)


def day_array(day: Int64s) -> pa.Array:
    """Days since 1970 as dates."""
    return pa.array(day.astype(np.int32)).cast(DAY)


def empty(column: str, count: int) -> pa.Array:
    """A column that says nothing: empty text, list or map, zero, null."""
    kind = PROFILE_ROWS.field(column).type
    if column == "next_change_on":
        return pa.nulls(count, kind)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return pa.array([[]] * count, kind)
    return pa.repeat(
        pa.scalar("" if kind == pa.utf8() else 0, pa.int64() if kind == TIME else kind).cast(kind), count
    )
