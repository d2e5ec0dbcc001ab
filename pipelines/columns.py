"""Columns of golden records from rows of facts, aligned with a list of profiles.

Invariant: every function takes the ids in the order of the rows to be, and gives one entry for each; what a profile
does not have is empty. The ids may as well stand for moments of profiles, where facts of several days are asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import DAY, PROFILE_ROWS, TIME
from scoring.behaviour import NEVER

Indexes = npt.NDArray[np.int64]

_TEXTS = pa.map_(pa.utf8(), pa.utf8())


def activity_columns(ids: Sequence[str], found: pa.Table) -> dict[str, Any]:
    """Counts and times by profile, in the order of `ids`."""
    at = index_of(ids, found["profile_id"]).to_numpy()
    count = np.zeros(len(ids), np.uint64)
    count[at] = found["event_count"].to_numpy()
    first, last = (scattered(len(ids), at, found[name], 0) for name in ("first_seen_at", "last_seen_at"))
    days = scattered(len(ids), at, found["last_day"], NEVER)
    first_days = scattered(len(ids), at, found["first_day"], NEVER)
    first_days[count == 0] = NEVER
    return {
        "event_count": pa.array(count),
        "is_tombstone": pa.array((count == 0).astype(np.uint8)),
        "first_seen_at": pa.array(np.where(count == 0, 0, first)).cast(TIME),
        "last_seen_at": pa.array(np.where(count == 0, 0, last)).cast(TIME),
        "first_day": first_days,
        "last_day": days.astype(np.int32),
        "next_day": scattered(len(ids), at, found["next_day"], NEVER),
    }


def trait_columns(ids: Sequence[str], found: pa.Table) -> dict[str, Any]:
    """Traits, where they come from, channels and owner by profile."""
    found = found.append_column("at", index_of(ids, found["profile_id"]))  # "10" is the moment after "9"
    found = found.take(pc.sort_indices(found, [("at", "ascending"), ("name", "ascending")]))
    own = pc.starts_with(found["name"], "$")
    sealed = pc.equal(found["is_sealed"], 1)
    columns: dict[str, Any] = {
        "traits": _by_name(ids, found.filter(pc.and_not(pc.invert(own), sealed)), "value"),
        "sealed_traits": _by_name(ids, found.filter(pc.and_(pc.invert(own), sealed)), "value"),
        "trait_events": _by_name(ids, found.filter(pc.invert(own)), "event_id"),
    }
    for column, name, value in (
        ("first_channel", "$channel", "first_value"),
        ("last_channel", "$channel", "value"),
        ("owner", "$owner", "value"),
    ):
        rows = found.filter(pc.equal(found["name"], name))
        values = np.full(len(ids), "", object)
        values[index_of(ids, rows["profile_id"]).to_numpy()] = rows[value].to_numpy()
        columns[column] = pa.array(values, pa.utf8())
    return columns


def _by_name(ids: Sequence[str], rows: pa.Table, value: str) -> pa.MapArray:
    """Map name -> value by profile; rows sorted by position and name."""
    offsets = offsets_of(len(ids), rows["at"].to_numpy())
    keys, values = rows["name"].combine_chunks(), rows[value].combine_chunks()
    return pa.MapArray.from_arrays(offsets, keys.cast(pa.utf8()), values.cast(pa.utf8())).cast(_TEXTS)


def identifier_column(ids: Sequence[str], held: pa.Table) -> pa.MapArray:
    """Masks by namespace and profile."""
    held = held.sort_by([(name, "ascending") for name in ("profile_id", "namespace", "mask")])
    at = index_of(ids, held["profile_id"]).to_numpy()
    namespaces = held["namespace"].cast(pa.utf8()).combine_chunks()
    names = namespaces.dictionary_encode().indices.to_numpy()
    first = np.ones(len(at), bool)  # of its profile and namespace
    first[1:] = (at[1:] != at[:-1]) | (names[1:] != names[:-1])
    starts = np.append(np.flatnonzero(first), len(at)).astype(np.int32)
    masks = pa.ListArray.from_arrays(pa.array(starts), held["mask"].cast(pa.utf8()).combine_chunks())
    return pa.MapArray.from_arrays(offsets_of(len(ids), at[first]), namespaces.filter(pa.array(first)), masks)


def email_domains(held: pa.MapArray) -> pa.ListArray:
    """Domains of the emails among masks (`a***@x.com`) by namespace, ascending."""
    is_email = pc.equal(held.keys, "email")
    masks = held.items.filter(is_email)
    at = np.repeat(np.arange(len(held)), np.diff(held.offsets.to_numpy()))[
        is_email.to_numpy(zero_copy_only=False)
    ]
    sizes = pc.list_value_length(masks).to_numpy()
    domain = pc.replace_substring_regex(masks.flatten(), "^.*@", "")
    found = (
        pa.table({"at": pa.array(np.repeat(at, sizes)), "name": domain})
        .group_by(["at", "name"])
        .aggregate([])
    )
    found = found.sort_by([("at", "ascending"), ("name", "ascending")])
    names = found["name"].combine_chunks().cast(pa.utf8())
    return pa.ListArray.from_arrays(offsets_of(len(held), found["at"].to_numpy()), names)


def index_of(ids: Sequence[str], values: pa.ChunkedArray) -> pa.Array:
    """Position in `ids` of each value; all are there."""
    found = pc.index_in(values.cast(pa.utf8()), pa.array(ids, pa.utf8()))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def offsets_of(count: int, at: Indexes) -> pa.Array:
    """Offsets of a list or map column from the sorted positions of its entries."""
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(at, minlength=count), out=offsets[1:])
    return pa.array(offsets)


def scattered(count: int, at: Indexes, values: pa.ChunkedArray, missing: int) -> Indexes:
    """Integers (days, µs) at their positions, `missing` where there is none."""
    plain = values.cast(pa.int32() if values.type == DAY else pa.int64()).fill_null(missing)
    out = np.full(count, missing, np.int64)
    out[at] = plain.to_numpy()
    return out


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


def condition_rows(ids: Sequence[str], columns: Mapping[str, Any]) -> pa.Table:
    """Rows for conditions, with the columns that are worked out before scores."""
    held = columns["identifiers"]
    domains = columns["email_domains"] if "email_domains" in columns else email_domains(held)
    events = columns["trait_events"]
    return pa.table(
        {
            "profile_id": pa.array(ids, pa.utf8()),
            "traits": columns["traits"],
            "trait_names": pa.ListArray.from_arrays(events.offsets, events.keys),
            "identifiers": pa.ListArray.from_arrays(held.offsets, held.keys)
            if isinstance(held, pa.MapArray)
            else held,
            "email_domains": domains,
            "event_count": columns["event_count"],
            **{name: columns[name] for name in ("first_channel", "last_channel", "owner")},
        }
    )


def judged(ids: Sequence[str], found: pa.Table, column: str, count: int) -> npt.NDArray[np.uint8]:
    """Results of conditions, shape (ids, count), from rows of `scoring.compile` selects."""
    flat = found[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    results = np.zeros((len(ids), count), np.uint8)
    results[index_of(ids, found["profile_id"]).to_numpy()] = flat.reshape(len(found), count)
    return results
