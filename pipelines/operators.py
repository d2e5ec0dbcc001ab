"""The steps as Flink operators: they keep state and timers, the steps themselves know nothing of Flink.

Not in `job.py`, since what is defined in the script that Flink's driver runs would be pickled by value.
"""

import gc
import time
from collections.abc import Iterator, Sequence
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
        self._pause_ms = FLUSH_AFTER_MS

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
            ctx.timer_service().register_processing_time_timer(
                ctx.timer_service().current_processing_time() + self._pause_ms
            )
        # a trailer waits with the batches before it: many short segments cost no more than a long one
        rows, body = message.body if message.what == "batch" else (0, (message.body, message.copy))
        self._buffer.add(body)
        self._buffered[slot] = self._buffered.get(slot, 0) + rows
        if self._buffered[slot] >= FLUSH_EVENTS:
            yield from self._flush(slot)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Message]:
        yield from self._flush(ctx.get_current_key())

    def _flush(self, slot: str) -> Iterator[Message]:
        """Land what waits: first the batches, then the trailers, which say that all before them is told."""
        started = time.monotonic()
        waiting = list(self._buffer.get() or ())
        self._buffered.pop(slot, None)
        trailers = [body for body in waiting if isinstance(body, tuple)]
        if len(trailers) < len(waiting):
            yield from self._land(slot).flush([body for body in waiting if not isinstance(body, tuple)])
        for trailer in trailers:
            yield from trailer_messages(*trailer)
        if waiting:
            self._buffer.clear()
            # a dozen inserts, here and in `resolve`, cost more than the rows of few events: more events share them
            self._pause_ms = _pause(FLUSH_AFTER_MS, 2 * (time.monotonic() - started))


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
        self._pause_ms = CYCLE_MS

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
            ctx.timer_service().register_processing_time_timer(
                ctx.timer_service().current_processing_time() + self._pause_ms
            )
        return ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Sequence[Message]:
        self._cycle(ctx.get_current_key())
        return ()

    def _cycle(self, workspace: str) -> None:
        told = list(self._touched.get() or ())
        self._waiting.discard(workspace)
        step, state = self._step(workspace)
        if told or step.must_reconcile:
            started = time.monotonic()
            step.cycle([message for message in told if message[0] != "trailer"])
            step.record([body for what, body in told if what == "trailer"])
            self._touched.clear()
            state.flush()
            self._pause_ms = _pause(CYCLE_MS, time.monotonic() - started)


def _pause(least: int, seconds: float) -> int:
    """Milliseconds to the next round of work: in proportion to what the last took, so that rounds grow under load.

    What a round costs by itself (statements, parts, profiles touched again) is then shared by more events.
    """
    return min(max(least, int(1000 * seconds)), LONGEST_PAUSE_MS)
