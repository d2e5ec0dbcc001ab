"""The resolver's own promises: what it costs, what it tells, what it refuses."""

from typing import Any

import pytest

from identity.clusters import Refusal
from identity.evidence import Link, Override, Sighting
from identity.incremental import Changes, IdentityRow, MemoryState, Move, Resolver
from identity.rules import IdentityRules, NamespaceRule

RULES = IdentityRules(
    (
        NamespaceRule("u", 1),
        NamespaceRule("p", 3, {"u": 2}),
        NamespaceRule("a", None, {"u": 2}, {}, "latest", 30),
    )
)


class CountingState(MemoryState):
    """Counts calls and notes the longest value written, in items."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.longest = 0
        self.asked: list[str] = []
        self.get = self._get  # type: ignore[assignment]

    def _get(self, key: str) -> Any | None:
        self.calls += 1
        self.asked.append(key)
        return self.values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Set the value of the key."""
        self.calls += 1
        if isinstance(value, tuple) and not key.startswith("m:"):
            self.longest = max(self.longest, len(value))
        super().put(key, value)


def meet(resolver: Resolver, *ids: str, day: int = 0) -> Changes:
    """One event; the first letter of an identifier is its namespace."""
    known = sorted(ids)
    links = [Link(a, b, day) for n, a in enumerate(known) for b in known[n + 1 :]]
    return resolver.add([Sighting(i, i[0], day) for i in ids], links)


def test_a_pair_is_new_where_an_end_is_and_the_state_is_not_asked() -> None:
    state = CountingState()
    resolver = Resolver(state, RULES, 0)
    meet(resolver, "u1", "a1")
    state.asked.clear()
    meet(resolver, "u1", "a2")
    assert [key for key in state.asked if key.startswith("l:")] == []
    meet(resolver, "u1", "a2")
    assert [key for key in state.asked if key.startswith("l:")] == ["l:a2:u1"]


def test_an_event_on_a_supernode_costs_the_same_however_many_came_before() -> None:
    state = CountingState()
    resolver = Resolver(state, RULES, 0)
    for n in range(3):
        meet(resolver, "p-shop", f"u{n}")
    costs = []
    for n in range(2000):
        before = state.calls
        meet(resolver, "p-shop", f"a{n}")
        costs.append(state.calls - before)
    assert max(costs[-100:]) <= max(costs[:100])


def test_a_person_with_thousands_of_cookies_has_no_growing_value_but_the_members() -> None:
    state = CountingState()
    resolver = Resolver(state, RULES, 0)
    costs = []
    for n in range(2000):
        before = state.calls
        meet(resolver, "p1", f"a{n}")
        costs.append(state.calls - before)
    assert max(costs[-100:]) <= max(costs[:100])
    assert state.longest <= 64
    assert len(resolver.members("p1") or resolver.members("a0")) == 2001


@pytest.mark.parametrize("cookie", "az")
def test_a_person_whose_link_is_refused_costs_no_more_for_a_cookie(cookie: str) -> None:
    """Counts and never-links stay what they were, so no reason can change; by id, either is first."""
    state = CountingState()
    resolver = Resolver(state, RULES, 0)
    meet(resolver, "p1", "u1")
    meet(resolver, "p1", "u2")
    assert resolver.refusal("p1", "u2")
    costs = []
    for n in range(300):
        before = state.calls
        meet(resolver, "p1", f"{cookie}{n}")
        costs.append(state.calls - before)
    assert max(costs[-50:]) <= max(costs[:50])


@pytest.mark.parametrize("cookie", ["a1", "z1"])
def test_a_cookie_costs_the_same_however_many_never_links_a_person_has(cookie: str) -> None:
    costs = []
    for nevers in (0, 50):
        state = CountingState()
        resolver = Resolver(state, RULES, 0)
        meet(resolver, "p1", "u1")
        for n in range(nevers):
            meet(resolver, f"x{n}")
            resolver.add(overrides=[Override("u1", f"x{n}", "never", 1, "o")])
        before = state.calls
        meet(resolver, "p1", cookie)
        costs.append(state.calls - before)
    assert costs[0] == costs[1]


def test_a_repeated_event_is_read_and_nothing_else() -> None:
    state = CountingState()
    resolver = Resolver(state, RULES, 0)
    meet(resolver, "u1", "p1", "a1")
    before = dict(state.values), state.calls
    assert meet(resolver, "u1", "p1", "a1") == Changes()
    assert state.values == before[0]
    assert state.calls - before[1] <= 6


