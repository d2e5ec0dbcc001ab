"""A killed test run leaves nothing running."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

_RUN = """
import subprocess, sys, time
from tests import reaper
reaper.watch_this_run()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_run_started_in_a_session_of_its_own_ends() -> None:
    root = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", _RUN], cwd=root, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = psutil.Process(int(run.stdout.readline()))
        assert child.is_running()
        os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
