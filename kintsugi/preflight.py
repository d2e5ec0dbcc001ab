"""Can this machine hold the product? Run by `make` before anything is downloaded; standard library alone.

Each line says what is missing and what to do. Exit code 1 when something is.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

VERSIONS = ((3, 11), (3, 12))
DISK_GB = 5
MEMORY_GB = 6


def problems(folder: Path) -> list[str]:
    """What stands against an installation in `folder`, one line each with the remedy."""
    found = []
    if sys.version_info[:2] not in VERSIONS:
        found.append(
            f"Python {sys.version.split()[0]} cannot run Flink's wheels: use make PYTHON=/path/to/python3.11"
        )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        found.append(
            "this Python lacks venv: install the package python3-venv (Debian, Ubuntu) or another Python"
        )
    free = shutil.disk_usage(folder).free / 1e9
    if free < DISK_GB:
        found.append(f"{free:.1f} GB of disk are free, {DISK_GB} are needed: free some, or clone elsewhere")
    memory = memory_gb()
    if memory is not None and memory < MEMORY_GB:
        found.append(
            f"{memory:.1f} GB of memory, {MEMORY_GB} are needed: close something, or use a larger machine"
        )
    return found


def memory_gb() -> float | None:
    """Physical memory, or the container's limit where it is smaller; None where the system does not tell."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(limit).read_text()))
        except (OSError, ValueError):
            continue
    return memory / 1e9


if __name__ == "__main__":
    lines = problems(Path.cwd())
    for line in lines:
        print(f"kintsugi: {line}", file=sys.stderr)
    sys.exit(bool(lines))
