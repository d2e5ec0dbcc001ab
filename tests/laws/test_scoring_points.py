"""Laws of behaviour points, against a simulation that walks day by day in exact fractions.

The simulation shares no code with `scoring`: it keeps counters by period, hands each event what is left, and
weighs with fractions made by square roots.
"""

from dataclasses import dataclass, field
from datetime import date as Date
from fractions import Fraction
from itertools import pairwise
from math import isqrt
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.behaviour import BehaviourResult, behaviour
from scoring.bounds import Bounds
from scoring.caps import PERIODS, Cap
from scoring.events import NEVER, Hits
from scoring.ledger import Hit, explain
from scoring.ruleset import BehaviourRule, Decay, Inactivity, ScoringRules

FIRST = (Date(2026, 2, 20) - Date(1970, 1, 1)).days
SPAN = 60
"""Days on which events fall, from FIRST."""


@dataclass
class Event:
    rule: str
    event_id: str
    day: int


def caps_strategy() -> st.SearchStrategy[tuple[Cap, ...]]:
    cap = st.builds(Cap, st.just("points"), st.integers(1, 60_000), st.sampled_from(PERIODS)) | st.builds(
        Cap, st.just("count"), st.integers(1, 6), st.sampled_from(PERIODS)
    )
    return st.lists(cap, max_size=4, unique_by=lambda c: (c.per, c.unit)).map(in_order)


def rule_strategy(name: str) -> st.SearchStrategy[BehaviourRule]:
    decay = (
        st.just(Decay("none"))
        | st.builds(Decay, st.just("window"), st.integers(1, 40))
        | st.builds(Decay, st.just("half_life"), st.sampled_from([1, 2, 4, 8]))
    )
    points = st.integers(-20_000, 20_000).filter(bool)
    return st.builds(BehaviourRule, st.just(name), st.just("E"), st.just(""), points, caps_strategy(), decay)


def in_order(caps: list[Cap]) -> tuple[Cap, ...]:
    return tuple(sorted(caps, key=lambda c: (PERIODS.index(c.per), c.unit)))


RULES = st.tuples(rule_strategy("b"), rule_strategy("a"), rule_strategy("c"))
EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(FIRST, FIRST + SPAN) | st.integers(FIRST, FIRST + 6)),
    max_size=40,
).map(lambda told: [Event(rule, f"{(i * 37) % 101:032x}", day) for i, (rule, day) in enumerate(told)])
SILENCE = st.none() | st.builds(
    lambda after, points, every, extra: Inactivity(after, points, every, points - extra if every else points),
    st.integers(1, 30),
    st.integers(-5000, -1),
    st.integers(0, 20),
    st.integers(0, 30_000),
)
BOUNDS = st.builds(
    lambda floor, extra: Bounds(floor, None if extra is None else (floor or 0) + extra),
    st.none() | st.integers(-30_000, 10_000),
    st.none() | st.integers(0, 40_000),
)
RULESETS = st.builds(
    lambda rules, silence, cap, bounds: ScoringRules(rules, silence, cap=cap, bounds=bounds),
    RULES,
    SILENCE,
    st.just(()) | caps_strategy(),
    BOUNDS,
)


@dataclass
class Counters:
    """What is used up of each cap in the running day, week and lifetime."""

    caps: tuple[Cap, ...]
    used: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def give(self, day: int, left: int) -> int:
        """What the caps leave of one more event's points."""
        keys = {"day": day, "week": day - (day - 4) % 7, "lifetime": 0}
        for cap in self.caps:
            key = (cap.unit, cap.per, keys[cap.per])
            spent = self.used.get(key, 0)
            self.used[key] = spent + (left if cap.unit == "points" else bool(left))
            if cap.unit == "points":
                left = min(left, max(cap.most - spent, 0))
            elif spent >= cap.most:
                left = 0
        return left


@dataclass
class Simulation:
    """One rule, day by day."""

    rule: BehaviourRule
    earned: dict[int, int] = field(default_factory=dict)

    def worth(self, today: int) -> int:
        decay, total = self.rule.decay, Fraction(0)
        for day, amount in self.earned.items():
            age = today - day
            if decay.kind == "none" or (decay.kind == "window" and age < decay.days):
                total += amount
            elif decay.kind == "half_life":
                total += amount * power_of_half(age, decay.days)
        return int(total)  # towards zero


