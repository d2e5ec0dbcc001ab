"""The suite itself: it is the same tests whenever, and by whichever worker, it is collected."""

import os
import subprocess
import sys

import pytest


def test_the_names_of_tests_hang_on_no_clock_and_no_hash(request: pytest.FixtureRequest) -> None:
    mine = {item.nodeid for item in request.session.items}
    paths = sorted({nodeid.split("::")[0] for nodeid in mine})
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-n", "0", *paths],
        cwd=request.config.rootpath,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = set(again.stdout.splitlines())
    assert mine, "nothing was collected"
    assert sorted(mine - found) == [], again.stderr
