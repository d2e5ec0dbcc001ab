"""The job's own steps in this process, without Flink: for stories of rules, and for laws over many orders of arrival.

Nothing of the product is replaced: the steps, the messages and the store are the real ones; only the shuffling of
messages and the timers are done by hand, in an order that the caller's seed decides.
"""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.land import Land, trailer_messages
from pipelines.messages import Body, Message
from pipelines.normalize import Normalize, keys_in
from pipelines.resolve import Resolve, Versions
from pipelines.score import Score
from store.client import Store


class DictState:
    """The key-value state of a step, in a dict."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def put(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def read(self, key: str) -> Any:
        return self.values.get(key)

    def write(self, values: Mapping[str, Any]) -> None:
        self.values.update(values)

    def delete_prefix(self, prefix: str) -> None:
        for key in [key for key in self.values if key.startswith(prefix)]:
            del self.values[key]


class LocalJob:
    """normalize -> land slots -> resolve -> score over log lines."""

    def __init__(
        self, store: Store, home: Path, *, slots: int = 1, seed: int = 0, check: bool = False
    ) -> None:
        self.store = store
        self.random = random.Random(seed)  # noqa: S311 - an order that can be repeated
        self.check = check
        self.slots = slots
        self.normalize = Normalize(slots, keys_in(home))
        self.lands = {str(slot): Land(store) for slot in range(slots)}
        self.buffers: dict[str, list[Body]] = {slot: [] for slot in self.lands}
        self.map_versions = Versions(store, "identity_map")
        self.row_versions = Versions(store, "profile_rows")
        self.resolves: dict[str, Resolve] = {}
        self.scores: dict[str, Score] = {}
        self.told: dict[str, list[tuple[str, Any]]] = {}
        self.clock = 0

    def now(self) -> int:
        self.clock += 1
        return self.clock

    def run(self, lines: Iterable[bytes]) -> None:
        """Take the lines in the given order, flushing now and then, and finish everything."""
        for line in lines:
            for message in self.normalize.line(line.decode()):
                self._land(message)
        for slot in self.lands:
            self._flush(slot)
        for workspace in list(self.scores):
            self._cycle(workspace)

    def _land(self, message: Message) -> None:
        slot = message.key
        if message.what == "batch":
            self.buffers[slot].append(message.body[1])
            if self.random.random() < 0.2:
                self._flush(slot)
            return
        self._flush(slot)
        out = (
            self.lands[slot].control(message.body, message.copy)
            if message.what == "control"
            else trailer_messages(message.body, message.copy)
        )
        for told in out:
            self._resolve(told)

    def _flush(self, slot: str) -> None:
        bodies, self.buffers[slot] = self.buffers[slot], []
        if bodies:
            for told in self.lands[slot].flush(bodies):
                self._resolve(told)

    def _resolve(self, message: Message) -> None:
        if message.key not in self.resolves:
            self.resolves[message.key] = Resolve(
                message.key,
                self.store,
                DictState(),
                self.map_versions,
                check=self.check,
                now=self.now,
            )
            self.scores[message.key] = Score(
                message.key, self.store, DictState(), self.row_versions, now=self.now
            )
        for told in self.resolves[message.key].on(message):
            if told.what in ("touched", "moved", "said"):
                self.told.setdefault(told.key, []).append((told.what, told.body))
                if self.random.random() < 0.1:
                    self._cycle(told.key)
            else:
                self._cycle(told.key)
                self.scores[told.key].control(told)

    def _cycle(self, workspace: str) -> None:
        self.scores[workspace].cycle(self.told.pop(workspace, []))
