"""The demo's ground truth agrees with the events and holds what any rules must get wrong."""

from datetime import date

import pytest

from identity.quality import UNEXPLAINED, errors_by_cause, quality
from kintsugi.demo_data import Batch, Truth, journeys
from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.people import Hard
from kintsugi.demo_data.truth import Identifier, folded, identifiers_of
from kintsugi.demo_data.visits import Event


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return list(journeys(seed=1, events=20_000, start_day=date(2026, 9, 1), days=60))


@pytest.fixture(scope="module")
def truth(batches: list[Batch]) -> Truth:
    truth = Truth()
    for batch in batches:
        truth.add(batch)
    return truth


def seen(message_id: str, *ids: tuple[str, str]) -> Event:
    entries = [{"type": namespace, "id": value} for namespace, value in ids]
    return {"type": "track", "messageId": message_id, "context": {"externalIds": entries}}


def test_every_identifier_belongs_to_who_did_its_events_unless_it_is_shared(
    batches: list[Batch], truth: Truth
) -> None:
    causes = truth.causes()
    for batch in batches:
        for event, person in zip(batch.events, batch.people, strict=True):
            assert truth.person_of_message(event["messageId"]) == person
            for raw in identifiers_of(event):
                cause = causes.get(folded(*raw))
                if cause in words.NOBODYS:
                    assert truth.person_of(*raw) is None
                else:
                    assert person in truth.people_of(*raw)
                    assert cause in words.SHARED_BY_TWO or truth.person_of(*raw) == person


def test_only_what_is_declared_shared_is_shared(truth: Truth) -> None:
    causes = truth.causes()
    for key in truth.identifiers():
        if len(truth.people_of(*key)) > 1:
            assert causes[key] in words.NOBODYS | words.SHARED_BY_TWO


def test_the_truth_holds_what_the_events_show_and_nothing_else(batches: list[Batch], truth: Truth) -> None:
    shown = {folded(*raw) for batch in batches for event in batch.events for raw in identifiers_of(event)}
    assert truth.identifiers().keys() == shown
    assert truth.causes().keys() <= shown
    assert truth.messages().keys() == {event["messageId"] for batch in batches for event in batch.events}


def test_a_handed_on_phone_has_two_people_in_sequence(truth: Truth) -> None:
    phones = [key for key, cause in truth.causes().items() if cause == words.HANDED_ON_PHONE]
    assert phones
    assert all(len(truth.people_of(*key)) >= 2 for key in phones)
    assert all(truth.person_of(*key) == truth.people_of(*key)[0] for key in phones)


def test_all_spellings_of_a_phone_find_its_owner() -> None:
    truth = Truth()
    truth.add(Batch([seen("m", ("phone", "+86 139-1234-5678"))], [5], []))
    assert {truth.person_of("phone", "", s) for s in words.phone_spellings("13912345678")} == {5}


def test_what_no_event_connects_to_the_rest_is_labelled() -> None:
    truth = Truth()
    events = [
        seen("1", ("phone", "13912345678"), ("wechat_openid", "o1")),
        seen("2", ("anonymous_id", "tablet"), ("phone", "13912345678")),
        seen("3", ("anonymous_id", "office")),
        seen("4", ("email", "a@b.internal")),
        seen("5", ("anonymous_id", "kiosk"), ("email", "a@b.internal")),
    ]
    kiosk = Hard("anonymous_id", "", "kiosk", words.SHARED_TABLET)
    truth.add(Batch(events, [1] * 5, [kiosk]))
    assert truth.causes() == {
        ("anonymous_id", "", "kiosk"): words.SHARED_TABLET,
        ("anonymous_id", "", "office"): words.NEVER_IDENTIFIED_DEVICE,
        ("email", "", "a@b.internal"): words.UNLINKED_ACCOUNT,
    }


def test_joining_all_that_was_seen_together_is_not_perfect_and_each_error_has_a_planted_cause(
    batches: list[Batch], truth: Truth
) -> None:
    # the simplest rule: everything seen in one event is one person, except what the truth knows as nobody's
    owners, parents = truth.identifiers(), dict[Identifier, Identifier]()

    def root(key: Identifier) -> Identifier:
        while (parent := parents.setdefault(key, key)) != key:
            key = parent
        return key

    for batch in batches:
        for event in batch.events:
            keys = [key for raw in identifiers_of(event) if owners[key := folded(*raw)] is not None]
            for key in keys[1:]:
                parents[root(key)] = root(keys[0])
    assignment = {key: root(key) for key in owners}

    found = quality(assignment, owners)
    assert 0.9 < found.pairwise.precision < 1
    assert 0.6 < found.pairwise.recall < 0.95
    counted = errors_by_cause(assignment, owners, truth.causes())
    assert UNEXPLAINED not in {row.cause for row in counted}
    assert any(words.HANDED_ON_PHONE in row.cause and row.false_pairs for row in counted)
    assert any(words.SHARED_COMPUTER in row.cause and row.false_pairs for row in counted)
    assert any(words.NEVER_IDENTIFIED_DEVICE in row.cause and row.missed_pairs for row in counted)
