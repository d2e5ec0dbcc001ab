"""scoring.yaml: what it may say, where a refusal points, and its canonical JSON."""

import re

import pytest

from schemas.errors import Problem
from scoring.bounds import Bounds
from scoring.caps import Cap
from scoring.grades import Grade
from scoring.robots import Burst, EventRobot, ProfileRobot, Robots
from scoring.ruleset import (
    BehaviourRule,
    Decay,
    IdentityRule,
    Inactivity,
    ScoringRules,
    parse_scoring,
)

FULL = """
behaviour:
  rules:
    - name: price_page
      event: Page Viewed
      where: "properties['url'] LIKE '%/pricing%'"
      points: 8
      cap: [{points: 100, per: lifetime}, {points: 24.5, per: day}, {count: 3, per: day}]
      decay: {half_life: 14d}
    - {name: unfollow, event: WeChat Unfollowed, points: -0.125, decay: {window: 30d}}
    - {name: scan, event: QR Scanned, points: 1, decay: none, cap: {count: 2, per: week}}
  inactivity: {after: 30d, points: -5, every: 10d, floor: -20}
  cap: {points: 50, per: day}
  robots:
    - {name: burst, more_than: 200, per: day}
    - {name: staff, when: "traits['team'] = 'sales'"}
    - {name: crawler, where: "context['userAgent'] ILIKE '%bot%'"}
  floor: 0
  ceiling: 100
identity:
  rules:
    - {name: reachable, when: "has(identifiers, 'phone')", points: 20}
  ceiling: 99.5
  grades: {A+: 80, B: 0.5}
"""


def test_everything_it_says_is_kept() -> None:
    caps = (Cap("count", 3, "day"), Cap("points", 24500, "day"), Cap("points", 100_000, "lifetime"))
    where = "properties['url'] LIKE '%/pricing%'"
    assert parse_scoring(FULL) == ScoringRules(
        (
            BehaviourRule("price_page", "Page Viewed", where, 8000, caps, Decay("half_life", 14)),
            BehaviourRule("unfollow", "WeChat Unfollowed", "", -125, (), Decay("window", 30)),
            BehaviourRule("scan", "QR Scanned", "", 1000, (Cap("count", 2, "week"),), Decay("none")),
        ),
        Inactivity(30, -5000, 10, -20_000),
        (IdentityRule("reachable", "has(identifiers, 'phone')", 20_000),),
        cap=(Cap("points", 50_000, "day"),),
        bounds=Bounds(0, 100_000),
        identity_bounds=Bounds(ceiling=99_500),
        grades=(Grade("A+", 80_000), Grade("B", 500)),
        robots=Robots(
            (EventRobot("crawler", "context['userAgent'] ILIKE '%bot%'"),),
            Burst("burst", 200),
            (ProfileRobot("staff", "traits['team'] = 'sales'"),),
        ),
    )


def test_json_brings_the_rules_back() -> None:
    rules = parse_scoring(FULL)
    assert ScoringRules.from_json(rules.to_json()) == rules
    assert ScoringRules.from_json(ScoringRules().to_json()) == ScoringRules()


def test_files_that_say_the_same_have_the_same_json() -> None:
    one = "behaviour: {rules: [{name: a, event: 名, points: 1.50}]}"
    other = "# a comment\nbehaviour:\n  rules:\n  - {points: 1.5, decay: none, event: '名', name: a}\n"
    assert parse_scoring(one).to_json() == parse_scoring(other).to_json()
    assert parse_scoring(one).to_json().isascii()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"behaviour": [{}], "inactivity": null, "identity": []}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        ScoringRules.from_json(text)
    assert caught.value.code == "bad_rules"


