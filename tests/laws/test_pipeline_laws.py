"""Laws of the whole pipeline: the steps, the store and the scoring statements, over many orders of arrival."""

import copy
import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kintsugi.demo_data import journeys
from kintsugi.digest import Digest, digest
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from store.client import Store
from tests.stores import running_store
from tests.worlds import FILTERED, World, lines

DATE = "2026-11-20"
EVENTS = 1_500


def messy_events(seed: int, count: int = EVENTS) -> list[dict[str, Any]]:
    return [event for batch in journeys(seed, count, date(2026, 11, 1), 18) for event in batch.events]


def records_of(world: World, events: list[dict[str, Any]]) -> list[AnyRecord]:
    control: list[AnyRecord] = [
        world.opened("g1"),
        world.activated("g1"),
        world.date("2026-11-10"),
        world.date(DATE),
    ]
    return [*control, *world.events(events)]


def run(home: Path, name: str, world: World, records: list[AnyRecord], **job: Any) -> tuple[Digest, Digest]:
    """(stored digest, digest derived from evidence) of a fresh store after these records, in this order."""
    with running_store(home / name) as store:
        LocalJob(store, world.home, **job).run(lines(records))
        return digest(store, world.name), digest(store, world.name, DATE)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("home"), "acme", scoring=FILTERED)


@pytest.fixture(scope="module")
def in_order(world: World) -> Digest:
    stored, derived = run(world.home, "in-order", world, records_of(world, messy_events(7)))
    assert stored.profiles > 100, "a digest of nothing proves nothing"
    assert stored.identifiers > 100
    assert stored == derived
    return stored


@pytest.mark.parametrize("seed", [1, 2])
def test_order_duplication_and_slots_never_change_the_digest(
    world: World, in_order: Digest, seed: int
) -> None:
    chance = random.Random(seed)
    records = records_of(world, messy_events(7))
    records += chance.sample(records, len(records) // 3)
    chance.shuffle(records)
    stored, derived = run(world.home, f"shuffled-{seed}", world, records, slots=seed, seed=seed)
    assert stored == in_order
    assert derived == in_order


def test_one_changed_event_changes_the_digest(world: World, in_order: Digest) -> None:
    events = copy.deepcopy(messy_events(7))
    chosen = next(event for event in events if event["type"] == "identify")
    chosen["traits"]["city"] = "a city nobody lives in"
    stored, derived = run(world.home, "changed", world, records_of(world, events))
    assert stored.profiles == in_order.profiles
    assert stored.sha256 != in_order.sha256
    assert stored == derived


def test_a_merge_is_undone_exactly(world: World, tmp_path: Path) -> None:
    events = messy_events(7, 600)
    a = world.identifier("user_id", "steward-a")
    b = world.identifier("user_id", "steward-b")
    for name in ("a", "b"):
        events.append({"type": "track", "event": "Form Submitted", "userId": f"steward-{name}", "messageId": name,
                       "timestamp": "2026-11-05T01:00:00Z"})  # fmt: skip
    records = records_of(world, events)
    with running_store(tmp_path / "data") as store:
        job = LocalJob(store, world.home)
        job.run(lines(records))
        before = digest(store, world.name)
        job.run(lines([world.override("force", a, b)]))
        merged = digest(store, world.name)
        assert merged.profiles == before.profiles - 1
        assert points(store, min(a, b)) | points(store, max(a, b)) == {"forms": 30.0}
        job.run(lines([world.override("none", a, b)]))
        assert digest(store, world.name) == before
        assert points(store, a) == points(store, b) == {"forms": 15.0}


def points(store: Store, profile_id: str) -> dict[str, float]:
    rows = store.query_rows(
        "SELECT behaviour_points FROM kintsugi.profiles WHERE profile_id = {p:String}", {"p": profile_id}
    )
    return {name: float(p) for row in rows for name, p in dict(row[0]).items() if name == "forms"}


def test_rules_applied_to_history_equal_rules_from_the_start(
    world: World, in_order: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the events come under other rules, then the rules of `in_order` are opened and activated.

    The new generation is derived in many slices, its profiles in pieces, and the digest reads slices too.
    """
    monkeypatch.setattr("pipelines.score.CHUNK", 40)
    monkeypatch.setattr("pipelines.profiles.PIECE", 9)
    monkeypatch.setattr("pipelines.land.FILL_EVENTS", 300)
    monkeypatch.setattr("store.evidence.SLICE", 100)
    monkeypatch.setattr("kintsugi.digest._SLICE", 25)
    other = world.rules("namespaces: [{name: email}, {name: phone}]", "behaviour: {rules: []}")
    events = world.events(messy_events(7))
    half = len(events) // 2
    first: list[AnyRecord] = [
        world.opened("g0", other),
        world.activated("g0"),
        world.date(DATE),
        *events[:half],
    ]
    with running_store(world.home / "retroactive") as store:
        job = LocalJob(store, world.home)
        job.run(lines(first))
        under_other = digest(store, world.name)
        job.run(lines([world.opened("g1"), *events[half:], world.activated("g1")]))
        assert digest(store, world.name) == in_order
        # and back: the older generation was kept up to date all the while
        job.run(lines([world.activated("g0")]))
        back = digest(store, world.name)
        assert back.sha256 not in (under_other.sha256, in_order.sha256)
        assert back == digest(store, world.name, DATE)


def test_nothing_a_record_contains_stops_the_pipeline(world: World, tmp_path: Path) -> None:
    good = records_of(world, messy_events(3, 100))
    bad = [
        b"",
        b"not a record",
        b"00000000 {}",
        lines(good)[-1][:-7],
        b"\xff\xfe",
        b"deadbeef " + b"[" * 5000,
    ]
    with running_store(tmp_path / "data") as store:
        job = LocalJob(store, world.home)
        job.run([line for line in bad if b"\xff" not in line] + lines(good))
        assert digest(store, world.name).profiles > 10
        rejected = store.query_rows(
            "SELECT code, sealed FROM kintsugi_store.rejects WHERE workspace = 'system'"
        )
        assert len(rejected) == len(bad) - 1
        assert {code for code, _ in rejected} == {"corrupt_record"}
