"""The distributed log: a Kafka topic whose messages are record lines, spread over its partitions in turn.

Invariant: a future resolves only after the delivery reports of all its lines, from an idempotent producer
with acks=all. Only the poll thread serves a producer, so delivery reports never race.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Self

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from pipelines.log import LogSettings, LogUnavailable, Mark, Overloaded
from pipelines.log.lines import MAX_LINE, is_trailer, lines_of
from schemas.log_record import AnyRecord, Trailer, encode

_log = structlog.get_logger(__name__)

_MAX_MESSAGE = MAX_LINE + (2 << 20)
"""Bytes: a line and whatever Kafka adds to it."""


class KafkaLog:
    """A writer and reader of `settings.topic`. See `pipelines.log.Log` for what it promises."""

    def __init__(self, settings: LogSettings) -> None:
        """Creates the topic where it is missing. Raises LogUnavailable."""
        self._settings = settings
        ensure_topic(settings)
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._is_fatal = False
        self._closed = False
        self._producer: Any = self._new_producer()
        self._partitions = _partition_count(self._producer, settings)
        self._thread = threading.Thread(target=self._run, name="log-producer", daemon=True)
        self._thread.start()

    # ---- writing

    def append(self, records: Sequence[AnyRecord]) -> "Future[None]":
        """See `Log.append`."""
        lines = lines_of(records)
        return self._produce([(next(self._turn) % self._partitions, line) for line in lines])

    def _produce(self, lines: Sequence[tuple[int, bytes]]) -> "Future[None]":
        """Sends lines to the partitions that come with them."""
        delivery, size = _Delivery(len(lines)), sum(len(line) for _, line in lines)
        with self._lock:
            if self._closed:
                raise LogUnavailable("the log is closed")
            if self._waiting_bytes and self._waiting_bytes + size > self._settings.queue_bytes:
                raise Overloaded(f"{self._waiting_bytes} bytes wait for the broker")
            try:
                for partition, line in lines:
                    report = self._reporter(delivery, len(line))
                    self._producer.produce(
                        self._settings.topic, line, partition=partition, on_delivery=report
                    )
                    self._waiting_bytes += len(line)
            except BufferError as error:
                raise Overloaded(str(error)) from error
            except KafkaException as error:
                self._is_fatal = self._is_fatal or _is_fatal(error.args[0])
                raise LogUnavailable(str(error)) from error
        return delivery.done

    def _reporter(self, delivery: "_Delivery", size: int) -> Any:
        def report(error: Any, _: Any) -> None:
            with self._lock:
                self._waiting_bytes -= size
            if error is not None and _is_fatal(error):
                self._is_fatal = True
            delivery.report(error)

        return report

    def _run(self) -> None:
        """The poll thread: serves delivery reports, replaces a producer that has failed for good."""
        while not self._closed:
            try:
                self._producer.poll(0.05)
            except KafkaException as error:  # a fatal producer raises here too
                self._note_error(error.args[0])
            if self._is_fatal:
                self._replace_producer()
        last, self._producer = self._producer, None  # its callbacks hold this log: else neither would go
        with contextlib.suppress(KafkaException):
            last.flush(self._settings.patience)
        _give_up(last)

    def _new_producer(self) -> Any:
        settings = self._settings
        return Producer(
            {
                **_connection(settings),
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",  # the job's connector cannot read zstd
                "linger.ms": 2,
                "message.max.bytes": _MAX_MESSAGE,
                "message.timeout.ms": int(settings.patience * 1000),
                "queue.buffering.max.kbytes": (settings.queue_bytes + _MAX_MESSAGE) // 512,
                "error_cb": self._note_error,
            }
        )

    def _note_error(self, error: Any) -> None:
        _log.warning("log.kafka_error", error=str(error))
        if _is_fatal(error):
            self._is_fatal = True

    def _replace_producer(self) -> None:
        """A producer that lost its place refuses everything for ever; what it held is not acknowledged."""
        _log.error("log.producer_replaced")
        with self._lock:
            failed, self._producer = self._producer, self._new_producer()
            self._is_fatal = False
        _give_up(failed)

    # ---- marks

    def mark(self, workspaces: Sequence[str] = (), done: Container[str] = frozenset()) -> list[Mark]:
        """See `Log.mark`: what was acknowledged lies in its partition before the trailer that this adds."""
        producer = self._producer
        if producer is None:
            raise LogUnavailable("the log is closed")
        self._partitions = _partition_count(producer, self._settings)
        named = sorted(set(workspaces))
        marks, lines = [], []
        for partition in range(self._partitions):
            segment = f"kafka/{self._settings.topic}/{partition}/{uuid.uuid4().hex}"
            marks.append(Mark(segment, tuple(named)))
            lines.append((partition, encode(Trailer(segment=segment, workspaces=named))))
        self._produce(lines).result()
        return [mark for mark in marks if mark.segment not in done]

    # ---- reading

    def read(self, since: int = 0) -> Iterator[bytes]:
        """See `Log.read`. Raises LogUnavailable when the broker stops answering."""
        options = {"group.id": "kintsugi.read", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        consumer = Consumer({**_connection(self._settings), **options})
        try:
            ends = self._seek(consumer, since)
            heard_at = time.monotonic()
            while ends:
                for message in consumer.consume(500, timeout=0.5):
                    if message.error():
                        raise LogUnavailable(str(message.error()))
                    heard_at = time.monotonic()
                    if not is_trailer(message.value()):
                        yield message.value()
                    if message.offset() + 1 >= ends.get(message.partition(), 0):
                        ends.pop(message.partition(), None)
                if time.monotonic() - heard_at > self._settings.patience:
                    raise LogUnavailable("the broker does not answer")
        except KafkaException as error:
            raise LogUnavailable(str(error)) from error
        finally:
            consumer.close()

    def _seek(self, consumer: Any, since: int) -> dict[int, int]:
        """Assigns what there is to read; the end offset of each such partition."""
        topic, patience = self._settings.topic, self._settings.patience
        starts, ends = [], {}
        for partition in range(_partition_count(consumer, self._settings)):
            asked = TopicPartition(topic, partition, since // 1000)
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=patience)
            if since:
                found = consumer.offsets_for_times([asked], timeout=patience)[0].offset
                first = end if found < 0 else found
            if first < end:
                starts.append(TopicPartition(topic, partition, first))
                ends[partition] = end
        consumer.assign(starts)
        return ends

    # ---- closing

    def close(self) -> None:
        """See `Log.close`."""
        with self._lock:
            self._closed = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Delivery:
    """The lines of one append, until the last of them is reported on."""

    def __init__(self, line_count: int) -> None:
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # what is on its way to the broker cannot be called back
        self._open_count = line_count
        self._error: Any = None
        if not line_count:
            self.done.set_result(None)

    def report(self, error: Any) -> None:
        """Notes the fate of one line; resolves the future with that of all."""
        self._open_count -= 1
        self._error = error if self._error is None else self._error
        if self._open_count == 0 and self._error is None:
            self.done.set_result(None)
        elif self._open_count == 0:
            self.done.set_exception(LogUnavailable(str(self._error)))


def ensure_topic(settings: LogSettings) -> None:
    """Creates the topic where it is missing, to be kept for ever.

    Raises LogUnavailable when no broker answers, or when the topic's settings would stop the job.
    """
    admin = AdminClient(_connection(settings))
    try:
        if settings.topic in admin.list_topics(timeout=settings.patience).topics:
            _check(admin, settings)
        else:
            _create(admin, settings)
    except KafkaException as error:
        raise LogUnavailable(str(error)) from error


def _partition_count(client: Any, settings: LogSettings) -> int:
    """Partitions of the topic, as any client sees it. Raises LogUnavailable."""
    deadline = time.monotonic() + settings.patience
    while time.monotonic() < deadline:
        try:
            found = client.list_topics(settings.topic, timeout=settings.patience).topics[settings.topic]
        except KafkaException as error:
            raise LogUnavailable(str(error)) from error
        if found.partitions:
            return len(found.partitions)
        time.sleep(0.1)  # just created: not every broker knows it yet
    raise LogUnavailable(f"the broker does not know the topic {settings.topic}")


def _create(admin: AdminClient, settings: LogSettings) -> None:
    config = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "compression.type": "producer",
        "max.message.bytes": str(_MAX_MESSAGE),
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, settings.replication - 1)),
    }
    topic = NewTopic(settings.topic, settings.partitions, settings.replication, config=config)
    try:
        admin.create_topics([topic])[settings.topic].result(settings.patience)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _check(admin: AdminClient, settings: LogSettings) -> None:
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.topic)
    config = admin.describe_configs([resource])[resource].result(settings.patience)
    if config["compression.type"].value == "zstd":
        raise LogUnavailable(f"topic {settings.topic}: the job cannot read compression.type zstd")
    if int(config["max.message.bytes"].value) < _MAX_MESSAGE:
        raise LogUnavailable(f"topic {settings.topic}: max.message.bytes must be at least {_MAX_MESSAGE}")


def _connection(settings: LogSettings) -> dict[str, Any]:
    return {**settings.kafka_options, "bootstrap.servers": settings.kafka, "log_level": 0}


def _is_fatal(error: Any) -> bool:
    return bool(error.fatal()) or error.code() == KafkaError._FATAL


def _give_up(producer: Any) -> None:
    """Reports on everything that a producer still holds: it was not acknowledged."""
    with contextlib.suppress(KafkaException):
        producer.purge()
    with contextlib.suppress(KafkaException):
        producer.flush(5)