RULE = "behaviour:\n  rules:\n    - {name: a, event: E, points: 1, X}\n"
REFUSED = [
    ("", "1:1", "empty"),
    ("behaviour: [", "1:13", "not YAML"),
    ("a: *b", "1:4", "an alias"),
    ("behavior: {}", "1:1", "did you mean behaviour?"),
    ("- a", "1:1", "a mapping is needed"),
    ("behaviour: {rules: {}}", "1:20", "a list is needed"),
    ("behaviour: {rules: [a]}", "1:21", "a mapping is needed"),
    ("behaviour: {rules: [{name: a, event: E}]}", "1:21", "points is missing"),
    (RULE.replace("X", "point: 1"), "3:38", "did you mean points?"),
    (RULE.replace("X", "points: 2"), "3:38", "stands twice"),
    (RULE.replace("points: 1, X", "points: 0"), "3:35", "not 0"),
    (RULE.replace("points: 1, X", "points: 1.0001"), "3:35", "three decimals"),
    (RULE.replace("points: 1, X", "points: 1e3"), "3:35", "three decimals"),
    (RULE.replace("points: 1, X", "points: .inf"), "3:35", "three decimals"),
    (RULE.replace("points: 1, X", "points: 100001"), "3:35", "beyond 100000"),
    (RULE.replace("points: 1, X", "points: 99999999999999"), "3:35", "beyond 100000"),
    (RULE.replace("name: a", "name: A b").replace(", X", ""), "3:14", "not a name"),
    (RULE.replace("name: a", "name: '*'").replace(", X", ""), "3:14", "not a name"),
    (RULE.replace("name: a", "name: inactivity").replace(", X", ""), "3:14", "silence"),
    (RULE.replace("X", "where: 'evnt = 1'"), "3:45", "did you mean event?"),
    (RULE.replace("X", "where: ''"), "3:45", "a text is needed"),
    (RULE.replace("X", "cap: {points: 1, per: month}"), "3:60", "not one of day, week, lifetime"),
    (RULE.replace("X", "cap: {points: -1, per: day}"), "3:52", "above 0"),
    (RULE.replace("X", "cap: {count: 1.5, per: day}"), "3:51", "whole number"),
    (RULE.replace("X", "cap: {points: 1, count: 1, per: day}"), "3:43", "either"),
    (RULE.replace("X", "cap: {points: 1}"), "3:43", "per is missing"),
    (RULE.replace("X", "cap: [{points: 1, per: day}, {points: 2, per: day}]"), "3:67", "another cap"),
    (RULE.replace("X", "decay: never"), "3:45", "not one of none"),
    (RULE.replace("X", "decay: {window: 90}"), "3:54", "number of days"),
    (RULE.replace("X", "decay: {window: 0d}"), "3:54", "number of days"),
    (RULE.replace("X", "decay: {half_life: 900d}"), "3:57", "1d to 730d"),
    (RULE.replace("X", "decay: {halflife: 9d}"), "3:46", "did you mean half_life?"),
    (RULE.replace("X", "decay: {half_life: 9d, window: 9d}"), "3:45", "decay is none"),
    (RULE.replace("X", "decay: {linear: 5000d}"), "3:54", "1d to 3650d"),
    (RULE.replace("X", "times: \"number(properties['n'])\""), "3:7", "stand together"),
    (RULE.replace("X", "times: \"properties['n']\", between: [1, 2]"), "3:45", "a number is needed"),
    (RULE.replace("X", "times: \"number(properties['n'])\", between: [3, 2]"), "3:81", "least, most"),
    (RULE.replace("X", "once_per: \"properties['n'] = 'a'\""), "3:48", "a text is needed"),
    (RULE.replace("X", "group: reading"), "2:3", "not declared"),
    ("stages: [{name: mqk, when: 'event_count > 1'}]", "1:17", "did you mean mql?"),
    ("stages: [{name: raw, when: 'event_count > 1'}]", "1:17", "not one of mql"),
    ("stages: [{name: mql, when: \"stage = 'raw'\"}]", "1:28", "worked out later"),
    ("stages: [{name: mql, when: 'behaviour_score > event_count'}]", "1:28", "constants only"),
    ("stages: {order: [a, b], back: [b]}", "1:9", "each stage once"),
    (
        "stages: [{name: mql, when: 'event_count > 1', applies_to: {first_seen_from: soon}}]",
        "1:77",
        "not a date",
    ),
    ("stages: [{name: mql, when: 'event_count > 1', applies_to: new}]", "1:59", "not one of all"),
    ("tags: [{name: a/b/c/d/e, when: 'event_count > 1'}]", "1:15", "at most 4 names"),
    ("tags: [{name: manual/vip, when: 'event_count > 1'}]", "1:15", "set by people"),
    ("tags: [{name: vip, when: \"has(segments, 'a')\"}]", "1:26", "worked out later"),
    (
        "tags: [{name: a, when: 'event_count > 1'}, {name: a, when: 'event_count > 2'}]",
        "1:44",
        "join conditions",
    ),
    ("behaviour: {inactivity: {after: 30d, points: 5}}", "1:46", "negative"),
    (RULE.replace("name: a", "name: floor").replace(", X", ""), "3:14", "of a bound"),
    (RULE.replace("name: a", "name: ceiling").replace(", X", ""), "3:14", "of a bound"),
    ("behaviour: {floor: low}", "1:20", "not a number"),
    ("behaviour: {flor: 0}", "1:13", "did you mean floor?"),
    ("behaviour: {floor: 0, ceiling: -1}", "1:32", "not below the floor"),
    ("identity: {floor: 5, ceiling: 4.5}", "1:31", "not below the floor"),
    ("identity: {ceiling: 2000000}", "1:21", "beyond 1000000"),
    ("behaviour: {cap: {points: 5}}", "1:18", "per is missing"),
    ("identity: {grades: {A: 60, B: 60}}", "1:31", "from the best down: B is below A"),
    ("identity: {grades: {A: high}}", "1:24", "not a number"),
    ("identity: {grades: {A b: 1}}", "1:26", "not a grade"),
    ("identity: {grades: {}}", "1:20", "1 to 26"),
    ("identity: {grades: [A, B]}", "1:20", "a mapping is needed"),
    ("identity: {grades: {A: 2, A: 1}}", "1:27", "stands twice"),
    ("identity: {rules: [{name: a, when: \"identity_grade = 'A'\", points: 1}]}", "1:36", "worked out later"),
    ("behaviour: {robots: [{name: a}]}", "1:22", "a where, a when, or more_than"),
    ("behaviour: {robots: [{where: event = 'E'}]}", "1:22", "name is missing"),
    ("behaviour: {robots: [{name: a, more_than: 5}]}", "1:22", "more_than and per"),
    ("behaviour: {robots: [{name: a, more_than: 5, per: week}]}", "1:51", "not one of day"),
    ("behaviour: {robots: [{name: a, more_than: 0, per: day}]}", "1:43", "whole number from 1"),
    (
        "behaviour: {robots: [{name: a, where: event = 'E', when: event_count > 1}]}",
        "1:22",
        "a where, a when",
    ),
    ("behaviour: {robots: [{name: a, where: evnt = 'E'}]}", "1:39", "did you mean event?"),
    ("behaviour: {robots: [{name: a, when: behaviour_score > 9}]}", "1:38", "worked out later"),
    (
        "behaviour: {robots: [{name: a, when: event_count > 1}, {name: a, where: event = 'E'}]}",
        "1:56",
        "another filter a",
    ),
    (
        "behaviour: {robots: [{name: a, more_than: 5, per: day}, {name: b, more_than: 6, per: day}]}",
        "1:57",
        "another burst, a",
    ),
    ("behaviour: {cap: [{points: 5, per: day}, {points: 6, per: day}]}", "1:42", "another cap"),
    ("behaviour: {inactivity: {after: 30d, points: -5, every: 3d}}", "1:25", "stand together"),
    ("behaviour: {inactivity: {after: 3d, points: -5, every: 3d, floor: -1}}", "1:67", "not above"),
    ("identity: {rules: [{name: a, when: 'stage = 1', points: 1}]}", "1:36", "worked out later"),
    (
        "identity: {rules: [{name: a, when: 'true', points: 1}, {name: a, when: 'true', points: 1}]}",
        "1:56",
        "another",
    ),
    ("a" * 300_000, "1:1", "longer"),
    ("[" * 3000, "1:21", "deep nesting"),
    ("a: \x07", "1:1", "not YAML"),
]


@pytest.mark.parametrize(("text", "pointer", "detail"), REFUSED, ids=lambda value: repr(value[:30]))
def test_a_refusal_names_the_place(text: str, pointer: str, detail: str) -> None:
    with pytest.raises(Problem, match=re.escape(detail)) as caught:
        parse_scoring(text)
    assert caught.value.code == "bad_rules"
    assert caught.value.pointer == pointer


def test_too_many_or_too_long_rules_are_refused() -> None:
    rule = '- {{name: r{0}, event: E, points: 1, where: "{1}"}}'
    many = "\n".join(rule.format(i, "true") for i in range(201))
    long = "\n".join(rule.format(i, " OR ".join([f"event = '{'a' * 90}'"] * 30)) for i in range(60))
    wide = "\n".join(rule.format(i, f"event = '{'金' * 1500}'") for i in range(40))
    for rules in (many, long, wide):
        with pytest.raises(Problem, match="too long together"):
            parse_scoring(f"behaviour:\n  rules:\n  {rules.replace(chr(10), chr(10) + '  ')}\n")
