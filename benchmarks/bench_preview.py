"""What a preview of changed rules costs on the real stack, beside a plain Python program that derives both in memory.

Usage: python -m benchmarks.bench_preview [--identifiers 1000000] [--json FILE]

A third of the identifiers are accounts, a third phones, a third cookies; the changed rules let two accounts share a
profile, which makes one of two people in ten. The plain program reads the same log lines twice, once for each
ruleset, joins by union-find and counts points: no store, no limits, no examples, nothing that would survive.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks import baseline
from kintsugi import rules
from kintsugi.preview import difference
from kintsugi.settings import Settings
from schemas.events import admit
from schemas.log_record import Events, Item, encode
from schemas.workspace import parse_workspace
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

NAME = "preview"
FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}
CHANGED = IDENTITY.replace("user_id, max_per_profile: 1", "user_id, max_per_profile: 2")
PORTION = 50_000


def people() -> Iterator[dict[str, Any]]:
    """Events without end: of each person a visit, a form with a phone, a purchase with an account.

    Every twentieth signs in on the browser of the person before.
    """
    i = 0
    while True:
        on = {"timestamp": f"2026-10-{1 + i % 28:02}T0{i % 9}:00:00Z"}
        cookie, phone, account = f"c{i}", {"phone": f"139{i:08}"}, f"u{i}"
        yield {**on, "type": "page", "messageId": f"a{i}", "anonymousId": cookie}
        yield {**on, "type": "identify", "messageId": f"b{i}", "anonymousId": cookie, "traits": phone}
        yield {**on, "type": "identify", "messageId": f"c{i}", "userId": account, "traits": phone}
        if i % 20 == 19:
            yield {
                **on,
                "type": "identify",
                "messageId": f"d{i}",
                "userId": account,
                "anonymousId": f"c{i - 1}",
            }
        i += 1


def record(items: list[Item], received_at: int) -> Events:
    """A record of the log."""
    return Events(workspace=NAME, source="bench", received_at=received_at, key_generation=1, batch=items)


def processor_seconds(stack: Stack) -> dict[str, float]:
    """Processor time that each process has used: what a figure is worth on a machine that others use too."""
    times = {name: psutil.Process(entry.pid).cpu_times() for name, entry in stack.said.processes.items()}
    return {
        name: spent.user + spent.system
        for name, spent in [*times.items(), ("preview", psutil.Process().cpu_times())]
    }


def measure(stack: Stack, identifiers: int) -> dict[str, Any]:
    """Fill a workspace, change its rules, look at them; seconds of each part and of the plain program."""
    stack.workspace(NAME, FILES)
    now = time.time_ns() // 1000
    source = people()
    plain_seconds = 0.0
    count = 0
    while count < identifiers:
        items = [admit(event) for event in islice(source, PORTION)]
        count += len(items)
        stack.append(NAME, items, now)
        lines = [encode(record(items[n : n + 1000], now)) for n in range(0, len(items), 1000)]
        for _ in range(2):
            _, seconds = baseline.run(lines, parse_workspace(NAME, WORKSPACE))
            plain_seconds += seconds
    stack.wait(3600)
    (stack.config / NAME / "identity.yaml").write_text(CHANGED, encoding="utf-8")
    settings = Settings.load(stack.env)
    before, peak = processor_seconds(stack), dict[str, int]()

    def look() -> None:
        for name, entry in stack.said.processes.items():
            held = psutil.Process(entry.pid).memory_info().rss >> 20
            peak[name] = max(peak.get(name, 0), held)

    with stack.log() as log:
        started = time.monotonic()
        job = rules.Job(stack.store, log, 3600, while_waiting=look)
        found = rules.preview(settings, job, NAME)
        seconds = time.monotonic() - started
    spent = {name: round(after - before[name], 1) for name, after in processor_seconds(stack).items()}
    started = time.monotonic()
    again = difference(stack.store, NAME, found.before, found.after)
    compared = time.monotonic() - started
    assert again == found, "what is compared twice is the same"
    return {
        "identifiers": stack.count("identifiers", NAME),
        "profiles_before": sum(change.before for change in found.changes),
        "profiles_after": sum(change.after for change in found.changes),
        "seconds": round(seconds, 1),
        "of which comparing": round(compared, 1),
        **{f"processor seconds {name}": value for name, value in spent.items() if value >= 1},
        **{f"most MB {name}": peak.get(name, 0) for name in ("store", "taskmanager")},
        "most MB preview": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "plain_seconds": round(plain_seconds, 1),
        "times the plain program": round(seconds / plain_seconds, 1),
        "load": round(psutil.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure and print; as JSON into a file where one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identifiers", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kintsugi-bench-") as home:
        stack = Stack(Path(home)).up()
        try:
            figures = measure(stack, given.identifiers)
        finally:
            stack.down()
    for name, value in figures.items():
        print(f"{name:<28}{value:>14,}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
