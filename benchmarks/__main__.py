"""`make bench`: the whole stack on this machine, beside a plain Python program in the same run.

Writes build/bench.md and build/bench.json. Ratios travel between machines, absolute figures do not.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from benchmarks import baseline, bench_preview
from kintsugi.demo_data import journeys
from schemas.events import admit
from schemas.ids import identifier_id
from schemas.log_record import Events, Item, encode
from schemas.workspace import parse_workspace
from store import keyring
from tests.stacks import Stack
from tests.worlds import IDENTITY, SCORING, WORKSPACE

FILES = {"workspace.yaml": WORKSPACE, "identity.yaml": IDENTITY, "scoring.yaml": SCORING}
RECORD = 1_000
Call = tuple[str, str, str | None]
"""Method, path and body."""
_VISIBLE = (
    "SELECT DISTINCT profile_id FROM kintsugi_store.profile_rows"
    " WHERE workspace = 'latency' AND is_tombstone = 0 AND profile_id IN {ids:Array(String)}"
)


def items_of(count: int, seed: int) -> list[Item]:
    """Admitted events of the demo's generator."""
    return [admit(event) for batch in journeys(seed, count, date(2026, 10, 20), 30) for event in batch.events]


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 in milliseconds, and how many values they are of."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * q))] * 1000 for q in (0.5, 0.95, 0.99)]
    return {"p50_ms": round(at[0], 1), "p95_ms": round(at[1], 1), "p99_ms": round(at[2], 1), "n": len(values)}


@contextmanager
def peak_memory(stack: Stack, into: dict[str, float]) -> Iterator[None]:
    """The greatest resident size of each process, MiB, sampled four times a second."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            for name, entry in stack.said.processes.items():
                try:
                    size = psutil.Process(entry.pid).memory_info().rss / 2**20
                except psutil.Error:
                    continue
                into[name] = round(max(into.get(name, 0.0), size), 1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def throughput(stack: Stack, count: int) -> dict[str, Any]:
    """Events/s of the whole job, first append to last profile, and of the plain program over the same lines."""
    stack.workspace("throughput", FILES)
    items = items_of(count, 31)
    now = time.time_ns() // 1000
    records = [
        Events(
            workspace="throughput",
            source="bench",
            received_at=now,
            key_generation=1,
            batch=items[i : i + RECORD],
        )
        for i in range(0, len(items), RECORD)
    ]
    lines = [encode(record) for record in records]
    people, plain_seconds = baseline.run(lines, parse_workspace("throughput", WORKSPACE))
    started = time.monotonic()
    stack.append("throughput", items, now)
    stack.wait(900)
    seconds = time.monotonic() - started
    return {
        "events": count,
        "job_events_per_s": round(count / seconds),
        "plain_events_per_s": round(count / plain_seconds),
        "ratio": round(plain_seconds / seconds, 3),
        "profiles": stack.digest("throughput").profiles,
        "plain_people": people,
    }


def latency(stack: Stack, rate: int, seconds: float) -> dict[str, float]:
    """From the acknowledgement of an event to its profile in the store, while `rate` events/s arrive."""
    stack.workspace("latency", FILES)
    items = items_of(int(rate * seconds), 32)
    store = stack.store
    waits: list[float] = []
    pending: dict[str, float] = {}
    gone, done = threading.Event(), threading.Event()

    def look() -> None:
        while not (gone.is_set() and not pending) and not done.is_set():
            asked = list(pending)
            found = store.query_rows(_VISIBLE, {"ids": asked}) if asked else []
            for (profile_id,) in found:
                waits.append(time.monotonic() - pending.pop(profile_id))
            time.sleep(0.02)

    keys = keyring.load(stack.home, "latency")
    watcher = threading.Thread(target=look)
    watcher.start()
    step = 0.05
    share = int(rate * step)
    started = time.monotonic()
    with stack.log() as log:
        for tick in range(int(seconds / step)):
            batch = items[tick * share : (tick + 1) * share]
            probe = uuid.uuid4().hex
            batch.append(admit({"type": "track", "event": "Probe", "userId": probe, "messageId": probe}))
            record = Events(
                workspace="latency",
                source="bench",
                received_at=time.time_ns() // 1000,
                key_generation=1,
                batch=batch,
            )
            future = log.append([record])
            if tick % 4 == 0:
                future.result(30)
                pending[identifier_id(keys.pepper, "user_id", "", probe)] = time.monotonic()
            time.sleep(max(0.0, started + (tick + 1) * step - time.monotonic()))
        gone.set()
        watcher.join(60)
        done.set()
        watcher.join()
    return {**percentiles(waits), "lost": len(pending)}


def lookups(stack: Stack, rate: int, event_rate: int, seconds: float) -> dict[str, Any]:
    """Profiles read at a fixed rate (open model) while events arrive; then, with the job done, as fast as eight callers
    go, by profile_id and by identifier, with the processor time of API and store that each takes.
    """
    name = "throughput"
    ids = [
        row[0]
        for row in stack.store.query_rows(
            "SELECT profile_id FROM kintsugi_store.profile_rows FINAL"
            " WHERE workspace = 'throughput' AND is_tombstone = 0 LIMIT 5000"
        )
    ]
    reads: list[Call] = [("GET", f"/v1/profiles/{i}", None) for i in ids]
    asks: list[Call] = [
        (
            "POST",
            "/v1/profiles/lookup",
            json.dumps({"identifiers": [{"namespace": "user_id", "value": user}]}),
        )
        for user in users_of(20_000, 31)
    ]
    headers = {"Authorization": f"Bearer {stack.read_keys[name]}", "Content-Type": "application/json"}
    address = stack.said.api.removeprefix("http://")
    times: list[float] = []

    def caller(number: int, calls: list[Call], due: Callable[[int], float], count: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=30)  # takes a fifth of what httpx takes
        for i in range(count):
            at = due(i)
            time.sleep(max(0.0, at - time.monotonic()))
            start = max(at, 0.0) or time.monotonic()
            method, path, body = calls[(number * 7919 + i * 104729) % len(calls)]
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            times.append(time.monotonic() - start)
        connection.close()

    def run(
        callers: int, calls: list[Call], due_of: Callable[[int], Callable[[int], float]], count: int
    ) -> float:
        threads = [threading.Thread(target=caller, args=(n, calls, due_of(n), count)) for n in range(callers)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - started

    feed = threading.Thread(target=lambda: list(_paced(stack, event_rate, seconds)), daemon=True)
    feed.start()
    begin = time.monotonic() + 0.5
    callers = 16
    run(callers, reads, lambda n: lambda i: begin + (i * callers + n) / rate, int(rate * seconds / callers))
    report: dict[str, Any] = {f"at_{rate}_per_s": percentiles(times)}
    feed.join()
    stack.wait(600)
    for what, calls in (("by_profile", reads), ("by_identifier", asks)):
        times.clear()
        before = _busy(stack)
        took = run(8, calls, lambda n: lambda i: 0.0, 200)
        report[what] = percentiles(times) | {
            "most_per_s": round(len(times) / took),
            "cpu_ms": round((_busy(stack) - before) * 1000 / len(times), 2),
        }
    return report


def users_of(count: int, seed: int) -> list[str]:
    """User ids of the demo's generator."""
    events = (e for batch in journeys(seed, count, date(2026, 10, 20), 30) for e in batch.events)
    return sorted({event["userId"] for event in events if event.get("userId")})


