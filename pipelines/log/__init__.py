"""The log: the only input of the product, behind one interface with two backends: a directory, a Kafka topic.

Invariant: a record whose append was acknowledged is durable and is read at least once, by every reader,
whatever dies afterwards; a record that is read is whole. Nothing is changed in place or dropped.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from schemas.errors import Problem
from schemas.log_record import AnyRecord

MIB = 1 << 20


class Overloaded(Problem):
    """The queue in front of the log is full; `retry_after` is in seconds."""

    retry_after = 1

    def __init__(self, detail: str = "") -> None:
        super().__init__("overloaded", detail)


class LogUnavailable(Problem):
    """The log cannot be written at the moment (disk full, I/O error, broker away) or any more (closed).

    As the result of an append: it was not acknowledged, though it may be in the log; appending again is safe.
    """

    retry_after = 5

    def __init__(self, detail: str = "") -> None:
        super().__init__("overloaded", detail)


class Mark(NamedTuple):
    """A closed stretch of the log; once `progress` names it for each workspace, it is in the profiles."""

    segment: str
    workspaces: tuple[str, ...]


class Log(Protocol):
    """What both backends promise; `tests/contracts/test_log.py` holds them to it. Methods are thread-safe."""

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        """Adds records, in this order; the future resolves when they are durable.

        Raises Problem `corrupt_record` or `body_too_large` for what could not be read back (then nothing was
        taken), Overloaded when the queue is full, LogUnavailable when closed; the future, LogUnavailable.
        """

    def mark(self, workspaces: Sequence[str] = (), done: Container[str] = frozenset()) -> list[Mark]:
        """Ends every open segment: what was acknowledged before this call, by any process, lies in the marks.

        `workspaces` are those that a topic's trailers name (a directory's segments know their own); segments
        in `done` are left out. Raises LogUnavailable when that cannot be had in time, Overloaded.
        """

    def read(self, since: int = 0) -> Iterator[bytes]:
        """Record lines, without trailers, accepted at or after `since` (µs UTC) and some from before.

        Records of one writer come in their order (in a topic: of one writer and partition). A directory
        yields closed segments only, live and archived; a topic, what it holds at the time of the call.
        """

    def close(self) -> None:
        """Makes everything appended durable and closes; harmless when repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where the log is: in `home`, or, with `kafka` (bootstrap servers), in a topic."""

    home: Path
    segment_bytes: int = 4 * MIB
    """A segment closes at about this size; it is re-read from its start on recovery."""
    segment_seconds: float = 0.5
    """… and this long after its first record, at most 1: until then the job does not see it."""
    queue_bytes: int = 64 * MIB
    """Appends that are not yet durable, beyond which the log is overloaded."""
    patience: float = 10.0
    """Seconds after which waiting for a disk, a broker or another process's segment is given up."""

    kafka: str = ""
    topic: str = "kintsugi.log"
    partitions: int = 4
    replication: int = 1
    kafka_options: Mapping[str, str] = field(default_factory=dict)
    """Further librdkafka options of every client, such as `security.protocol`."""


def open_log(settings: LogSettings) -> Log:
    """The log of these settings, ready to write: creates what is missing, recovers what the dead left."""
    if settings.kafka:
        from pipelines.log.kafka import KafkaLog  # librdkafka is loaded only where it is used

        return KafkaLog(settings)
    from pipelines.log.directory import DirectoryLog

    return DirectoryLog(settings)
