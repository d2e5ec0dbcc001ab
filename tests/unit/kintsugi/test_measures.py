"""Metrics: defined once, shown everywhere, and the law that nothing accepted is lost."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

from api.metering import Metering
from api.metrics import Metrics
from kintsugi import dashboard, measures
from kintsugi.balance import Balance, balance
from kintsugi.settings import Settings
from pipelines.local_job import LocalJob
from pipelines.messages import Body, unpack
from pipelines.normalize import Normalize, keys_in
from schemas.log_record import Item
from schemas.metrics import METRICS
from store.client import Store
from tests.worlds import RECEIVED_AT, World, lines

EVENTS = [
    {"type": "track", "event": "Page Viewed", "messageId": f"m{n}", "anonymousId": f"a{n % 7}",
     "timestamp": "2026-11-20T08:00:00Z"}
    for n in range(40)
]  # fmt: skip


def test_the_dashboard_is_what_the_definitions_make() -> None:
    assert dashboard.PATH.read_text() == dashboard.text(), "run python -m kintsugi.dashboard"
    assert len(dashboard.dashboard()["panels"]) == len(METRICS)


def test_every_metric_says_what_and_in_what_unit() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"kintsugi(_[a-z]+)+", metric.name)
        words = set(metric.name.split("_")[1:])
        assert set(metric.meaning.lower().split()) - words, f"{metric.name} only repeats its name"
        assert metric.unit
        assert not {"workspace", "profile", "identifier"} & set(metric.labels)
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_nothing_is_exported_that_is_not_defined(tmp_path: Path) -> None:
    settings = Settings.load({"KINTSUGI_HOME": str(tmp_path)})
    settings.run.mkdir()
    gauges = {m.name: dict.fromkeys(m.labels or ("",), 1.0) for m in METRICS if m.kind == "gauge"}
    measures.write(settings, gauges)
    registry = CollectorRegistry()
    registry.register(measures.Measured(lambda: measures.read(settings)))
    text = (
        Metrics().text() + generate_latest(Metering(lambda: 0).registry) + generate_latest(registry)
    ).decode()
    exported = set(re.findall(r"^# TYPE (kintsugi_\w+) (?:counter|gauge|histogram)", text, re.MULTILINE))
    exported = {name.removesuffix("_total") for name in exported if not name.endswith("_created")}
    assert exported == {metric.name for metric in METRICS}


def test_accepted_is_landed_and_rejected_and_under_way(store: Store, tmp_path: Path) -> None:
    world = World(tmp_path, "balance")
    log = lines([world.opened("g"), *world.events([*EVENTS, *EVENTS[:5]], size=10)])
    LocalJob(store, tmp_path).run(log[:3])
    told = balance(log, store, tmp_path, since=0, before=RECEIVED_AT)
    assert told == Balance(accepted=40, landed=20, rejected=0, in_flight=20)
    assert balance(log, store, tmp_path, since=0, before=RECEIVED_AT + 1).difference == 20, "lost is told"
    LocalJob(store, tmp_path).run(log)
    assert balance(log, store, tmp_path, since=0, before=RECEIVED_AT + 1) == Balance(40, 40, 0, 0)
    assert balance(log, store, tmp_path, since=RECEIVED_AT + 1, before=RECEIVED_AT + 2) == Balance()


def test_what_cannot_be_read_is_accepted_and_rejected(store: Store, tmp_path: Path) -> None:
    world = World(tmp_path, "balance-rejects")
    (record,) = world.events(EVENTS[:2], size=10)
    spoilt = replace(record, batch=[*record.batch, Item(e=msgspec.Raw(b'{"type":7}'))])
    log = [*lines([world.opened("g"), spoilt]), b"{]"]
    told = balance(log, store, tmp_path, since=0, before=RECEIVED_AT)
    assert told == Balance(accepted=4, in_flight=3), (
        "of a line without a time nobody says that it is under way"
    )
    LocalJob(store, tmp_path).run(log)
    assert balance(log, store, tmp_path, since=0, before=RECEIVED_AT + 1) == Balance(4, 2, 2, 0)


def test_what_landed_is_counted_for_a_fraction_of_what_it_took_to_land(store: Store, tmp_path: Path) -> None:
    """It is done every minute, also when the minute brought hundreds of thousands."""
    world = World(tmp_path, "balance-work")
    events = [
        {**EVENTS[0], "messageId": f"w{n}", "anonymousId": f"w{n}", "userId": f"w{n}"} for n in range(6_000)
    ]
    log = lines(world.events(events, size=1_000))
    bodies: list[Body] = []

    def normalize() -> None:
        step = Normalize(1, keys_in(tmp_path))
        bodies[:] = [message.body[1] for line in log for message in step.line(line.decode())]

    def count() -> None:
        told = balance(log, store, tmp_path, since=0, before=RECEIVED_AT + 1)
        assert told == Balance(6_000, 6_000, 0, 0)

    work = _least_seconds(normalize)
    store.insert_arrow("kintsugi_store.events", unpack(bodies)["events"])
    assert _least_seconds(count) < work / 2


def _least_seconds(call: Callable[[], None]) -> float:
    """Processor time of a call, the least of three: now and then the collector of garbage comes in between."""
    taken = []
    for _ in range(3):
        began = time.thread_time()
        call()
        taken.append(time.thread_time() - began)
    return min(taken)


def test_who_measures_rests_longer_than_he_works() -> None:
    began, worked = time.monotonic(), time.thread_time()
    for _ in measures.calmly([b""] * 5):
        while time.thread_time() - worked < 0.02:
            pass
        worked = time.thread_time()
    assert time.monotonic() - began > 5 * 0.02 * 3