def _busy(stack: Stack) -> float:
    """Seconds of processor time that API and store have taken so far."""
    times = [psutil.Process(stack.said.processes[name].pid).cpu_times() for name in ("api", "store")]
    return sum(each.user + each.system for each in times)


def _paced(stack: Stack, rate: int, seconds: float) -> Iterator[int]:
    """Events over HTTP at a rate."""
    if "lookups" not in stack.write_keys:
        stack.workspace("lookups", FILES)
    events = [
        e for batch in journeys(33 + rate, int(rate * seconds), date(2026, 10, 20), 30) for e in batch.events
    ]
    started, step = time.monotonic(), rate // 4
    for number, start in enumerate(range(0, len(events), step)):
        yield stack.send("lookups", events[start : start + step], connections=1).accepted
        time.sleep(max(0.0, started + (number + 1) / 4 - time.monotonic()))


def main() -> None:
    """Run all, print and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--identifiers", type=int, default=100_000, help="of the preview of changed rules")
    asked = parser.parse_args()
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="kintsugi-bench-") as home:
        stack = Stack(Path(home)).up()
        try:
            with peak_memory(stack, memory):
                report: dict[str, Any] = {"throughput": throughput(stack, asked.events)}
                report["event_to_profile_at_5000_per_s"] = latency(stack, 5_000, asked.seconds)
                report["lookups_while_500_events_per_s"] = lookups(stack, 60, 500, asked.seconds)
                report["lookups_while_2000_events_per_s"] = lookups(stack, 200, 2_000, asked.seconds)
                report["preview_of_rules"] = bench_preview.measure(stack, asked.identifiers)
            report["peak_memory_mib"] = memory | {"all": round(sum(memory.values()), 1)}
            report["cores"] = psutil.cpu_count()
            report["load_before"] = statistics.fmean(psutil.getloadavg())
        finally:
            stack.down()
    out = Path("build")
    out.mkdir(exist_ok=True)
    (out / "bench.json").write_text(json.dumps(report, indent=2) + "\n")
    text = "\n".join(_lines(report))
    (out / "bench.md").write_text(text + "\n")
    print(text)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield "| what | figure |"
    yield "|---|---|"
    for part, figures in report.items():
        for name, value in figures.items() if isinstance(figures, dict) else [("", figures)]:
            yield f"| {part} {name} | {value} |"


if __name__ == "__main__":
    main()
