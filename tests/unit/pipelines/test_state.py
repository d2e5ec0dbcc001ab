"""Whatever is written and read in whatever order, the state is that of a dictionary, and little waits to be written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.packs import Pack, key_of, records
from pipelines import state
from pipelines.local_job import DictState
from pipelines.state import FlinkState, Packed


class FlinksMap(dict[str, Any]):
    """The calls of Flink's MapState, on a dictionary."""

    def put_all(self, values: dict[str, Any]) -> None:
        self.update(values)

    def put(self, key: str, value: Any) -> None:
        self[key] = value

    def remove(self, key: str) -> None:
        self.pop(key, None)


KEYS = st.sampled_from([f"{prefix}:{n}" for prefix in "ab" for n in range(9)])
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers()),
        st.tuples(st.just("delete"), KEYS, st.none()),
        st.tuples(st.just("get"), KEYS, st.none()),
        st.tuples(st.just("delete_prefix"), st.sampled_from(["a:", "b:"]), st.none()),
        st.tuples(st.just("flush"), st.none(), st.none()),
    ),
    max_size=60,
)


@given(calls=CALLS, in_bulk=st.booleans())
def test_it_is_a_dictionary_that_writes_back(calls: list[tuple[str, Any, Any]], in_bulk: bool) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(state, "CHANGED_LIMIT", 4)
        small.setattr(state, "CACHE_LIMIT", 6)
        flinks, expected = FlinksMap(), dict[str, Any]()
        tested = FlinkState(flinks, in_bulk=in_bulk)
        for call, key, value in calls:
            if call == "put":
                tested.put(key, value)
                expected[key] = value
            elif call == "delete":
                tested.delete(key)
                expected.pop(key, None)
            elif call == "delete_prefix":
                tested.delete_prefix(key)
                expected = {k: v for k, v in expected.items() if not k.startswith(key)}
            elif call == "flush":
                tested.flush()
                assert dict(flinks) == expected
            else:
                assert tested.get(key) == expected.get(key)
            waiting = {k: v for k, v in expected.items() if flinks.get(k) != v}
            assert len(waiting) < 4, "an element may be as large as history"
        tested.flush()
        assert dict(flinks) == expected


def pack(*ids: str) -> Pack:
    """Identifiers without neighbours."""
    n = len(ids)
    return Pack(
        list(ids), ["user"] * n, [1] * n, list(ids), [0] * n, [], [0] * n, [], [0] * n, [], [], [], {},
        [], [], [], [], [], [],
    )  # fmt: skip


BUILT = [pack("b", "d"), pack("f", "h")]
RECORDS = st.sampled_from(
    [key_of(i, field) for i in "abcdefghi" for field in ("i", "n0")] + ["date", "due:3:0"]
)


@given(calls=st.lists(st.tuples(RECORDS, st.sampled_from([None, (1,), (2, "x")])), max_size=40))
def test_what_was_built_can_be_changed_and_forgotten(calls: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(state, "PACKS_KEPT", 1)
        kept = DictState()
        Packed(kept, "g:").fill(BUILT)
        tested = Packed(kept, "g:")
        expected = {
            key_of(i, field): r for p in BUILT for i, of in records(p).items() for field, r in of.items()
        }
        for key, value in calls:
            if value is None:
                tested.delete(key)
                expected.pop(key, None)
            else:
                tested.put(key, value)
                expected[key] = value
            assert {k: v for k in {*expected, key} if (v := tested.get(k)) is not None} == expected
        kept.delete_prefix("g:")
        assert Packed(kept, "g:").get("i:b") is None
