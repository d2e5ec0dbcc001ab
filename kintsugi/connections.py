"""Where settings and endpoints become a store, a log and the job's configuration: wired here alone."""

import time
from pathlib import Path
from typing import Any

from kintsugi.endpoints import Endpoints
from kintsugi.roots import Roots
from kintsugi.settings import Settings
from pipelines.log import Log, LogSettings, LogUnavailable, open_log
from schemas.errors import Problem
from store.client import Store, connect

STORE_TOKEN = "store.token"  # noqa: S105 - the name of a file
ANALYST_TOKEN = "analyst.token"  # noqa: S105 - the name of a file
_LOG_PATIENCE_S = 60.0


def store_access(settings: Settings, said: Endpoints) -> dict[str, str]:
    """url, user and token of the store."""
    if not settings.has_embedded_store:
        return {"url": settings.store_url, "user": settings.store_user, "token": settings.store_password}
    try:
        token = (settings.run / STORE_TOKEN).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise Problem("store_unavailable", "The store was never started here; run `kintsugi up`.") from None
    return {"url": said.store, "user": "default", "token": token}


def analyst_access(settings: Settings, said: Endpoints) -> dict[str, str]:
    """url, user and token of the login that reads the public views alone.

    Where an external ClickHouse has no such login (no KINTSUGI_ANALYST_PASSWORD), the only one there is.
    """
    if not settings.has_embedded_store:
        own = {"user": "analyst", "token": settings.analyst_password} if settings.analyst_password else {}
        return store_access(settings, said) | own
    try:
        token = (settings.run / ANALYST_TOKEN).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise Problem("store_unavailable", "The store was never started here; run `kintsugi up`.") from None
    return {"url": said.store, "user": "analyst", "token": token}


def store(settings: Settings, said: Endpoints, patience: float = 20.0, threads: int = 0) -> Store:
    """The store of the stack; calls are repeated for `patience` seconds while it does not answer.

    `threads`: as `StoreSettings.threads`.
    """
    access = store_access(settings, said)
    return connect(
        access["url"], user=access["user"], token=access["token"], patience=patience, threads=threads
    )


def log_settings(settings: Settings, said: Endpoints | None) -> LogSettings:
    """Where the log is; a directory or somebody else's broker can be written while the stack is down."""
    if settings.log == "kafka":
        brokers = settings.kafka_bootstrap or (said.kafka if said else "")
        if not brokers:
            raise Problem(
                "bad_request", f"No broker runs for {settings.home}; start the stack: `kintsugi up`."
            )
        return LogSettings(home=settings.home, kafka=brokers, topic=settings.kafka_topic)
    return LogSettings(home=settings.home)


def log(settings: Settings, said: Endpoints | None, patience: float = _LOG_PATIENCE_S) -> Log:
    """The log, ready to write; a broker that has only just been started is waited for."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return open_log(log_settings(settings, said))
        except LogUnavailable:
            if settings.log == "directory" or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def connector_jars(settings: Settings) -> tuple[Path, ...]:
    """Jars that the job needs beside Flink's own. Problem where they cannot be had."""
    if settings.log != "kafka":
        return ()
    from pipelines import jars  # resolves and downloads; only a Kafka log needs it

    try:
        return tuple(jars.fetch("connector"))
    except jars.JarsUnavailable as error:
        raise Problem("bad_request", str(error)) from None


def job_config(settings: Settings, said: Endpoints, roots: Roots) -> dict[str, Any]:
    """Content of job.json: all that the job is told from outside the log."""
    where: dict[str, str]
    if settings.log == "kafka":
        where = {
            "kind": "kafka",
            "bootstrap": said.kafka,
            "topic": settings.kafka_topic,
            "group": "kintsugi-job",
        }
    else:
        where = {"kind": "directory", "live_root": str(roots.folder)}
    return {
        "home": str(settings.home),
        "store": store_access(settings, said),
        "log": where,
        "source_uid": roots.source_uid,
        "parallelism": settings.parallelism,
        "mode": settings.python_mode,
        "checkpoint_interval_ms": settings.checkpoint_interval_ms,
        "check": False,
    }
