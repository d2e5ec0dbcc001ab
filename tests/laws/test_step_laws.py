"""Promises of single steps, each in the smallest world that can break it."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kintsugi.digest import digest
from pipelines.land import Land
from pipelines.local_job import DictState, LocalJob
from pipelines.messages import Message
from pipelines.normalize import Normalize, keys_in
from pipelines.resolve import Resolve, Versions
from schemas.log_record import Trailer
from store.client import Store, StoreSettings, StoreUnavailable
from tests.worlds import World, lines

DATE = "2026-11-20"
MakeWorld = Callable[..., World]


@pytest.fixture(scope="module")
def new_world(tmp_path_factory: pytest.TempPathFactory) -> MakeWorld:
    """Worlds of different names on one home, so that they share a store without meeting."""
    home = tmp_path_factory.mktemp("home")
    numbers = itertools.count()
    return lambda **rules: World(home, f"step-{next(numbers)}", **rules)


def page(number: int, *, day: str = "2026-11-19", **ids: Any) -> dict[str, Any]:
    return {
        "type": "page",
        "messageId": f"m{number}",
        "timestamp": f"{day}T03:00:00Z",
        "properties": {},
        **ids,
    }


def run(store: Store, world: World, events: list[dict[str, Any]]) -> LocalJob:
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(DATE), *world.events(events)]))
    return job


def profiles(store: Store, world: World) -> dict[str, dict[str, Any]]:
    found = store.query_arrow(
        "SELECT * FROM kintsugi.profiles WHERE workspace = {w:String}", {"w": world.name}
    )
    return {row["profile_id"]: row for row in found.to_pylist()}


def test_a_duplicate_event_counts_once(store: Store, new_world: MakeWorld) -> None:
    world = new_world()
    same: dict[str, Any] = {"userId": "u1", "properties": {"b": 1, "a": {"y": [1, 2], "x": None}}}
    again: dict[str, Any] = {
        "properties": {"a": {"x": None, "y": [1, 2]}, "b": 1},
        "userId": "u1",
        "sentAt": "2026-11-19T03:00:01Z",
    }
    run(store, world, [page(1, **same), page(1, **again), page(1, **same)])
    run(store, world, [page(1, **again)])
    (profile,) = profiles(store, world).values()
    assert profile["event_count"] == 1


def test_identifiers_are_shown_masked_each_one(store: Store, new_world: MakeWorld) -> None:
    world = new_world()
    phones = {
        "externalIds": [{"id": "138 2213 8001", "type": "phone"}, {"id": "138 1113 8001", "type": "phone"}]
    }
    run(store, world, [page(1, userId="anna", context=phones)])
    (profile,) = profiles(store, world).values()
    assert dict(profile["identifiers"]) == {"phone": ["138****8001", "138****8001"], "user_id": ["****"]}


def test_an_event_counts_for_its_subject_alone(store: Store, new_world: MakeWorld) -> None:
    """Two logins on one browser: the limit keeps them apart, and each event has one owner."""
    world = new_world()
    events = [page(1, day="2026-11-18", userId="u1", anonymousId="a"), page(2, userId="u2", anonymousId="a")]
    events.append(page(3, anonymousId="a"))
    run(store, world, events)
    counts = {pid: row["event_count"] for pid, row in profiles(store, world).items()}
    assert len(counts) == 2
    assert sum(counts.values()) == 3
    u2 = world.identifier("user_id", "u2")
    assert counts[u2] == 1, "the browser's own event goes with its first owner"


def test_caps_hold_over_all_identifiers_of_a_profile(store: Store, new_world: MakeWorld) -> None:
    """Cap 6 a day at 2 points a page: five pages on one day, on two browsers of one person, give 6."""
    world = new_world()
    events = [page(n, day=DATE, anonymousId=f"browser-{n % 2}") for n in range(5)]
    events += [page(10 + n, day=DATE, userId="u", anonymousId=f"browser-{n}") for n in range(2)]
    run(store, world, events)
    (profile,) = profiles(store, world).values()
    assert profile["event_count"] == 7
    assert dict(profile["behaviour_points"])["pages"] == 6.0


def test_scores_are_those_of_the_date_in_force(store: Store, new_world: MakeWorld) -> None:
    """A window of 5 days holds on its fifth day and not on the sixth, whatever the clock of the machine says."""
    world = new_world()
    webinar = {"type": "track", "event": "Webinar Joined", "userId": "u", "messageId": "w",
               "timestamp": "2026-11-15T03:00:00Z", "properties": {"minutes": 30}}  # fmt: skip
    job = LocalJob(store, world.home)
    job.run(
        lines([world.opened("g1"), world.activated("g1"), world.date("2026-11-19"), *world.events([webinar])])
    )
    (row,) = profiles(store, world).values()
    assert dict(row["behaviour_points"]) == {"webinar": 20.0, "inactivity": -5.0}
    job.run(lines([world.date("2026-11-20")]))
    (row,) = profiles(store, world).values()
    assert dict(row["behaviour_points"]) == {"inactivity": -5.0}
    assert digest(store, world.name) == digest(store, world.name, "2026-11-20")


def test_events_of_the_future_wait_for_their_day(store: Store, new_world: MakeWorld) -> None:
    world = new_world()
    future = LocalJob(store, world.home)
    future.run(lines([world.opened("g1"), world.activated("g1"), world.date("2026-11-19")]))
    future.run(lines(world.events([page(1, userId="u"), page(2, day=DATE, userId="soon")])))
    assert len(profiles(store, world)) == 1
    assert digest(store, world.name) == digest(store, world.name, "2026-11-19")
    future.run(lines([world.date(DATE)]))
    assert len(profiles(store, world)) == 2
    assert digest(store, world.name) == digest(store, world.name, DATE)


def test_nothing_is_told_before_it_is_durable(new_world: MakeWorld) -> None:
    world = new_world()
    normalize = Normalize(1, keys_in(world.home))
    (line,) = lines(world.events([page(1, userId="u", anonymousId="a")]))
    (batch,) = normalize.line(line.decode())
    nobody = Store(StoreSettings(url="http://127.0.0.1:9", patience=0.1))
    told: list[Message] = []
    with pytest.raises(StoreUnavailable):
        told.extend(itertools.islice(Land(nobody).flush([batch.body[1]]), 1))
    assert told == []


def test_a_new_attempt_sends_links_anew(new_world: MakeWorld) -> None:
    """What one attempt sent may have died with it; only its own memory may keep it from sending again."""
    world = new_world()
    (line,) = lines(world.events([page(1, userId="u", anonymousId="a")]))

    def sent(step: Normalize) -> set[str]:
        (message,) = step.line(line.decode())
        return set(message.body[1])

    first = Normalize(1, keys_in(world.home))
    assert "links" in sent(first)
    assert "links" not in sent(first), "the same attempt sends a link once"
    assert "links" in sent(Normalize(1, keys_in(world.home)))


def resolver(store: Store, world: World, state: DictState) -> Resolve:
    return Resolve(world.name, store, state, Versions(store, "identity_map"), check=False, now=lambda: 1)


def evidence(world: World, *pairs: tuple[str, str, int]) -> list[Message]:
    kinds = {
        world.identifier(n, v): n for n, v in (("user_id", "u1"), ("user_id", "u2"), ("anonymous_id", "a"))
    }
    seen = sorted(
        {(i, day) for *ends, day in pairs for i in ends} | {(world.identifier("anonymous_id", "a"), 20_750)}
    )
    sightings = [[i for i, _ in seen], [kinds[i] for i, _ in seen], [day for _, day in seen]]
    links = [
        list(column) for column in zip(*((min(a, b), max(a, b), day) for a, b, day in pairs), strict=True)
    ]
    return [Message(world.name, "evidence", (sightings, links), "0")]


def test_a_restore_repairs_what_a_dead_attempt_wrote(store: Store, new_world: MakeWorld) -> None:
    """The dead attempt saw u1-a first and joined them; the replay brings the older u2-a first, and then u1-a is refused
    and changes nothing for u1, whose row says something else in the store."""
    world = new_world()
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(DATE)]))
    checkpoint = dict(job.resolves[world.name]._state.values)
    u1, u2, a = (
        world.identifier(n, v) for n, v in (("user_id", "u1"), ("user_id", "u2"), ("anonymous_id", "a"))
    )
    late, early = (u1, a, 20_770), (u2, a, 20_760)

    dead = resolver(store, world, job.resolves[world.name]._state)
    for message in evidence(world, late):
        list(dead.on(message))

    restored = DictState()
    restored.values = checkpoint
    attempt = resolver(store, world, restored)
    for message in [*evidence(world, early), *evidence(world, late)]:
        list(attempt.on(message))

    rows = store.query_rows(
        "SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL WHERE workspace = {w:String}",
        {"w": world.name},
    )
    assert {i: p for i, p in rows if i != p} == {u2: a}
    assert u1 in dict(rows), "the dead attempt did write a row for u1, which had to be put right"


def test_a_trailer_is_recorded_after_all_slots_sent_their_copy(store: Store, new_world: MakeWorld) -> None:
    world = new_world()
    job = LocalJob(store, world.home, slots=3)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(DATE)]))
    trailer = Message(world.name, "trailer", "segment-1")
    for copy, recorded in (("0/3", 0), ("1/3", 0), ("0/3", 0), ("2/3", 1)):
        job._resolve(trailer._replace(copy=copy))
        rows = store.query_rows(
            "SELECT count() FROM kintsugi_store.progress FINAL WHERE workspace = {w:String}",
            {"w": world.name},
        )
        assert rows[0][0] == recorded
    job.run(lines([Trailer(segment="segment-2", workspaces=[world.name])]))


def test_a_job_that_goes_on_wider_needs_no_copy_of_what_was_copied_before(
    store: Store, new_world: MakeWorld
) -> None:
    world = new_world()
    job = LocalJob(store, world.home, slots=2)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(DATE)]))
    job._resolve(Message(world.name, "trailer", "of the narrow job", "0/1"))
    rows = store.query_rows(
        "SELECT segment FROM kintsugi_store.progress FINAL WHERE workspace = {w:String}", {"w": world.name}
    )
    assert rows == [("of the narrow job",)]


def test_a_slot_that_did_not_exist_when_a_generation_was_opened_derives_its_hits(
    store: Store, new_world: MakeWorld
) -> None:
    world = new_world()
    LocalJob(store, world.home).run(lines([world.opened("g1"), world.activated("g1"), world.date(DATE)]))
    slot = Land(store)
    slot.learn()
    (line,) = lines(world.events([page(1, userId="u")]))
    (message,) = Normalize(1, keys_in(world.home)).line(line.decode())
    list(slot.flush([message.body[1]]))
    hits = store.query_rows(
        "SELECT count() FROM kintsugi_store.event_hits WHERE workspace = {w:String} AND generation = 'g1'",
        {"w": world.name},
    )
    assert hits[0][0] > 0


def test_a_new_slot_takes_a_late_copy_of_what_was_closed_since(store: Store, new_world: MakeWorld) -> None:
    """Its first copy of the record `open` comes after others heard of the end: the job must not stop for it."""
    world = new_world()
    opened = world.opened("g1")
    closed = opened.__class__(workspace=world.name, at=99, id="c99", action="close", generation="g1")
    LocalJob(store, world.home).run(lines([opened, closed]))
    slot = Land(store)
    slot.learn()
    (line,) = lines([opened])
    (message,) = Normalize(1, keys_in(world.home)).line(line.decode())
    (told,) = slot.control(message.body, message.copy)
    assert told.what == "control"


def test_a_generation_opened_again_says_nothing_of_its_earlier_life(
    store: Store, new_world: MakeWorld
) -> None:
    """While it was closed a browser became shared: its old cluster is gone, and who was in it is alone."""
    world = new_world()
    opened = world.opened("g2")
    close = opened.__class__(
        workspace=world.name, at=opened.at, id=opened.id + "c", action="close", generation="g2"
    )

    def visit(number: int) -> dict[str, Any]:
        phone = {"externalIds": [{"id": f"1382213800{number}", "type": "phone"}]}
        return page(number, anonymousId="browser", context=phone)

    job = run(store, world, [visit(1), visit(2), page(9, userId="u")])
    job.run(lines([opened, close]))
    job.run(lines(world.events([visit(n) for n in (3, 4, 5)])))
    job.run(lines([world.opened("g2")]))
    tables = {
        "identity_map": "profile_id != identifier_id OR state != 'member'", "clusters": "notEmpty(members)",
        "excluded_identifiers": "reason != ''", "refused_links": "reason != ''",
    }  # fmt: skip
    for table, says in tables.items():
        one, two = (
            store.query_rows(
                f"SELECT * EXCEPT (version, generation) FROM kintsugi_store.{table} FINAL"
                f" WHERE workspace = {{w:String}} AND generation = {{g:String}} AND ({says}) ORDER BY ALL",
                {"w": world.name, "g": generation},
            )
            for generation in ("g1", "g2")
        )
        assert one == two, table
    assert store.query_rows(
        "SELECT reason FROM kintsugi_store.excluded_identifiers FINAL WHERE workspace = {w:String}"
        " AND generation = 'g2'", {"w": world.name}
    ) == [("shared",)]  # fmt: skip


def test_equal_events_of_two_workspaces_share_no_id(tmp_path: Path, store: Store) -> None:
    """So tenants cannot be joined."""
    one, two = World(tmp_path, "one"), World(tmp_path, "two")
    for world in (one, two):
        run(store, world, [page(1, userId="u", anonymousId="a")])
    assert not set(profiles(store, one)) & set(profiles(store, two))
    assert len(profiles(store, one)) == len(profiles(store, two)) == 1