def test_a_merge_tells_rows_a_tombstone_and_moves() -> None:
    resolver = Resolver(MemoryState(), RULES, 0)
    assert meet(resolver, "a1", "p1") == Changes(
        identifiers={"a1": IdentityRow("p1", "member")},
        clusters={"a1": (), "p1": ("a1", "p1")},
        moves=[Move("a1", "a1", "p1", "link", "a1 p1")],
    )
    changes = meet(resolver, "p1", "u1")
    assert changes.clusters == {"p1": (), "u1": ("a1", "p1", "u1")}
    assert changes.identifiers == {i: IdentityRow("u1", "member") for i in ("a1", "p1")}
    assert sorted(changes.moves) == [Move(i, "p1", "u1", "link", "p1 u1") for i in ("a1", "p1")]


def test_an_identifier_that_becomes_shared_tells_what_it_touched() -> None:
    resolver = Resolver(MemoryState(), RULES, 0)
    meet(resolver, "p1", "u1", "a1")
    meet(resolver, "p1", "u2")
    changes = meet(resolver, "p1", "u3")
    assert changes.excluded == {"p1": "shared"}
    assert changes.identifiers["p1"] == IdentityRow("p1", "shared")
    assert changes.touched == {"u1", "u2", "u3", "a1"}
    assert changes.refused == {("p1", "u2"): None}
    assert {move.cause for move in changes.moves} == {"sharing"}


def test_a_blocked_identifier_is_told_as_soon_as_it_appears() -> None:
    resolver = Resolver(MemoryState(), IdentityRules((), frozenset(), frozenset({"p1"})), 0)
    changes = meet(resolver, "p1", "a1")
    assert changes.excluded == {"p1": "blocked"}
    assert changes.identifiers == {"p1": IdentityRow("p1", "blocked")}


def test_an_expired_link_lets_go_and_comes_back_with_its_old_first_day() -> None:
    resolver = Resolver(MemoryState(), RULES, 0, check=True)
    meet(resolver, "a1", "u1")
    meet(resolver, "a1", "u1", day=-3)
    assert resolver.advance(29) == Changes()
    changes = resolver.advance(30)
    assert changes.clusters == {"u1": ()}
    assert [(move.identifier, move.cause, move.evidence) for move in changes.moves] == [
        ("a1", "expiry", "a1 u1")
    ]
    assert meet(resolver, "a1", "u1", day=25).clusters == {"a1": (), "u1": ("a1", "u1")}
    assert resolver.advance(54) == Changes()
    assert resolver.advance(55).clusters == {"u1": ()}


def test_a_refused_force_link_stays_refused_when_its_link_expires() -> None:
    resolver = Resolver(MemoryState(), RULES, 0, check=True)
    meet(resolver, "a1", "u1")
    meet(resolver, "a2")
    resolver.add(overrides=[Override("a1", "a2", "never", 1, "1"), Override("a1", "u1", "force", 2, "2")])
    resolver.add(overrides=[Override("a2", "u1", "force", 3, "3")])
    resolver.advance(30)
    assert resolver.refusal("a1", "u1") == Refusal("never_link", "a1 a2")


def test_a_date_before_the_one_in_force_changes_nothing() -> None:
    resolver = Resolver(MemoryState(), RULES, 10)
    assert resolver.advance(5) == Changes()
    assert resolver.date == 10


def test_a_state_in_use_keeps_its_date() -> None:
    state = MemoryState()
    Resolver(state, RULES, 10).advance(12)
    assert Resolver(state, RULES, 3).date == 12


def test_a_link_without_sightings_is_refused_and_nothing_is_written() -> None:
    state = MemoryState()
    resolver = Resolver(state, RULES, 0)
    before = dict(state.values)
    with pytest.raises(ValueError, match="never sighted"):
        resolver.add([Sighting("a1", "a", 0)], [Link("a1", "u1", 0)])
    assert state.values == before


def test_an_override_may_come_before_its_identifiers() -> None:
    resolver = Resolver(MemoryState(), RULES, 0, check=True)
    resolver.add(overrides=[Override("u1", "u2", "force", 1, "o")])
    meet(resolver, "u1")
    changes = meet(resolver, "u2")
    assert changes.clusters == {"u1": ("u1", "u2"), "u2": ()}
    assert changes.moves == [Move("u2", "u2", "u1", "override", "u1 u2")]


def test_what_waits_is_gone_from_the_state_once_its_day_has_come() -> None:
    state = MemoryState()
    resolver = Resolver(state, RULES, 0)
    for _ in range(3):
        meet(resolver, "a1", "u1", day=2)
    resolver.advance(2)
    assert not any(key.startswith("later") for key in state.values)
    resolver.advance(40)
    assert not any(key.startswith("due") for key in state.values)


