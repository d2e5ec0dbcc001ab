"""The steps as Flink operators: they keep state and timers, the steps themselves know nothing of Flink.

Not in `job.py`, since what is defined in the script that Flink's driver runs would be pickled by value.
"""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyflink.common import Types
from pyflink.datastream import FlatMapFunction, KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor

from pipelines.land import FLUSH_AFTER_MS, FLUSH_EVENTS, Land, trailer_messages
from pipelines.messages import Message
from pipelines.normalize import Normalize, keys_in
from pipelines.resolve import Resolve, Versions
from pipelines.score import CYCLE_MS, Score
from pipelines.state import FlinkState
from store.client import Store, StoreSettings

GATHER_MS = 50
"""What the steps before tell at once is scored together."""
LONGEST_PAUSE_MS = 500
PICKLED = Types.PICKLED_BYTE_ARRAY()


def _store(config: dict[str, Any]) -> Store:
    return Store(StoreSettings(**config["store"], threads=1))


def now() -> int:
    """Processing time, µs since 1970 UTC: for journals alone, nothing derived depends on it."""
    return time.time_ns() // 1000


def calm_collector() -> None:
    """Millions of long-lived objects (caches, state) make full garbage collections costly and find nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    sys.setswitchinterval(0.001)


class Rounds:
    """When rounds of work begin: soon after something comes, and never soon after the last round.

    What a round costs by itself (statements, parts, profiles touched again) is shared by all that comes in the pause
    behind it, which is in proportion to what it took, so that rounds grow under load.
    """

    def __init__(self, gather_ms: int, least_ms: int, share: int) -> None:
        """A round waits `gather_ms` for more; the pause is this `share` of a round's time, `least_ms` or more."""
        self._gather_ms = gather_ms
        self._least_ms = least_ms
        self._share = share
        self._rung: dict[str, int] = {}
        self._not_before_ms = 0

    def ring(self, key: str, timers: Any) -> None:
        """Set the timer of a key's next round, for what came just now."""
        at = max(timers.current_processing_time() + self._gather_ms, self._not_before_ms)
        self._rung[key] = at
        timers.register_processing_time_timer(at)

    def may_begin(self) -> bool:
        """Whether the pause is over."""
        return time.time() * 1000 >= self._not_before_ms

    def is_meant(self, key: str, timer: int) -> bool:
        """Whether a timer is the key's last; those before it were overtaken by a round. One of a dead attempt is."""
        return self._rung.get(key, timer) == timer

    @contextmanager
    def round(self, key: str) -> Iterator[None]:
        """A round, and the pause behind it."""
        self._rung.pop(key, None)
        began = time.time()
        yield
        ended = time.time()
        pause = max(self._least_ms, 1000 * self._share * (ended - began))
        self._not_before_ms = int(1000 * ended + min(pause, LONGEST_PAUSE_MS))


class NormalizeStep(FlatMapFunction):
    """`normalize`: no Flink state."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def open(self, runtime_context: RuntimeContext) -> None:
        calm_collector()
        self._step = Normalize(self._config["slots"], keys_in(Path(self._config["home"])))

    def flat_map(self, value: str) -> Iterator[Message]:
        return self._step.line(value)


class LandStep(KeyedProcessFunction):
    """`land`: batches and trailers wait in list state until enough have come or the timer rings."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def open(self, runtime_context: RuntimeContext) -> None:
        self._buffer = runtime_context.get_list_state(ListStateDescriptor("batches", PICKLED))
        self._generations = runtime_context.get_state(ValueStateDescriptor("generations", PICKLED))
        self._store = _store(self._config)
        self._lands: dict[str, Land] = {}
        self._buffered: dict[str, int] = {}
        self._rounds = Rounds(FLUSH_AFTER_MS, FLUSH_AFTER_MS, 2)

    def _land(self, slot: str) -> Land:
        if slot not in self._lands:
            land = self._lands[slot] = Land(self._store)
            heard = self._generations.value()
            if heard is None:
                land.learn()
            land.words = heard or {}
        return self._lands[slot]

    def process_element(self, value: Message, ctx: KeyedProcessFunction.Context) -> Iterator[Message]:
        message = Message(*value)
        slot = message.key
        if message.what == "control":
            yield from self._flush(slot)
            land = self._land(slot)
            yield from land.control(message.body, message.copy)
            self._generations.update(land.words)
            return
        if slot not in self._buffered:
            # the first since this attempt or the last flush: state restored with rows has its timer too
            self._rounds.ring(slot, ctx.timer_service())
        # a trailer waits with the batches before it: many short segments cost no more than a long one
        is_batch = message.what == "batch"
        rows, body = message.body if is_batch else (0, (message.body, message.copy))
        self._buffer.add(body)
        self._buffered[slot] = self._buffered.get(slot, 0) + rows
        # behind a trailer nothing more comes soon: the segment is in
        if self._buffered[slot] >= FLUSH_EVENTS or (not is_batch and self._rounds.may_begin()):
            yield from self._flush(slot)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Message]:
        if self._rounds.is_meant(ctx.get_current_key(), timestamp):
            yield from self._flush(ctx.get_current_key())

    def _flush(self, slot: str) -> Iterator[Message]:
        """Land what waits: first the batches, then the trailers, which say that all before them is told."""
        waiting = list(self._buffer.get() or ())
        self._buffered.pop(slot, None)
        if not waiting:
            return
        with self._rounds.round(slot):
            trailers = [body for body in waiting if isinstance(body, tuple)]
            if len(trailers) < len(waiting):
                yield from self._land(slot).flush([body for body in waiting if not isinstance(body, tuple)])
            for trailer in trailers:
                yield from trailer_messages(*trailer)
            self._buffer.clear()


