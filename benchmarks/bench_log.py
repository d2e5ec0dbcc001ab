"""Throughput and acknowledgement latency of the directory log: `python -m benchmarks.bench_log [FOLDER]`.

Three loads: 2,000 small appends per second (open: latency counts from the time at which an append was due, so
a stall is not hidden), many small appends from 32 threads (closed), large appends (closed).
"""

import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from pipelines.log import Log, LogSettings, open_log
from schemas.log_record import Events, Item, encode

_BODY = msgspec.Raw(
    b'{"type":"track","event":"Page Viewed","userId":"u1","properties":{"url":"' + b"p" * 200 + b'"}}'
)


def record(event_count: int) -> Events:
    """A record with this many events of about 300 bytes."""
    batch = [Item(e=_BODY)] * event_count
    return Events(workspace="demo", source="web", received_at=0, key_generation=1, batch=batch)


def appends_per_second(log: Log, threads: int, event_count: int, seconds: float) -> float:
    """Closed load: every thread waits for its acknowledgement before it appends again."""
    stop = time.perf_counter() + seconds

    def write(_: int) -> int:
        count, one = 0, record(event_count)
        while time.perf_counter() < stop:
            log.append([one]).result()
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(write, range(threads))) / seconds


def ack_milliseconds(log: Log, rate: int, seconds: float) -> list[float]:
    """Open load at `rate` appends per second; sorted latencies in ms."""
    latencies: list[float] = []
    all_in = threading.Semaphore(0)
    one, start = record(1), time.perf_counter()
    count = int(rate * seconds)
    for n in range(count):
        due = start + n / rate
        time.sleep(max(0.0, due - time.perf_counter()))

        def note(_: "Future[None]", due: float = due) -> None:
            latencies.append((time.perf_counter() - due) * 1e3)
            all_in.release()

        log.append([one]).add_done_callback(note)
    for _ in range(count):
        all_in.acquire()
    return sorted(latencies)


def main() -> None:
    """Prints one line per load."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=folder) as home, open_log(LogSettings(home=Path(home))) as log:
        latencies = ack_milliseconds(log, rate=2000, seconds=4)
        p50, p99 = (latencies[int(len(latencies) * q)] for q in (0.5, 0.99))
        print(f"2,000 appends/s: ack p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {latencies[-1]:.1f} ms")
        rate = appends_per_second(log, threads=32, event_count=1, seconds=3)
        print(f"32 threads, 1 event each: {rate:,.0f} appends/s")
        megabytes = len(encode(record(1000))) / 1e6
        rate = appends_per_second(log, threads=4, event_count=1000, seconds=3)
        print(f"4 threads, 1,000 events ({megabytes:.2f} MB) each: {rate * megabytes:,.0f} MB/s")


if __name__ == "__main__":
    main()
