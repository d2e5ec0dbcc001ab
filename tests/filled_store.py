"""A store that holds what a workspace holds after some weeks, for queries and notebooks that need something to show.

Everything comes the way of all events, through the job's own steps; the last day of the events is yesterday.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kintsugi.demo_data import journeys
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from store.client import Store
from tests.stores import ANALYST_TOKEN, running_store
from tests.worlds import World, lines

WORKSPACE = "demo"
_DEMO = Path(__file__).parent.parent / "workspaces" / "demo"
_STAGES = """
stages:
  - {name: mql, when: "behaviour_score >= 40 AND identity_score >= 20"}
  - {name: sql, when: "behaviour_score >= 80 AND identity_score >= 40"}
"""
_SEGMENTS = (
    "name: call_now\nwhen: \"stage = 'mql' AND has(identifiers, 'phone')\"\n",
    'name: quiet\nwhen: "behaviour_score <= 2"\n',
)
_FEWER_POINTS = "points: 30"
"""What the second generation changes: a form is worth less."""


@dataclass
class Filled:
    """The store, the workspace in it, and the environment in which commands and notebooks find both."""

    store: Store
    world: World
    env: Mapping[str, str]


@contextmanager
def filled_store(home: Path, events: int = 900) -> Iterator[Filled]:
    """Three weeks of events under the demo's rules (`g1`, in force), and under other ones beside them (`g2`)."""
    texts = {
        name: (_DEMO / f"{name}.yaml").read_text(encoding="utf-8")
        for name in ("workspace", "identity", "scoring")
    }
    scoring = texts["scoring"] + ("" if "\nstages:" in texts["scoring"] else _STAGES)
    world = World(home, WORKSPACE, texts["workspace"], texts["identity"], scoring, _SEGMENTS)
    now = int(time.time() * 1e6)
    today = datetime.now(UTC).date()
    sent = [e for batch in journeys(11, events, today - timedelta(21), 20) for e in batch.events]
    reused = {
        "type": "track",
        "event": "Webinar Joined",
        "messageId": sent[0]["messageId"],
        "userId": "u-again",
    }
    odd = {"type": "track", "event": "Scan", "userId": "u-odd", "messageId": "odd",
           "context": {"externalIds": [{"id": "77", "type": "loyalty_card"}]}}  # fmt: skip
    other = world.rules(texts["identity"], scoring.replace(_FEWER_POINTS, "points: 10"), _SEGMENTS)
    records: list[AnyRecord] = [
        world.opened("g1"), world.activated("g1"), world.opened("g2", other),
        world.date((today - timedelta(1)).isoformat()),
        *world.events([*sent, reused, odd], 300, received_at=now - 3_600_000_000),
    ]  # fmt: skip
    with running_store(home / "store") as store:
        job = LocalJob(store, home, seed=1)
        job.clock = now
        job.run(lines(records))
        ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(job, home / "log", ended))
        follower.start()
        access = {
            "KINTSUGI_STORE_URL": store.settings.url,
            "KINTSUGI_STORE_PASSWORD": store.settings.token,
            "KINTSUGI_ANALYST_PASSWORD": ANALYST_TOKEN,
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("KINTSUGI_")}
        try:
            yield Filled(store, world, {**env, **access, "KINTSUGI_HOME": str(home)})
        finally:
            ended.set()
            follower.join()


def _follow(job: LocalJob, log: Path, ended: threading.Event) -> None:
    """Take up what is written to the directory log from now on, segment by segment, as the job does."""
    done: set[Path] = set()
    while not ended.wait(0.1):
        for path in sorted(set(log.glob("live/*/*/*.log")) - done):
            job.run(path.read_bytes().splitlines())
            done.add(path)
