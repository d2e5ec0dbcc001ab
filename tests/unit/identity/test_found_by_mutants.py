"""Edges that no other test stood on: each of these was found by a mutant that survived."""

import pytest

from identity.clusters import clusters
from identity.evidence import Link, Override, Sighting
from identity.explain import how, why_not
from identity.incremental import MemoryState, Resolver
from identity.limits import Refusal
from identity.normalize import mask, normalize
from identity.quality import CauseCount, errors_by_cause
from identity.rules import IdentityRules, NamespaceRule
from schemas.ids import ordered
from schemas.workspace import NamespaceSpec

ONE_USER = IdentityRules((NamespaceRule("user", 1),))


def test_eight_characters_show_their_last_four() -> None:
    assert mask("user_id", "12345678") == "****5678"
    assert mask("user_id", "1234567") == "****"


def test_a_quoted_letter_is_a_mailbox() -> None:
    assert normalize(NamespaceSpec("email", "email"), '"a"@firm.cn', "CN") == "a@firm.cn"


def test_the_longest_mailbox_is_a_mailbox() -> None:
    spec = NamespaceSpec("email", "email")
    assert normalize(spec, "a" * 64 + "@firm.cn", "CN") == "a" * 64 + "@firm.cn"
    assert normalize(spec, "a" * 65 + "@firm.cn", "CN") is None


def test_the_last_label_of_a_domain_is_its_top() -> None:
    assert normalize(NamespaceSpec("email", "email"), "anna@shop.firm.123", "CN") is None


def test_the_longest_value_is_a_value() -> None:
    spec = NamespaceSpec("crm_id", max_length=1024)
    assert normalize(spec, "x" * 1024, "CN") == "x" * 1024
    assert normalize(spec, "x" * 1025, "CN") is None


def test_a_wrong_pair_between_two_hard_cells_has_both_causes() -> None:
    found = errors_by_cause({"a": 1, "b": 1}, {"a": "x", "b": "y"}, {"a": "kiosk", "b": "shop phone"})
    assert found == [CauseCount("kiosk + shop phone", 1, 0)]


def test_a_wrong_pair_has_no_causes_of_others_in_its_cluster() -> None:
    people = {"a": "x", "b": "y", "c": "z"}
    found = errors_by_cause(dict.fromkeys("abc", 1), people, {"a": "kiosk", "c": "shop phone"})
    assert {count.cause for count in found} == {"kiosk", "kiosk + shop phone", "shop phone"}


def test_how_counts_the_date_itself_and_the_first_of_many_days() -> None:
    sightings = [Sighting(i, "cookie", 1) for i in "ab"]
    links = [Link("a", "b", day) for day in (5, 3, 9)]
    (step,) = how("a", clusters(links, sightings, [], ONE_USER, 9), links, 9)
    assert (step.first_day, step.last_day) == (3, 9)


def test_a_way_over_two_shared_identifiers_is_longer_than_one_over_one() -> None:
    """a–s–t–b and a–u–x–y–z–b: s, t and u are blocked, so the long way has fewer obstacles."""
    rules = IdentityRules(blocked_ids=frozenset("stu"))
    pairs = ["as", "st", "bt", "au", "ux", "xy", "yz", "bz"]
    links = [Link(min(p), max(p), 1) for p in pairs]
    sightings = [Sighting(i, "cookie", 1) for i in "abstuxyz"]
    found = why_not("a", "b", clusters(links, sightings, [], rules, 1), links, 1)
    assert [obstacle.blocker for obstacle in found] == ["u"]


def test_a_way_over_four_blocked_identifiers_is_longer_than_one_over_three_refused_links() -> None:
    rules = IdentityRules((NamespaceRule("user", 1),), blocked_ids=frozenset("stvw"))
    links = [Link(*ordered(*pair), 1) for pair in ("ac", "cd", "db", "as", "st", "tv", "vw", "wb")]
    sightings = [Sighting(i, "user", 1) for i in "abcdstvw"]
    found = why_not("a", "b", clusters(links, sightings, [], rules, 1), links, 1)
    assert [(obstacle.a, obstacle.b) for obstacle in found] == [("a", "c"), ("c", "d"), ("d", "b")]


def test_a_withdrawn_force_link_leaves_no_refusal() -> None:
    resolver = Resolver(MemoryState(), ONE_USER, 1, check=True)
    resolver.add([Sighting("a", "user", 1), Sighting("b", "user", 1), Sighting("c", "user", 1)])
    resolver.add(overrides=[Override("a", "b", "never", 1, "1"), Override("a", "c", "force", 2, "2")])
    resolver.add(overrides=[Override("b", "c", "force", 1, "3")])
    assert resolver.refusal("b", "c") == Refusal("never_link", "a b")
    resolver.add(overrides=[Override("b", "c", "none", 5, "4")])
    assert resolver.refusal("b", "c") is None


_CONTESTED = IdentityRules((NamespaceRule("user", 1), NamespaceRule("phone", 1)))


@pytest.mark.parametrize("order", ["xy", "yx"])
@pytest.mark.parametrize("never", [False, True])
def test_a_union_gives_a_contested_cluster_another_reason(order: str, never: bool) -> None:
    """`d` brings `c`, whose link is refused, an account or a never-link; by id, either of the two is first."""
    c, d = order[0], order[1]
    kinds = {c: "phone", "r": "phone", "u": "user", d: "cookie" if never else "user"}
    resolver = Resolver(MemoryState(), _CONTESTED, 9, check=True)
    resolver.add([Sighting(i, kind, 1) for i, kind in kinds.items()])
    resolver.add(links=[Link("r", "u", 1), Link(*ordered("r", c), 2)])
    if never:
        resolver.add(overrides=[Override(d, "u", "never", 1, "1")])
    assert resolver.refusal(*ordered("r", c)) == Refusal("limit", "phone: 1")
    resolver.add(links=[Link(*ordered(c, d), 3)])
    expected = Refusal("never_link", " ".join(ordered(d, "u"))) if never else Refusal("limit", "user: 1")
    assert resolver.refusal(*ordered("r", c)) == expected
