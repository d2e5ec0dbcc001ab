"""The demo's generator: reproducible, complete in its situations, in order of time as far as promised."""

import doctest
import gc
import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from types import ModuleType

import msgspec
import orjson
import pytest

from identity.normalize.reading import identifier_problems, raw_identifiers_of
from kintsugi.demo_data import Batch, Truth, clock, journeys
from kintsugi.demo_data import truth as truth_module
from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.truth import folded, identifiers_of
from kintsugi.demo_data.visits import Event
from schemas.admission import admit
from schemas.events import Event as AdmittedEvent
from schemas.workspace import parse_workspace

START = date(2026, 9, 1)
DAYS = 60
EVENTS = 20_000


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return list(journeys(seed=1, events=EVENTS, start_day=START, days=DAYS))


@pytest.fixture(scope="module")
def events(batches: list[Batch]) -> list[Event]:
    return [event for batch in batches for event in batch.events]


@pytest.fixture(scope="module")
def truth(batches: list[Batch]) -> Truth:
    truth = Truth()
    for batch in batches:
        truth.add(batch)
    return truth


def fingerprint(batches: Iterator[Batch]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(orjson.dumps([batch.events, batch.people, [list(hard) for hard in batch.causes]]))
    return digest.hexdigest()


def seconds(event: Event) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def test_the_same_arguments_give_the_same_bytes_on_every_machine() -> None:
    # a fixed value: another machine, another process and another day must all find it
    found = fingerprint(journeys(seed=7, events=3000, start_day=START, days=30))
    assert found == "3a3189ba59fa8b3f1becb813e9760edad388ae3316e699c2e7a994ae09876fe0"


def test_another_seed_gives_other_people() -> None:
    first, second = (next(journeys(seed=seed, events=50, start_day=START, days=5)) for seed in (1, 2))
    ids = [{raw for event in batch.events for raw in identifiers_of(event)} for batch in (first, second)]
    assert ids[0].isdisjoint(ids[1])


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2500])
@pytest.mark.parametrize("days", [1, 90])
def test_there_are_exactly_as_many_events_as_asked_for(count: int, days: int) -> None:
    sizes = [len(batch.events) for batch in journeys(seed=3, events=count, start_day=START, days=days)]
    assert sum(sizes) == count
    assert all(size == 1000 for size in sizes[:-1])


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="days"):
        next(journeys(seed=1, events=1, start_day=START, days=0))


def test_every_event_is_admitted_and_all_its_identifiers_are_declared(events: list[Event]) -> None:
    workspace = parse_workspace("demo", "")
    decode = msgspec.json.Decoder(AdmittedEvent).decode
    for event in events[:5000]:
        admitted = decode(admit(orjson.loads(orjson.dumps(event))).e)
        assert identifier_problems(admitted, workspace) == []
        assert set(raw_identifiers_of(admitted, workspace)) == set(identifiers_of(event))


def test_all_event_names_that_scoring_uses_are_there(events: list[Event]) -> None:
    names = Counter(event.get("event", event["type"]) for event in events)
    expected = {
        "page": 9000, "identify": 800, "group": 100, "QR Scanned": 700, "WeChat Followed": 700,
        "WeChat Unfollowed": 100, "Form Submitted": 600, "Webinar Joined": 500, "Content Downloaded": 600,
        "Checked In": 400, "WeCom Contact Added": 250,
    }  # fmt: skip
    assert names.keys() == expected.keys()
    assert {name: names[name] for name in expected if names[name] < expected[name]} == {}


