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


def _pause(rounds: Rounds, seconds: float) -> tuple[float, float, float]:
    """Milliseconds from the end of a round of so many seconds to the next; the round's own, least and most."""
    before = time.time()
    with rounds.round("k"):
        began = time.time()
        time.sleep(seconds)
        ended = time.time()
    after = time.time()
    timers = Timers()
    rounds.ring("k", timers)
    late = 1000 * (time.time() - ended)
    return timers.set[-1] - 1000 * ended - late, 1000 * (ended - began), 1000 * (after - before) + late


def test_who_comes_to_an_idle_step_waits_for_those_that_come_with_him_alone() -> None:
    rounds, timers = Rounds(50, 300, 1), Timers()
    assert rounds.may_begin()
    came = timers.current_processing_time()
    rounds.ring("k", timers)
    assert came + 50 <= timers.set[-1] <= timers.current_processing_time() + 50


def test_the_pause_behind_a_round_is_in_proportion_to_it() -> None:
    rounds = Rounds(0, 10, 2)
    pause, least, most = _pause(rounds, 0.1)
    assert min(2 * least, LONGEST_PAUSE_MS) - (most - least) - 1 <= pause <= 2 * most + 1
    assert pause <= LONGEST_PAUSE_MS


def test_a_pause_has_a_least_and_a_longest() -> None:
    pause, least, most = _pause(Rounds(0, 300, 2), 0)
    assert 300 - (most - least) - 1 <= pause
    pause, least, most = _pause(Rounds(0, 10, 1000), 0.02)
    assert LONGEST_PAUSE_MS - (most - least) - 1 <= pause <= LONGEST_PAUSE_MS
    rounds = Rounds(0, 300, 2)
    _pause(rounds, 0)
    assert not rounds.may_begin()


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
