"""The log of a local job: what is appended is done at once, by the same steps, so that commands run without Flink."""

import itertools
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from typing import Self

from pipelines.local_job import LocalJob
from pipelines.log import Mark
from schemas.log_record import AnyRecord, Trailer, encode


class LocalLog:
    """A `pipelines.log.Log` in front of a LocalJob; `meanwhile` gives records that arrive before each append."""

    def __init__(self, job: LocalJob, meanwhile: Callable[[], Sequence[AnyRecord]] = lambda: ()) -> None:
        self.records: list[AnyRecord] = []
        self._job = job
        self._meanwhile = meanwhile
        self._numbers = itertools.count(1)

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        every = [*self._meanwhile(), *records]
        self.records += every
        self._job.run(encode(record) for record in every)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def mark(self, workspaces: Sequence[str] = (), done: Container[str] = frozenset()) -> list[Mark]:
        segment = f"local-{next(self._numbers):06}"
        self._job.run([encode(Trailer(segment=segment, workspaces=list(workspaces)))])
        return [Mark(segment, tuple(workspaces))]

    def read(self, since: int = 0) -> Iterator[bytes]:
        return map(encode, self.records)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
