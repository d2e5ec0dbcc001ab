"""Why, why not, how, and what hangs by one link."""

from identity.clusters import clusters
from identity.evidence import Link, Override, Sighting
from identity.explain import Obstacle, Step, bridges, how, why, why_not
from identity.rules import IdentityRules, NamespaceRule
from schemas.ids import ordered

RULES = IdentityRules(
    (NamespaceRule("u", 1), NamespaceRule("p", 3, {"u": 2}), NamespaceRule("a", None, {}, {}, "first", 30)),
    frozenset(),
    frozenset({"p0"}),
)
MEETINGS = [
    (0, "u1 p1"), (1, "a1 p1"), (2, "a1 a2"), (3, "a2 u1"), (4, "a2 a3"),
    (5, "u2 p1"), (5, "u2 a9"),
    (6, "u3 ps"), (6, "u4 ps"), (6, "u5 ps"),
    (7, "u6 p0"), (7, "u7 p0"), (8, "u8"), (8, "a3 u2"),
]  # fmt: skip
LINKS = [Link(*ordered(*text.split()), day) for day, text in MEETINGS if " " in text]
SIGHTINGS = [Sighting(i, i[0], day) for day, text in MEETINGS for i in text.split()]
DATE = 10
FOUND = clusters(LINKS, SIGHTINGS, [Override("u1", "p2", "force", 1, "o")], RULES, DATE)


def test_why_is_the_shortest_path_of_evidence() -> None:
    assert why("a3", "u1", FOUND, LINKS, DATE) == [
        Step("a3", "a2", 4, 4, False),
        Step("a2", "u1", 3, 3, False),
    ]
    assert why("u1", "u2", FOUND, LINKS, DATE) == why("u1", "u1", FOUND, LINKS, DATE) == []
    assert why("u1", "who", FOUND, LINKS, DATE) == []


def test_equal_evidence_gives_equal_answers_in_whatever_order() -> None:
    assert why("a3", "p1", FOUND, LINKS[::-1], DATE) == why("a3", "p1", FOUND, LINKS, DATE)
    assert how("u1", FOUND, LINKS[::-1], DATE) == how("u1", FOUND, LINKS, DATE)


def test_how_tells_the_links_in_the_order_of_time() -> None:
    days = [step.first_day for step in how("u1", FOUND, LINKS, DATE)]
    assert days == [0, 1, 2, 3, 4]


def test_bridges_are_links_without_which_the_profile_falls_apart() -> None:
    assert bridges("u1", FOUND, LINKS, DATE) == [Step("a2", "a3", 4, 4, False)]


def test_a_forced_pair_explains_and_carries() -> None:
    meetings = [(0, "u1"), (0, "u2")]
    sightings = [Sighting(i, "u", day) for day, i in meetings]
    found = clusters([], sightings, [Override("u1", "u2", "force", 1, "o")], RULES, DATE)
    forced = Step("u1", "u2", None, None, True)
    assert (
        why("u1", "u2", found, [], DATE)
        == how("u1", found, [], DATE)
        == bridges("u1", found, [], DATE)
        == [forced]
    )


def test_why_not_names_the_limit_on_the_path_with_the_fewest_obstacles() -> None:
    assert why_not("a1", "a9", FOUND, LINKS, DATE) == [Obstacle("limit", "u: 1", "p1", "u2")]
    assert why_not("a1", "u1", FOUND, LINKS, DATE) == []


def test_why_not_names_shared_and_blocked_identifiers_between_the_two() -> None:
    assert why_not("u3", "u4", FOUND, LINKS, DATE) == [Obstacle("shared", "ps", "u3", "u4")]
    assert why_not("u6", "u7", FOUND, LINKS, DATE) == [Obstacle("blocked", "p0", "u6", "u7")]
    assert why_not("u3", "ps", FOUND, LINKS, DATE) == [Obstacle("shared", "ps", "u3", "ps")]


def test_why_not_says_when_there_is_no_evidence_at_all() -> None:
    assert why_not("u1", "u8", FOUND, LINKS, DATE) == [Obstacle("no_evidence", "", "u1", "u8")]
    assert why_not("u1", "who", FOUND, LINKS, DATE) == [Obstacle("unknown", "who", "u1", "who")]
    assert why_not("ps", "u8", FOUND, LINKS, DATE) == [Obstacle("shared", "ps", "ps", "u8")]


def test_why_not_names_the_steward_and_the_expired_link() -> None:
    never = clusters(LINKS, SIGHTINGS, [Override("a2", "a3", "never", 1, "o")], RULES, DATE)
    assert why_not("a2", "a3", never, LINKS, DATE) == [Obstacle("never_link", "a2 a3", "a2", "a3")]
    later = clusters(LINKS, SIGHTINGS, [], RULES, 34)
    assert why_not("a2", "a3", later, LINKS, 34) == [Obstacle("expired", "", "a2", "a3")]
