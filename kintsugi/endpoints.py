"""endpoints.json: addresses and processes of the stack of one home, the meeting point of all commands.

Invariant: the supervisor alone writes it, by rename; a process is recognised by pid *and* start mark, so that
a pid given to somebody else's program is never signalled.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from kintsugi.settings import Settings
from schemas.errors import Problem


class ProcessEntry(msgspec.Struct):
    """One supervised process."""

    pid: int
    start_mark: str
    """What `start_mark` says of the pid."""
    state: str
    """starting, running, backing off or stopped."""
    restarts: int = 0
    last_exit: str = ""
    """How it ended the last time; empty when it never did."""
    started_at: float = 0.0
    """Seconds since 1970."""


class JobEntry(msgspec.Struct):
    """The job, as its keeper sees it."""

    job_id: str = ""
    state: str = "not submitted"
    note: str = ""
    """What the keeper last did about it, or what stands in the way."""
    restored_from: str = ""
    submitted_at: float = 0.0


class Endpoints(msgspec.Struct):
    """Content of endpoints.json."""

    phase: str
    """starting, ready or stopping."""
    supervisor: ProcessEntry
    collector: str = ""
    api: str = ""
    store: str = ""
    flink: str = ""
    kafka: str = ""
    source_uid: str = ""
    processes: dict[str, ProcessEntry] = msgspec.field(default_factory=dict)
    job: JobEntry = msgspec.field(default_factory=JobEntry)


def read(settings: Settings) -> Endpoints | None:
    """What was last written, whether or not it still runs; None when there is nothing readable."""
    try:
        return msgspec.json.decode(settings.endpoints_file.read_bytes(), type=Endpoints)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(settings: Settings, endpoints: Endpoints) -> None:
    """Replace the file; a reader sees the old one or the new one."""
    temporary = settings.endpoints_file.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(endpoints), indent=2) + b"\n")
    temporary.rename(settings.endpoints_file)


def running(settings: Settings) -> Endpoints | None:
    """Endpoints of the stack when its supervisor lives."""
    endpoints = read(settings)
    return endpoints if endpoints and is_alive(endpoints.supervisor) else None


def elsewhere(settings: Settings) -> Endpoints | None:
    """Endpoints that the settings name where the parts run on other machines; None where they run here."""
    if not settings.is_distributed:
        return None
    kept = read(settings)
    return Endpoints(
        phase="elsewhere",
        supervisor=kept.supervisor if kept else ProcessEntry(0, "", "stopped"),
        store=settings.store_url,
        flink=settings.flink_url,
        kafka=settings.kafka_bootstrap,
        job=kept.job if kept else JobEntry(),
    )


def require_running(settings: Settings) -> Endpoints:
    """Endpoints of the running stack; Problem that names the remedy when there is none."""
    endpoints = running(settings) or elsewhere(settings)
    if endpoints is None:
        raise Problem("bad_request", f"No stack runs for {settings.home}; start it with `kintsugi up`.")
    return endpoints


def start_mark(pid: int) -> str:
    """What tells a process from a later one with the same pid; empty when it is gone or only a zombie.

    On Linux the boot and the clock tick of its start, which no change of the wall clock moves.
    """
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


def is_alive(entry: ProcessEntry) -> bool:
    """Whether the very process that was recorded still runs."""
    return bool(entry.start_mark) and start_mark(entry.pid) == entry.start_mark


def stop_orphans(entries: Iterable[tuple[str, ProcessEntry]], grace: float = 8.0) -> list[str]:
    """Stop what a killed supervisor left behind, first by asking; names of what was found.

    Each child leads its own process group, so the Python workers it started go with it.
    """
    left = [(name, entry) for name, entry in entries if is_alive(entry)]
    for chosen, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        for _, entry in left:
            if is_alive(entry):
                signal_group(entry.pid, chosen)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(is_alive(entry) for _, entry in left):
            time.sleep(0.05)
    return [name for name, _ in left]


def signal_group(pid: int, chosen: signal.Signals) -> None:
    """Signal the process group that `pid` leads; nothing when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, chosen)