def test_events_carry_what_rules_look_at(events: list[Event]) -> None:
    for event in events:
        match event.get("event"):
            case "Webinar Joined":
                assert 1 <= event["properties"]["minutes"] <= 90
            case "Content Downloaded":
                assert event["properties"]["title"] in words.DOWNLOADS
            case "QR Scanned":
                assert event["properties"]["scene"] in words.SCENES
            case "WeCom Contact Added":
                assert event["properties"]["employee"] in words.EMPLOYEES
    scopes = {
        (entry["type"], entry.get("scope", ""))
        for event in events
        for entry in event["context"].get("externalIds", ())
    }
    assert scopes == {
        ("phone", ""), ("email", ""), ("wechat_unionid", ""), ("wechat_openid", words.SERVICE_ACCOUNT),
        ("wechat_openid", words.SUBSCRIPTION_ACCOUNT), ("wechat_openid", words.MINI_PROGRAM),
        ("wecom_external_userid", words.CORP),
    }  # fmt: skip


def test_phones_come_in_all_spellings(events: list[Event]) -> None:
    raws = {value for event in events for space, _, value in identifiers_of(event) if space == "phone"}
    shapes = Counter(
        next(i for i, s in enumerate(words.phone_spellings(folded("phone", "", raw)[2])) if s == raw)
        for raw in raws
    )
    assert len(shapes) == 6
    assert min(shapes.values()) > 100


def test_all_situations_are_there(truth: Truth) -> None:
    causes = Counter(truth.causes().values())
    least = {
        words.SHARED_TABLET: 10, words.SHOP_PHONE: 20, words.PLACEHOLDER: 5, words.ROBOT: 4,
        words.HANDED_ON_PHONE: 5, words.SHARED_COMPUTER: 8, words.SECOND_ACCOUNT: 3,
        words.NEVER_IDENTIFIED_DEVICE: 200, words.UNLINKED_ACCOUNT: 200,
    }  # fmt: skip
    assert causes.keys() == least.keys()
    assert {cause: causes[cause] for cause in least if causes[cause] < least[cause]} == {}


def test_robots_name_themselves_and_nobody_else_does(batches: list[Batch]) -> None:
    for batch in batches:
        for event, person in zip(batch.events, batch.people, strict=True):
            assert (event["context"].get("userAgent") in words.ROBOT_AGENTS) == (person is None)


def test_some_arrive_twice_some_late_and_some_swapped(events: list[Event]) -> None:
    copies = Counter(event["messageId"] for event in events)
    bodies = {orjson.dumps(event) for event in events}
    assert len(bodies) == len(copies), "a resend has the same body"
    assert 0.01 < 1 - len(copies) / len(events) < 0.03

    latest, late, swapped = 0.0, 0, 0
    for event in events:
        at = seconds(event)
        late += latest - at > 7200
        swapped += 0 < latest - at <= 7200
        latest = max(latest, at)
    assert 0.02 < late / EVENTS < 0.06
    assert 0.02 < swapped / EVENTS < 0.15


def test_event_times_lie_within_the_days_asked_for_in_china(events: list[Event]) -> None:
    midnight = datetime.fromisoformat("2026-09-01T00:00:00+08:00").timestamp()
    days = Counter(int((seconds(event) - midnight) // 86_400) for event in events)
    assert set(days) == set(range(DAYS))
    assert max(days.values()) < 4 * EVENTS / DAYS


def test_people_have_six_to_ten_events_on_average_and_some_have_many(batches: list[Batch]) -> None:
    per_person = Counter(person for batch in batches for person in batch.people if person is not None)
    assert 6 <= per_person.total() / len(per_person) <= 10
    assert per_person.most_common(1)[0][1] > 60
    assert sum(count <= 2 for count in per_person.values()) > len(per_person) / 8


def test_memory_does_not_grow_with_the_events() -> None:
    gc.collect()
    before = len(gc.get_objects())
    held = [
        len(gc.get_objects()) - before
        for i, _ in enumerate(journeys(seed=1, events=60_000, start_day=START, days=120))
        if i % 4 == 0
    ]
    assert max(held[10:]) < 1.3 * max(held[5:10])


@pytest.mark.parametrize("module", [clock, truth_module, words])
def test_the_examples_in_the_documentation_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