def power_of_half(age: int, half_life: int) -> Fraction:
    """2^(-age / half_life) to the nearest multiple of 2^-30, by square roots of big integers.

    `half_life` is a power of two, so that the half_life-th root is a series of square roots.
    """
    one = 1 << 200
    step, roots = one >> 1, half_life
    while roots > 1:
        step, roots = isqrt(step * one), roots // 2
    value = one
    for _ in range(age % half_life):
        value = value * step // one
    return Fraction(round(Fraction(value, one) * Fraction(2**30, 2 ** (age // half_life))), 2**30)


def simulate(rules: ScoringRules, events: list[Event], until: int) -> list[tuple[int, dict[str, int]]]:
    """Points by rule on each day from FIRST to `until`."""
    running = {rule.name: Simulation(rule) for rule in rules.behaviour}
    own = {rule.name: Counters(rule.caps) for rule in rules.behaviour}
    together = Counters(rules.cap)
    last_active: int | None = None
    days = []
    for today in range(FIRST, until + 1):
        todays = [event for event in events if event.day == today]
        for event in sorted(todays, key=lambda event: event.event_id):
            earned, worth = running[event.rule].earned, running[event.rule].rule.points
            left = own[event.rule].give(today, abs(worth))
            left = together.give(today, left) if worth > 0 else -left
            earned[today] = earned.get(today, 0) + left
        if todays:
            last_active = today
        points = {name: simulation.worth(today) for name, simulation in running.items()}
        if rules.inactivity and last_active is not None:
            points["inactivity"] = silence(rules.inactivity, today - last_active)
        total = sum(points.values())
        if rules.bounds.floor is not None and total < rules.bounds.floor:
            points["floor"] = rules.bounds.floor - total
        if rules.bounds.ceiling is not None and total > rules.bounds.ceiling:
            points["ceiling"] = rules.bounds.ceiling - total
        days.append((today, points))
    return days


def silence(rules: Inactivity, idle: int) -> int:
    points = 0
    for day in range(idle + 1):
        if day == rules.after or (
            rules.every and day > rules.after and (day - rules.after) % rules.every == 0
        ):
            points += rules.points
    return max(points, rules.floor)


def rows(
    events: list[Event], rules: ScoringRules, profile: int = 0
) -> list[tuple[int, str, str, int, int, str]]:
    points = {rule.name: rule.points for rule in rules.behaviour}
    return [(profile, e.rule, e.event_id, e.day, points[e.rule], "") for e in events]


def computed(events: list[Event], rules: ScoringRules, today: int) -> BehaviourResult:
    seen = [e for e in events if e.day <= today]
    last = max((e.day for e in seen), default=NEVER)
    return behaviour(Hits.of(rows(seen, rules), rules), np.array([last]), rules, today)


@given(RULESETS, EVENTS)
@settings(max_examples=60, deadline=None)
def test_points_of_each_day_are_those_of_the_simulation(scoring: ScoringRules, events: list[Event]) -> None:
    beside = {rule.name for rule in scoring.behaviour if rule.decay.kind == "half_life"} | {
        "floor",
        "ceiling",
    }
    raw = {rule.name: rule.points for rule in scoring.behaviour}
    hits = [Hit(e.rule, e.event_id, e.day, raw[e.rule]) for e in events]
    for today, expected in simulate(scoring, events, FIRST + SPAN + 40)[::7]:
        result = computed(events, scoring, today)
        assert int(result.score[0]) == sum(expected.values())
        flat = {name: points for name, points in expected.items() if points and name not in beside}
        assert dict(result.points.to_pylist()[0]) == flat
        ledger = explain(hits, {e.day for e in events}, scoring, today)
        assert {line.rule: line.points for line in ledger.lines if line.points} == {
            name: points for name, points in expected.items() if points
        }
        assert ledger.score == sum(expected.values())


@given(RULES, SILENCE, EVENTS)
@settings(max_examples=40, deadline=None)
def test_next_change_is_the_first_day_on_which_time_alone_changes_a_term(
    rules: tuple[BehaviourRule, ...], silence_rules: Inactivity | None, events: list[Event]
) -> None:
    scoring = ScoringRules(rules, silence_rules)
    flat = [rule.name for rule in rules if rule.decay.kind != "half_life"] + ["inactivity"]
    today = FIRST + SPAN
    quiet = simulate(scoring, events, today + 300)[SPAN:]
    terms = [[points.get(name, 0) for name in flat] for _, points in quiet]
    changes = [day + today + 1 for day, (one, other) in enumerate(pairwise(terms)) if one != other]
    found = int(computed(events, scoring, today).next_change_on[0])
    assert found == (changes[0] if changes else NEVER) or (found < NEVER and found > today + 300)


@given(RULESETS, EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_does_not_matter(
    scoring: ScoringRules, events: list[Event], random: Random
) -> None:
    shuffled = sorted(events, key=lambda _: random.random())
    one, other = (computed(some, scoring, FIRST + SPAN) for some in (events, shuffled))
    assert one.points.equals(other.points)
    assert one.decaying.equals(other.decaying)
    assert one.score.tolist() == other.score.tolist()


@given(RULESETS, st.lists(EVENTS, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_profiles_of_a_cycle_do_not_touch_each_other(
    scoring: ScoringRules, people: list[list[Event]]
) -> None:
    today = FIRST + SPAN
    hits = Hits.of([row for i, events in enumerate(people) for row in rows(events, scoring, i)], scoring)
    last = np.array([max((e.day for e in events), default=NEVER) for events in people])
    together = behaviour(hits, last, scoring, today)
    for i, events in enumerate(people):
        alone = computed(events, scoring, today)
        assert together.points[i].as_py() == alone.points[0].as_py()
        assert together.decaying[i].as_py() == alone.decaying[0].as_py()
        assert together.score[i] == alone.score[0]
        assert together.next_change_on[i] == alone.next_change_on[0]


@given(RULESETS, EVENTS, EVENTS)
@settings(max_examples=40, deadline=None)
def test_a_merged_profile_has_the_points_of_the_union(
    scoring: ScoringRules, mine: list[Event], theirs: list[Event]
) -> None:
    """Nothing is carried over at a merge, so nothing is left behind when it is undone."""
    today = FIRST + SPAN
    others = [Event(e.rule, f"f{e.event_id[1:]}", e.day) for e in theirs]
    merged = computed([*mine, *others], scoring, today)
    _, expected = simulate(scoring, [*mine, *others], today)[-1]
    assert int(merged.score[0]) == sum(expected.values())
