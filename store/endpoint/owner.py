"""One owner of a data path: a lock file that names its holder and is freed when the holder dies."""

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class PathOwned(Exception):  # noqa: N818  # named for the fact
    """Another process owns the data path; the message names it."""


class Owner:
    """Holds `endpoint.lock` of a data path from construction to `release`, or until the process ends in any
    way.

    The kernel's lock decides; process id and start time inside are for people. Raises PathOwned.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path / "endpoint.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            os.close(self._file)
            raise PathOwned(
                f"{path} is in use by process {holder.get('pid', 'unknown')}, "
                f"started at {holder.get('started_at', 'an unknown time')}; stop it first"
            ) from None
        started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({"pid": os.getpid(), "started_at": started_at}).encode(), 0)

    def _holder(self) -> dict[str, Any]:
        with suppress(ValueError):
            holder = json.loads(os.pread(self._file, 1000, 0))
            if isinstance(holder, dict):
                return holder
        return {}

    def release(self) -> None:
        """Frees the path."""
        os.close(self._file)
