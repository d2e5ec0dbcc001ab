"""Stories that identity resolution gets wrong elsewhere, each told to the function and to the resolver."""

from collections.abc import Iterable
from itertools import permutations
from random import Random

import pytest

from identity.clusters import Assignment, Refusal, clusters
from identity.evidence import Link, Override, Sighting, Verb
from identity.incremental import MemoryState, Resolver
from identity.rules import IdentityRules, NamespaceRule
from schemas.ids import ordered

DAY = 20_000
RULES = IdentityRules(
    (
        NamespaceRule("user_id", 1),
        NamespaceRule("phone", 3, {"user_id": 5, "wechat_openid": 10}),
        NamespaceRule("email", None, {}, {"user_id": 1}),
        NamespaceRule("wechat_openid", None, {"user_id": 5}),
        NamespaceRule("anonymous_id", None, {"user_id": 5, "phone": 10}, {}, "latest", 180),
    ),
    frozenset({"zeros"}),
)
NAMES = {"u": "user_id", "p": "phone", "e": "email", "w": "wechat_openid", "a": "anonymous_id"}
"""The first letter of an identifier tells its namespace."""

Meeting = tuple[int, str]
"""Days after DAY, and the identifiers that meet, separated by spaces."""


def evidence(meetings: Iterable[Meeting]) -> tuple[list[Sighting], list[Link]]:
    """Sightings and links of meetings."""
    sightings: list[Sighting] = []
    links: list[Link] = []
    for after, text in meetings:
        ids = text.split()
        sightings += [Sighting(i, NAMES[i[0]] + ("|zeros" if "zero" in i else ""), DAY + after) for i in ids]
        links += [Link(*ordered(a, b), DAY + after) for n, a in enumerate(ids) for b in ids[n + 1 :]]
    return sightings, links


def says(pair: str, verb: Verb, at: int = 1) -> Override:
    """A steward's word."""
    a, b = pair.split()
    return Override(a, b, verb, at, f"o{at}")


def resolve(
    meetings: list[Meeting],
    overrides: list[Override] | None = None,
    after: int = 0,
    rules: IdentityRules = RULES,
) -> Assignment:
    """What the function says so many days after DAY, once the resolver was seen to say the same."""
    sightings, links = evidence(meetings)
    found = clusters(links, sightings, overrides or [], rules, DAY + after)
    resolver = Resolver(MemoryState(), rules, DAY - 1, check=True)
    for meeting in meetings:
        resolver.add(*evidence([meeting]))
    resolver.add(overrides=overrides or [])
    resolver.advance(DAY + after)
    assert all(resolver.current(i).profile_id == profile for i, profile in found.profile_of.items())
    return found


def test_a_chain_of_aliases_is_one_person_in_every_order() -> None:
    chain = [(0, "a1 a2"), (0, "a2 a3"), (0, "a3 a4")]
    for order in permutations(chain):
        assert resolve(list(order)).members == {"a1": ("a1", "a2", "a3", "a4")}


def test_a_shop_phone_does_not_make_a_thousand_customers_one() -> None:
    meetings = [(0, f"p-shop w{n:04} a{n:04}") for n in range(1000)]
    Random(1).shuffle(meetings)
    sightings, links = evidence(meetings)
    resolver = Resolver(MemoryState(), RULES, DAY)
    told: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(meetings), 100):
        told |= resolver.add(*evidence(meetings[start : start + 100])).clusters
    people = [members for members in told.values() if members]
    assert sorted(people) == [(f"a{n:04}", f"w{n:04}") for n in range(1000)]
    assert resolver.current("p-shop") == ("p-shop", "shared")
    assert clusters(links, sightings, [], RULES, DAY).members == {p: m for p, m in told.items() if m}


def test_a_phone_handed_on_stays_with_its_first_owner_until_a_steward_says_otherwise() -> None:
    meetings = [(0, "u1 p1"), (1, "u1 a1"), (400, "u2 p1"), (401, "u2 a2")]
    found = resolve(meetings, after=401)
    assert found.profile_of["p1"] == found.profile_of["u1"] != found.profile_of["u2"]
    assert found.refused == {("p1", "u2"): Refusal("limit", "user_id: 1")}
    moved = resolve(meetings, [says("p1 u1", "never")], after=401)
    assert moved.profile_of["p1"] == moved.profile_of["u2"] != moved.profile_of["u1"]
    assert moved.refused == {("p1", "u1"): Refusal("never_link", "p1 u1")}


def test_a_shared_tablet_follows_whoever_used_it_last() -> None:
    meetings = [(0, "u1 a-tablet"), (1, "u2 a-tablet")]
    again = [*meetings, (2, "u1 a-tablet")]
    for told, after, owner in ((meetings, 0, "u1"), (meetings, 1, "u2"), (again, 1, "u2"), (again, 2, "u1")):
        found = resolve(told, after=after)
        assert list(found.members.values()) == [("a-tablet", owner)]


def test_a_new_cookie_every_week_for_two_years_stays_one_person() -> None:
    meetings = [(week * 7, f"u1 a{week:03}") for week in range(104)]
    found = resolve(meetings, after=103 * 7)
    recent = [f"a{week:03}" for week in range(104) if (103 - week) * 7 < 180]
    assert found.members == {"u1": (*recent, "u1")}
    forgetful = NamespaceRule("anonymous_id", None, {"user_id": 5})
    found = resolve(meetings, after=103 * 7, rules=IdentityRules((*RULES.namespaces[:4], forgetful)))
    assert len(found.members["u1"]) == 105


