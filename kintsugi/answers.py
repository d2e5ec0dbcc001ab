"""Health checks of containers: exit status 0 when all is well, 1 with a sentence when it is not.

python -m kintsugi.answers URL            a GET is answered with 2xx within 3 s
python -m kintsugi.answers --job-runs     Flink runs exactly one job, and every task of it
"""

import argparse
import os
import sys

import httpx

from kintsugi.flink_rest import FlinkError, FlinkRest
from kintsugi.settings import Settings


def main() -> None:
    """Ask once."""
    parser = argparse.ArgumentParser(prog="python -m kintsugi.answers")
    parser.add_argument("url", nargs="?")
    parser.add_argument("--job-runs", action="store_true")
    asked = parser.parse_args()
    try:
        if asked.job_runs:
            _require_job()
        else:
            httpx.get(asked.url, timeout=3, trust_env=False).raise_for_status()
    except (httpx.HTTPError, FlinkError) as error:
        sys.exit(f"not well: {error}")


def _require_job() -> None:
    rest = FlinkRest(Settings.load(os.environ).flink_url)
    running = [job["jid"] for job in rest.jobs() if job["state"] == "RUNNING"]
    if len(running) != 1 or not rest.is_running(running[0]):
        raise FlinkError(f"{len(running)} jobs run, or not every task of them")


if __name__ == "__main__":
    main()
