"""The programs of the embedded stack: what each one's command line, health check and patience are."""

import sys
from pathlib import Path

from kintsugi.connections import ANALYST_TOKEN, STORE_TOKEN
from kintsugi.flink import Cluster, child_environment
from kintsugi.processes import Program
from kintsugi.settings import Settings


def store(settings: Settings, port: int) -> Program:
    """The embedded store. A crash in the engine can leave it alive but mute: supervised by its answers."""
    command = [
        *(sys.executable, "-m", "store.endpoint"),
        *("--path", str(settings.home / "store"), "--host", "127.0.0.1", "--port", str(port)),
        *("--token-file", str(token_file(settings))),
        *("--analyst-token-file", str(settings.run / ANALYST_TOKEN)),
    ]
    return Program(
        name="store",
        command=lambda: command,
        environment=child_environment(settings),
        log=settings.logs / "store.log",
        health_url=f"http://127.0.0.1:{port}/ping",
        grace=20,
    )


def token_file(settings: Settings) -> Path:
    """Password of the embedded store, made by the supervisor at each start."""
    return settings.run / STORE_TOKEN


def jobmanager(cluster: Cluster) -> Program:
    """Flink's JobManager."""
    return Program(
        name="jobmanager",
        command=cluster.jobmanager,
        environment=cluster.environment(),
        log=cluster.settings.logs / "jobmanager.log",
        health_url=f"{cluster.url}/overview",
        patience=30,
        startup=90,
    )


def taskmanager(cluster: Cluster) -> Program:
    """Flink's TaskManager; whether it is well, the JobManager knows (heartbeats)."""
    return Program(
        name="taskmanager",
        command=cluster.taskmanager,
        environment=cluster.environment(),
        log=cluster.settings.logs / "taskmanager.log",
    )


def collector(settings: Settings, descriptor: int, port: int) -> Program:
    """The collector on a socket that the supervisor holds: while it restarts, clients wait."""
    return _served(settings, "collector", "kintsugi.serve_collect", descriptor, port)


def query_api(settings: Settings, descriptor: int, port: int) -> Program:
    """The query API, likewise."""
    return _served(settings, "api", "kintsugi.serve_query", descriptor, port)


def handover(settings: Settings) -> Program:
    """What hands changes over; it ends at the first error, and goes on from the last change that arrived."""
    return Program(
        name="handover",
        command=lambda: [sys.executable, "-m", "kintsugi.handover"],
        environment=child_environment(settings),
        log=settings.logs / "handover.log",
    )


def broker(settings: Settings, port: int, controller_port: int) -> Program:
    """A Kafka broker of our own."""
    command = [
        *(sys.executable, "-m", "pipelines.broker"),
        *(
            "--home",
            str(settings.home / "kafka"),
            "--port",
            str(port),
            "--controller-port",
            str(controller_port),
        ),
    ]
    return Program(
        name="kafka",
        command=lambda: command,
        environment=child_environment(settings),
        log=settings.logs / "kafka.log",
        health_url=f"tcp://127.0.0.1:{port}",
        startup=90,
        grace=30,
    )


def _served(settings: Settings, name: str, module: str, descriptor: int, port: int) -> Program:
    command = [sys.executable, "-m", module, "--fd", str(descriptor)]
    return Program(
        name=name,
        command=lambda: command,
        environment=child_environment(settings),
        log=settings.logs / f"{name}.log",
        health_url=f"http://127.0.0.1:{port}/health",
        needs_200=False,
        inherited=(descriptor,),
    )
