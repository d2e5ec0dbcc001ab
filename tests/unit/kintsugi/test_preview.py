"""What becomes of profiles, against its definition over any two partitions of the same identifiers."""

import doctest

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from kintsugi import preview
from kintsugi.preview import KINDS, matched

Side = list[set[str]]

sides = st.lists(st.none() | st.integers(0, 3), min_size=9, max_size=9)
"""For each of nine identifiers the profile that holds it; None while it is excluded."""


def profiles(owners: list[int | None]) -> Side:
    """Members by profile."""
    return [{str(i) for i, owner in enumerate(owners) if owner == p} for p in range(4) if p in owners]


def column(side: Side) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([sorted(members) for members in side], pa.list_(pa.utf8()))])


def kind_of(members: set[str], old: Side, new: Side) -> dict[int, str]:
    """Kind of change by profile after, of one profile before."""
    found = {}
    for at, target in enumerate(new):
        if members & target:
            sources = [source for source in old if source & target]
            targets = [other for other in new if other & members]
            if len(sources) == len(targets) == 1:
                found[at] = "unchanged" if members == target else "resized"
            elif len(sources) > 1 and all(sum(bool(s & t) for t in new) == 1 for s in sources):
                found[at] = "merged"
            elif len(targets) > 1 and all(sum(bool(s & t) for s in old) == 1 for t in targets):
                found[at] = "split"
            else:
                found[at] = "regrouped"
    return found


@settings(deadline=None, max_examples=200)
@given(sides, sides)
def test_profiles_are_counted_by_what_becomes_of_them(
    before: list[int | None], after: list[int | None]
) -> None:
    old, new = profiles(before), profiles(after)
    kinds = [kind_of(members, old, new) for members in old]
    expected = {}
    for kind in KINDS:
        sources = sum(kind in targets.values() for targets in kinds)
        targets = {at for found in kinds for at, of in found.items() if of == kind}
        expected[kind] = [sources, len(targets)]
    expected["gone"] = [sum(not targets for targets in kinds), 0]
    expected["created"] = [0, sum(not any(source & target for source in old) for target in new)]
    found = matched(column(old), column(new)).changes()
    assert {change.kind: [change.before, change.after] for change in found} == expected


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(preview).failed == 0