def test_two_accounts_are_kept_apart_joined_by_force_and_parted_again() -> None:
    meetings = [(0, "u1 p1"), (0, "u2 p2"), (1, "p1 p2")]
    apart = resolve(meetings, after=1)
    assert apart.refused == {("p1", "p2"): Refusal("limit", "user_id: 1")}
    joined = resolve(meetings, [says("u1 u2", "force")], after=1)
    assert joined.members == {"u1": ("p1", "p2", "u1", "u2")}
    assert resolve(meetings, [says("u1 u2", "force"), says("u1 u2", "none", 2)], after=1) == apart


def test_a_forced_group_counts_once_and_still_refuses_a_third_account() -> None:
    found = resolve([(0, "u1 p1"), (0, "u2 p1"), (1, "u3 p1")], [says("u1 u2", "force")], after=1)
    assert found.members == {"u1": ("p1", "u1", "u2")}
    assert found.refused == {("p1", "u3"): Refusal("limit", "user_id: 1")}


def test_a_never_link_after_the_merge_equals_one_before() -> None:
    meetings = [(0, "u1 a1"), (1, "a1 p1"), (2, "p1 w1")]
    late = resolve(meetings, [says("u1 w1", "never")], after=2)
    resolver = Resolver(MemoryState(), RULES, DAY + 2, check=True)
    resolver.add(overrides=[says("u1 w1", "never")])
    for meeting in meetings:
        resolver.add(*evidence([meeting]))
    assert all(resolver.current(i).profile_id == late.profile_of[i] for i in late.profile_of)
    assert late.profile_of["u1"] != late.profile_of["w1"]


def test_a_never_link_forbids_a_force_however_it_comes_about() -> None:
    words = [says("u1 u2", "force", 3), says("u2 u3", "force", 2), says("u1 u3", "never", 1)]
    found = resolve([(0, "u1"), (0, "u2"), (0, "u3")], words)
    assert found.members == {"u1": ("u1", "u2")}
    assert found.refused == {("u2", "u3"): Refusal("never_link", "u1 u3")}


def test_the_newest_override_wins_in_whatever_order_they_arrive() -> None:
    words = [says("u1 u2", "force", 1), says("u2 u1", "never", 2), says("u1 u2", "force", 3)]
    for order in permutations(words):
        assert resolve([(0, "u1"), (0, "u2")], list(order)).members == {"u1": ("u1", "u2")}


def test_an_expired_override_does_not_bring_an_older_one_back() -> None:
    words = [says("u1 u2", "force", 1), Override("u1", "u2", "never", 2, "o", DAY + 5)]
    meetings = [(0, "u1"), (0, "u2")]
    assert resolve(meetings, words, after=4).members == resolve(meetings, words, after=5).members == {}


def test_nothing_clusters_through_a_blocked_value() -> None:
    found = resolve([(0, "u1 p-zero"), (0, "u2 p-zero"), (0, "p-zero a1")])
    assert found.members == {}
    assert found.excluded == {"p-zero": "blocked"}


def test_a_blocked_neighbour_does_not_make_an_identifier_shared() -> None:
    rules = IdentityRules((NamespaceRule("phone", None, {"user_id": 1}),), frozenset({"zeros"}))
    assert resolve([(0, "p1 u1"), (0, "p1 u-zero")], rules=rules).excluded == {"u-zero": "blocked"}


def test_expired_links_and_shared_neighbours_still_count_towards_sharing() -> None:
    rules = IdentityRules(
        (
            NamespaceRule("phone", None, {"user_id": 1}, {}, "first", 10),
            NamespaceRule("user_id", None, {"email": 1}),
        )
    )
    found = resolve([(0, "p1 u1"), (0, "u1 e1 e2"), (30, "p1 u2")], after=30, rules=rules)
    assert found.excluded == {"p1": "shared", "u1": "shared"}


def test_a_person_without_account_gains_one_and_no_history_is_lost() -> None:
    found = resolve([(0, "a1 w1"), (3, "w1 p1"), (5, "p1 u1")], after=5)
    assert found.members == {"w1": ("a1", "p1", "u1", "w1")}


def test_equal_ranks_are_decided_by_id_whatever_comes_first() -> None:
    meetings = [(0, "p1 u1"), (0, "p1 u2")]
    for order in permutations(meetings):
        assert resolve(list(order)).refused == {("p1", "u2"): Refusal("limit", "user_id: 1")}


def test_a_profile_that_holds_an_email_holds_one_account_even_where_accounts_are_free() -> None:
    rules = IdentityRules((NamespaceRule("email", None, {}, {"user_id": 1}),))
    found = resolve([(0, "u1 e1"), (1, "u2 e1"), (2, "u3 u4")], after=2, rules=rules)
    assert found.refused == {("e1", "u2"): Refusal("with", "email with user_id: 1")}
    assert found.members["u3"] == ("u3", "u4")


def test_evidence_of_later_days_waits_for_its_day() -> None:
    resolver = Resolver(MemoryState(), RULES, DAY, check=True)
    sightings, links = evidence([(2, "u1 p1")])
    assert not resolver.add(sightings, links).identifiers
    assert not resolver.advance(DAY + 1).identifiers
    changes = resolver.advance(DAY + 2)
    assert changes.clusters["u1"] == ("p1", "u1")
    assert [move.cause for move in changes.moves] == ["date"]


@pytest.mark.parametrize("swap", [False, True])
def test_the_first_seen_member_names_the_profile_and_older_evidence_renames_it(swap: bool) -> None:
    meetings = [(5, "u1 p1"), (3, "p1")]
    found = resolve(meetings[::-1] if swap else meetings, after=5)
    assert found.members == {"p1": ("p1", "u1")}
