"""Health checks of containers: exit status 0 when all is well, 1 with a sentence when it is not.

    python -m kintsugi.answers URL            a GET is answered with 2xx within 3 s
    python -m kintsugi.answers --job-runs     the keeper is ready: Flink runs one job, every task of it, with rules

Asked every few seconds, so each check loads what it needs alone.
"""

import argparse
import os
import sys
import urllib.request


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
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            opener.open(asked.url, timeout=3).close()
    except OSError as error:  # also what is not 2xx
        sys.exit(f"not well: {error}")


def _require_job() -> None:
    from kintsugi import endpoints
    from kintsugi.settings import Settings

    said = endpoints.read(Settings.load(os.environ))
    if said is None or not endpoints.is_alive(said.supervisor):
        sys.exit("not well: nobody keeps the job")
    if said.phase != "ready" or said.job.state != "RUNNING":
        sys.exit(f"not well: the keeper is {said.phase}, the job is {said.job.state}")


if __name__ == "__main__":
    main()
