"""When rounds of work begin."""

import time

from pipelines.operators import LONGEST_PAUSE_MS, Rounds


class Timers:
    """Flink's timer service, as far as a round asks it."""

    def __init__(self) -> None:
        self.set: list[int] = []

    def current_processing_time(self) -> int:
        return int(time.time() * 1000)

    def register_processing_time_timer(self, at: int) -> None:
        self.set.append(at)

    def wait(self) -> int:
        """Milliseconds to the last one."""
        return self.set[-1] - self.current_processing_time()


def _after(seconds: float, rounds: Rounds) -> Timers:
    """Timers, once a round of so many seconds has ended."""
    with rounds.round("k"):
        time.sleep(seconds)
    return Timers()


def test_who_comes_to_an_idle_step_waits_for_those_that_come_with_him_alone() -> None:
    rounds, timers = Rounds(50, 300, 1), Timers()
    assert rounds.may_begin()
    rounds.ring("k", timers)
    assert 0 < timers.wait() <= 50


def test_the_pause_behind_a_round_is_in_proportion_to_it() -> None:
    rounds = Rounds(10, 50, 2)
    timers = _after(0.1, rounds)
    rounds.ring("k", timers)
    assert 150 < timers.wait() <= 260
    assert not rounds.may_begin()


def test_a_pause_has_a_least_and_a_longest() -> None:
    rounds = Rounds(10, 200, 2)
    timers = _after(0, rounds)
    rounds.ring("k", timers)
    assert 150 < timers.wait() <= 200
    rounds = Rounds(10, 200, 100)
    timers = _after(0.05, rounds)
    rounds.ring("k", timers)
    assert LONGEST_PAUSE_MS - 50 < timers.wait() <= LONGEST_PAUSE_MS


def test_a_timer_that_a_round_overtook_begins_none() -> None:
    rounds, timers = Rounds(50, 300, 1), Timers()
    rounds.ring("k", timers)
    with rounds.round("k"):
        pass
    rounds.ring("k", timers)
    overtaken, meant = timers.set
    assert not rounds.is_meant("k", overtaken)
    assert rounds.is_meant("k", meant)


def test_a_timer_of_a_dead_attempt_is_meant() -> None:
    """Rows that waited then came back with the state, and nothing else will begin their round."""
    assert Rounds(50, 300, 1).is_meant("k", 1)
