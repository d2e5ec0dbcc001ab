"""The Kafka log when its broker is killed, does not come back, or when its producer turns fatal."""

import ctypes
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import msgspec
import pytest

from pipelines.broker import Broker
from pipelines.log import LogSettings, LogUnavailable, Overloaded
from pipelines.log.kafka import KafkaLog
from schemas.log_record import Events, Item, decode
from tests.kafka_broker import running_broker


@pytest.fixture(scope="module")
def broker() -> Broker:
    return running_broker()


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> LogSettings:
    return LogSettings(home=tmp_path, kafka=broker.servers, topic=f"log.{uuid.uuid4().hex}", partitions=2)


def events(name: str) -> Events:
    body = msgspec.Raw(msgspec.json.encode({"messageId": name}))
    return Events(workspace="w", source="s", received_at=1, key_generation=1, batch=[Item(e=body)])


def names(log: KafkaLog) -> set[str]:
    return {msgspec.json.decode(item.e)["messageId"] for line in log.read() for item in decode(line).batch}


def was_taken(log: KafkaLog, name: str) -> bool:
    try:
        log.append([events(name)]).result(20)
    except LogUnavailable:
        return False
    return True


def wait_until(happened: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_killed_broker_loses_nothing_it_acknowledged(broker: Broker, settings: LogSettings) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()
    with KafkaLog(settings) as log:

        def write(thread: int) -> None:
            number = 0
            while not stop.is_set():
                name = f"{thread}-{number}"
                try:
                    log.append([events(name)]).result(30)
                except (LogUnavailable, Overloaded):
                    continue  # the same one again, as a client would
                acknowledged.append(name)
                number += 1

        writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
        for writer in writers:
            writer.start()
        try:
            wait_until(lambda: len(acknowledged) > 50)
            broker.kill()
            before = len(acknowledged)
            broker.start()
            wait_until(lambda: len(acknowledged) > before + 50)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert set(acknowledged) <= names(log)


def test_a_broker_that_does_not_answer_makes_appends_fail_and_not_hang(
    broker: Broker, settings: LogSettings
) -> None:
    impatient = LogSettings(home=settings.home, kafka=settings.kafka, topic=settings.topic, patience=2)
    with KafkaLog(settings) as reader, KafkaLog(impatient) as log:
        wait_until(lambda: was_taken(log, "before"))
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(LogUnavailable):
                log.append([events("meanwhile")]).result(20)
            assert time.monotonic() - begun < 8
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        wait_until(lambda: was_taken(log, "after"))
        assert {"before", "after"} <= names(reader)


def test_no_broker_at_all_is_said_in_time(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        KafkaLog(LogSettings(home=tmp_path, kafka="127.0.0.1:1", patience=0.5))


def test_a_producer_that_turned_fatal_is_replaced(settings: LogSettings) -> None:
    with KafkaLog(settings) as log:
        log.append([events("before")]).result(10)
        turn_fatal(log._producer)
        wait_until(lambda: was_taken(log, "after"))
        assert names(log) == {"before", "after"}


def turn_fatal(producer: object) -> None:
    """Makes librdkafka believe that the producer lost its place, by its own entry for tests."""
    libraries = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    found = sorted(libraries.glob("librdkafka-*"))
    if not found:
        pytest.skip("this build of confluent-kafka holds librdkafka in another place")
    library = ctypes.CDLL(str(found[0]))
    # a client object is Python's header (two words) followed by the pointer to its rd_kafka_t
    handle = ctypes.c_void_p.from_address(id(producer) + 2 * ctypes.sizeof(ctypes.c_void_p))
    library.rd_kafka_test_fatal_error.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    failed = library.rd_kafka_test_fatal_error(
        handle, confluent_kafka.KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, b"made by a test"
    )
    assert failed == 0
