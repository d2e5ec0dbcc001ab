"""Waiting lookups of many requests become one question to the store.

Invariant: an answer was read after its request arrived (a lookup joins questions that wait, never one that
runs), and questions of different groups are never mixed. There is no timer: what arrives while the lanes are
busy waits together, so an idle store answers at once and a busy one is asked less often.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

G = TypeVar("G", bound=Hashable)
A = TypeVar("A")


class Coalescer(Generic[G, A]):
    """`fetch(group, ids)` answers every id of a group; it runs in threads, `lanes` of them at a time.

    One lane by default: of ids asked together each costs a fifth of one asked alone.

    Ids of a group beyond `most` wait for the next question. Groups take turns. Use it from one event loop.
    """

    def __init__(
        self, fetch: Callable[[G, list[str]], Mapping[str, A]], *, lanes: int = 1, most: int = 250
    ) -> None:
        self._fetch = fetch
        self._most = most
        self._free = lanes
        self._threads = ThreadPoolExecutor(lanes, "lookup")
        self._waiting: dict[G, dict[str, asyncio.Future[A]]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.asked = 0
        """Questions put to the store so far."""

    async def get(self, group: G, ids: Iterable[str]) -> dict[str, A]:
        """Answers by id. Raises what `fetch` raised for the question that held one of the ids."""
        ids = list(ids)
        if not ids:
            return {}
        waiting = self._waiting.setdefault(group, {})
        loop = asyncio.get_running_loop()
        mine = {i: waiting.setdefault(i, loop.create_future()) for i in ids}
        self._start()
        # wait() leaves the futures alone when this request is cancelled: others may wait for them too
        await asyncio.wait(mine.values())
        return {i: future.result() for i, future in mine.items()}

    def close(self) -> None:
        """Let what runs end and start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free and self._waiting:
            group = next(iter(self._waiting))
            waiting = self._waiting.pop(group)
            asked = {i: waiting.pop(i) for i in list(waiting)[: self._most]}
            if waiting:
                self._waiting[group] = waiting
            if asked:
                self._free -= 1
                task = asyncio.create_task(self._ask(group, asked))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _ask(self, group: G, asked: dict[str, asyncio.Future[A]]) -> None:
        self.asked += 1
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._threads, self._fetch, group, list(asked))
            for i, future in asked.items():
                future.set_result(answers[i])
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            for future in asked.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a waiter may be gone; that is no leak to warn of
        finally:
            self._free += 1
            self._start()
