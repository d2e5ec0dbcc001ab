"""Promises of the token buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import limits
from api.limits import BURST_S, Buckets, TooManyRequests, address_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, name: str) -> bool:
    try:
        buckets.take(name)
    except TooManyRequests:
        return False
    return True


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 200)), max_size=20))
def test_no_stretch_of_time_gets_more_than_the_burst_and_the_rate(
    rate: int, calls: list[tuple[float, int]]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, clock)
    began, count = clock.now, 0
    for pause, tries in calls:
        clock.now += pause
        count += sum(taken(buckets, "a") for _ in range(tries))
        assert count <= rate * (BURST_S + clock.now - began) + 1e-6


def test_who_waits_as_told_is_let_in_and_a_second_sooner_is_not() -> None:
    clock = Clock()
    buckets = Buckets(0.5, clock)
    assert [taken(buckets, "a") for _ in range(6)] == [True] * 5 + [False]
    with pytest.raises(TooManyRequests) as caught:
        buckets.take("a")
    assert caught.value.retry_after == 2
    clock.now += 1
    assert not taken(buckets, "a")
    clock.now += 1
    assert taken(buckets, "a")
    assert taken(buckets, "b")


def test_a_debt_is_paid_before_the_next_call() -> None:
    clock = Clock()
    buckets = Buckets(10, clock)
    buckets.take("a")
    buckets.charge("a", 299)
    with pytest.raises(TooManyRequests) as caught:
        buckets.take("a")
    assert caught.value.retry_after == 21
    clock.now += 21
    assert taken(buckets, "a")


def test_memory_is_bounded_and_the_one_used_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST", 100)
    buckets = Buckets(1, Clock())
    buckets.take("mine")
    buckets.charge("mine", 9)
    for number in range(1000):
        buckets.take(str(number))
        assert not taken(buckets, "mine")
    assert len(buckets._full_at) <= 100


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::"),
        (("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (("unknown", 0), ""),
        (None, ""),
    ],
)
def test_an_address_is_what_one_subscriber_has(client: object, address: str) -> None:
    assert address_of({"type": "http", "client": client}) == address