def test_what_waits_is_kept_once_however_often_it_comes() -> None:
    state = MemoryState()
    resolver = Resolver(state, RULES, 0)
    for _ in range(3):
        meet(resolver, "a1", "u1", day=2)
    assert state.values["later:2"] == 1
    assert len(state.values["later:2:0"]) == 3


def test_an_override_waits_once_for_its_end_however_often_it_is_said() -> None:
    state = MemoryState()
    resolver = Resolver(state, RULES, 5)
    for _ in range(3):
        resolver.add(
            overrides=[Override("u1", "u2", "never", 1, "o", 9), Override("u1", "u3", "never", 1, "o", 5)]
        )
    assert {key for key in state.values if key.startswith("due")} == {"due:9", "due:9:0"}


def test_a_shared_identifier_keeps_no_neighbours_whatever_is_said_of_it_later() -> None:
    state = MemoryState()
    resolver = Resolver(state, RULES, 0, check=True)
    for n in range(200):
        meet(resolver, "p1", f"a{n}")
    for n in range(3):
        meet(resolver, "p1", f"u{n}")
    resolver.add(overrides=[Override("p1", "u1", "force", 1, "o")])
    assert not [key for key in state.values if key.startswith("n:p1:")]
    assert not [key for key in state.values if key.startswith("l:") and ":p1" in key and "u" not in key]


TWO_LIMITS = IdentityRules((NamespaceRule("u", 1), NamespaceRule("p", 1), NamespaceRule("a")))


def test_a_move_tells_its_own_link_whatever_else_is_settled_with_it() -> None:
    """In both worlds an earlier link takes `a` from one account to another, which is then named by `a`."""
    resolver = Resolver(MemoryState(), TWO_LIMITS, 9, check=True)
    for n in "xy":
        meet(resolver, f"a{n}", f"u{n}1", day=5)
        meet(resolver, f"u{n}2", day=7)
    seen = [Sighting(f"{i}{n}{end}", i, day) for n in "xy" for i, end, day in (("a", "", 0), ("u", "2", 1))]
    changes = resolver.add(seen, [Link(f"a{n}", f"u{n}2", 1) for n in "xy"])
    assert {move.identifier for move in changes.moves} == {"ax", "ay", "ux2", "uy2"}
    assert all(move.evidence == f"a{move.identifier[1]} u{move.identifier[1]}2" for move in changes.moves)


@pytest.mark.parametrize("first_seen", [0, 9])
def test_the_reason_of_a_refusal_follows_the_two_clusters_as_they_grow(first_seen: int) -> None:
    resolver = Resolver(MemoryState(), TWO_LIMITS, 9, check=True)
    assert meet(resolver, "p1", "p2", day=5).refused == {("p1", "p2"): Refusal("limit", "p: 1")}
    meet(resolver, "p2", "u2", day=9)
    meet(resolver, "a1", day=first_seen)
    meet(resolver, "a1", "p1", day=9)
    changes = meet(resolver, "p1", "u1", day=9)
    assert changes.refused == {("p1", "p2"): Refusal("limit", "u: 1")}


def test_of_several_never_links_the_smallest_pair_is_named() -> None:
    resolver = Resolver(MemoryState(), TWO_LIMITS, 0, check=True)
    meet(resolver, "a1", "u1")
    resolver.add(overrides=[Override(i, "a2", "never", 1, i) for i in ("a1", "u1")])
    assert meet(resolver, "a2", "u1").refused == {("a2", "u1"): Refusal("never_link", "a1 a2")}


def test_a_force_link_said_again_comes_before_those_said_meanwhile() -> None:
    resolver = Resolver(MemoryState(), TWO_LIMITS, 0, check=True)
    meet(resolver, "a1", "a2", "a3")
    resolver.add(overrides=[Override("a1", "a2", "never", 1, "1"), Override("a1", "a3", "force", 2, "2")])
    resolver.add(overrides=[Override("a2", "a3", "force", 3, "3")])
    assert resolver.members("a2") == ("a2", "a3")
    resolver.add(overrides=[Override("a1", "a3", "force", 4, "4")])
    assert resolver.members("a1") == ("a1", "a3")


def test_a_checked_resolver_notices_a_refusal_that_is_missing() -> None:
    state = MemoryState()
    resolver = Resolver(state, TWO_LIMITS, 0, check=True)
    meet(resolver, "p1", "p2")
    state.put("l:p1:p2", (0, 0))
    with pytest.raises(AssertionError, match="p1"):
        resolver.add()
