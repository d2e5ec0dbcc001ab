"""Ends what a test run leaves behind, also when the run itself was killed: stacks, brokers, stores, their workers.

A run marks its environment, which everything it starts inherits. The reaper waits in a session of its own until its
standard input closes, which the kernel does when the run is gone, and kills whatever bears the mark.
"""

import atexit
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

MARK = "TEST_RUN"
_TRIES = 20


def watch_this_run() -> None:
    """Mark what this process starts from now on, and start its reaper."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    before = {name: value for name, value in os.environ.items() if name != MARK}
    os.environ[MARK] = mark
    reaper = subprocess.Popen(
        [sys.executable, str(Path(__file__)), mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=before,
    )
    atexit.register(reaper.communicate)


def marked(mark: str) -> list[psutil.Process]:
    """The processes of a run that live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or somebody else's
    return found


def main(mark: str) -> None:
    """Wait, then kill; again while something had been started in between."""
    sys.stdin.read()
    for _ in range(_TRIES):
        left = marked(mark)
        if not left:
            return
        for process in left:
            process.kill()
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1])
