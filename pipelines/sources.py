"""Where the job reads the log: a directory of closed segments, or a Kafka topic. Both give lines of text."""

from pathlib import Path
from typing import Any

from pyflink.common import Duration, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat

DISCOVERY_MS = 100


def lines(env: StreamExecutionEnvironment, log: dict[str, Any], uid: str) -> DataStream:
    """The log as a stream of lines; `log` is the part of that name in the job's configuration."""
    source = _kafka(log) if log["kind"] == "kafka" else _directory(log)
    return env.from_source(source, WatermarkStrategy.no_watermarks(), "log").uid(uid)


def _directory(log: dict[str, Any]) -> Any:
    root = f"file://{Path(log['live_root']).absolute()}"  # Flink's paths are not percent-decoded
    return (
        FileSource.for_record_stream_format(StreamFormat.text_line_format(), root)
        .monitor_continuously(Duration.of_millis(DISCOVERY_MS))
        .build()
    )


def _kafka(log: dict[str, Any]) -> Any:
    from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource

    return (
        KafkaSource.builder()
        .set_bootstrap_servers(log["bootstrap"])
        .set_topics(log["topic"])
        .set_group_id(log["group"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
