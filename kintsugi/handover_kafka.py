"""Hand-over to a Kafka topic with one partition, so that changes come in their order.

Invariant: a page is done only after the delivery reports of all its messages, from an idempotent producer that leaves
no gap; the last message of the partition says where to go on.
"""

import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kintsugi.handover import cursor_of
from pipelines.log import LogUnavailable

_PATIENCE_S = 30.0
_FOR_EVER = {"retention.ms": "-1", "cleanup.policy": "delete"}
"""A topic whose messages expire forgets where to go on; who reads it may set another retention."""


class KafkaTarget:
    """See `kintsugi.handover.Target`; messages go to partition 0, the key is the profile_id."""

    def __init__(self, brokers: str, topic: str, workspace: str) -> None:
        """Creates the topic where it is missing. Raises LogUnavailable, Problem for a topic of something else."""
        self._servers = {"bootstrap.servers": brokers, "log_level": 0}
        self._topic = topic
        try:
            self._ensure()
            self._cursor = self._last(workspace)
            self._producer = Producer({
                **self._servers, "enable.idempotence": True, "enable.gapless.guarantee": True, "acks": "all",
                "compression.type": "lz4", "message.timeout.ms": int(_PATIENCE_S * 1000),
            })  # fmt: skip
        except KafkaException as error:
            raise LogUnavailable(f"Kafka at {brokers}: {error}") from error

    def _ensure(self) -> None:
        admin = AdminClient(self._servers)
        if self._topic not in admin.list_topics(timeout=_PATIENCE_S).topics:
            made = admin.create_topics([NewTopic(self._topic, num_partitions=1, config=_FOR_EVER)])
            made[self._topic].result(_PATIENCE_S)

    def _last(self, workspace: str) -> str:
        """Cursor of the last message. Problem when it is none of this workspace."""
        consumer = Consumer({**self._servers, "group.id": "kintsugi.handover", "enable.auto.commit": False})
        try:
            place = TopicPartition(self._topic, 0)
            first, end = self._ends(consumer, place)
            if first == end:
                return ""
            consumer.assign([TopicPartition(self._topic, 0, end - 1)])
            message = consumer.poll(_PATIENCE_S)
            if message is None or message.error():
                raise LogUnavailable(f"the last message of {self._topic} cannot be read")
            return cursor_of(message.value(), workspace, self._topic)
        finally:
            consumer.close()

    def _ends(self, consumer: Any, place: TopicPartition) -> tuple[int, int]:
        """First and end offset; a topic that was just created is waited for."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                first, end = consumer.get_watermark_offsets(place, timeout=5.0)
                return int(first), int(end)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def cursor(self) -> str:
        """See `Target`."""
        return self._cursor

    def write(self, changes: Sequence[tuple[str, bytes]]) -> None:
        """See `Target`. Raises LogUnavailable; start anew then: the topic says where to go on."""
        errors: list[str] = []
        delivered = 0

        def report(error: Any, _: Any) -> None:
            nonlocal delivered
            delivered += error is None
            if error is not None:
                errors.append(str(error))

        for profile_id, line in changes:
            self._producer.produce(self._topic, line, profile_id, 0, on_delivery=report)
        self._producer.flush(_PATIENCE_S + 5)
        if delivered < len(changes):
            raise LogUnavailable(f"{self._topic}: {errors[0] if errors else 'no delivery report came'}")

    def close(self) -> None:
        """See `Target`; nothing waits, since `write` waited."""
        self._producer.flush(1)