class ResolveStep(KeyedProcessFunction):
    """`resolve`: the resolver's key-value state in map state."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def open(self, runtime_context: RuntimeContext) -> None:
        self._map = runtime_context.get_map_state(MapStateDescriptor("resolver", Types.STRING(), PICKLED))
        self._store = _store(self._config)
        self._versions = Versions(self._store, "identity_map")
        self._steps: dict[str, tuple[Resolve, FlinkState]] = {}

    def process_element(self, value: Message, ctx: KeyedProcessFunction.Context) -> Iterator[Message]:
        message = Message(*value)
        if message.key not in self._steps:
            state = FlinkState(self._map, in_bulk=self._config["mode"] == "thread")
            step = Resolve(
                message.key, self._store, state, self._versions, check=self._config["check"], now=now
            )  # fmt: skip
            self._steps[message.key] = step, state
        step, state = self._steps[message.key]
        yield from step.on(message)
        state.flush()


class ScoreStep(KeyedProcessFunction):
    """`score`: touched identifiers wait in list state for the next cycle, and the trailers behind them."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def open(self, runtime_context: RuntimeContext) -> None:
        self._map = runtime_context.get_map_state(MapStateDescriptor("score", Types.STRING(), PICKLED))
        self._touched = runtime_context.get_list_state(ListStateDescriptor("touched", PICKLED))
        self._store = _store(self._config)
        self._versions = Versions(self._store, "profile_rows")
        self._steps: dict[str, tuple[Score, FlinkState]] = {}
        self._waiting: set[str] = set()
        self._rounds = Rounds(GATHER_MS, CYCLE_MS, 1)

    def _step(self, workspace: str) -> tuple[Score, FlinkState]:
        if workspace not in self._steps:
            state = FlinkState(self._map, in_bulk=self._config["mode"] == "thread")
            self._steps[workspace] = Score(workspace, self._store, state, self._versions, now=now), state
        return self._steps[workspace]

    def process_element(self, value: Message, ctx: KeyedProcessFunction.Context) -> Sequence[Message]:
        message = Message(*value)
        workspace = message.key
        step, state = self._step(workspace)
        if message.what == "control":
            self._cycle(workspace)
            step.control(message)
            state.flush()
            return ()  # in process mode Flink iterates over what comes back, None is not enough
        self._touched.add((message.what, message.body))
        if workspace not in self._waiting:
            self._waiting.add(workspace)
            self._rounds.ring(workspace, ctx.timer_service())
        return ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Sequence[Message]:
        if self._rounds.is_meant(ctx.get_current_key(), timestamp):
            self._cycle(ctx.get_current_key())
        return ()

    def _cycle(self, workspace: str) -> None:
        told = list(self._touched.get() or ())
        self._waiting.discard(workspace)
        step, state = self._step(workspace)
        if told or step.must_reconcile:
            with self._rounds.round(workspace):
                step.cycle([message for message in told if message[0] != "trailer"])
                step.record([body for what, body in told if what == "trailer"])
                self._touched.clear()
                state.flush()
