"""The ledger of one profile: its behaviour score on any date, rule by rule and hit by hit.

Invariant: lines add up to the score that `scoring.behaviour` gives for the same hits, to the thousandth.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from scoring.behaviour import inactivity
from scoring.caps import Cap, counted
from scoring.decay import SCALE, decayed_total, table_of
from scoring.events import NEVER
from scoring.ruleset import INACTIVITY, BehaviourRule, ScoringRules


@dataclass(frozen=True, slots=True)
class Hit:
    """An event that a rule matched; `amount` is raw, in thousandths."""

    rule: str
    event_id: str
    day: int
    amount: int
    distinct_key: str = ""
    """What a rule that counts once per value compares."""


@dataclass(frozen=True, slots=True, order=True)
class Uncounted:
    """Events of a day that a robots filter keeps from counting."""

    robot: str
    day: int
    event_count: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one hit gives: `counted` after caps, `weight` of its age (scale 2^30)."""

    hit: Hit
    counted: int
    weight: int


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one rule in thousandths, and the hits they come from, by (day, event_id)."""

    rule: str
    points: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Lines in the order of the rules, those without hits left out; then silence, and what a bound adds or takes."""

    date: int
    lines: tuple[Line, ...]
    uncounted: tuple[Uncounted, ...] = ()
    """What robots filters keep from counting, by (filter, day)."""

    @property
    def score(self) -> int:
        """Behaviour score in thousandths."""
        return sum(line.points for line in self.lines)


def explain(
    hits: Collection[Hit],
    active_days: Collection[int],
    rules: ScoringRules,
    date: int,
    uncounted: Collection[Uncounted] = (),
) -> Ledger:
    """The ledger of a profile on `date` (days since 1970), from its distinct hits and the days of its events.

    Both are of events that count; `uncounted` tells of the others. What lies after the date is left out, so one read
    answers for any date.
    """
    until = sorted((hit for hit in hits if hit.day <= date), key=lambda hit: (hit.day, hit.event_id))
    left = _counted(until, rules)
    lines = []
    for rule in rules.behaviour:
        own = [(hit, n) for hit, n in zip(until, left, strict=True) if hit.rule == rule.name]
        if own:
            lines.append(_line(rule, own, date))
    last = max((day for day in active_days if day <= date), default=NEVER)
    if rules.inactivity:
        points, _ = inactivity(np.array([last], np.int64), rules.inactivity, date)
        if points[0]:
            lines.append(Line(INACTIVITY, int(points[0])))
    bound = rules.bounds.line(sum(line.points for line in lines))
    lines += [Line(name, points) for name, points in bound.items()]
    return Ledger(date, tuple(lines), tuple(sorted(each for each in uncounted if each.day <= date)))


def _counted(hits: Sequence[Hit], rules: ScoringRules) -> list[int]:
    """What caps leave of each hit; hits by (day, event_id)."""
    place = {rule.name: n for n, rule in enumerate(rules.behaviour)}
    rule_of = [place.get(hit.rule, -1) for hit in hits]
    left = [hit.amount for hit in hits]

    def cap(rows: list[int], caps: Sequence[Cap]) -> None:
        day, amount = (
            np.array(part, np.int64) for part in ([hits[n].day for n in rows], [left[n] for n in rows])
        )
        for n, points in zip(
            rows, counted(np.zeros(len(rows), np.int32), day, amount, caps).tolist(), strict=True
        ):
            left[n] = points

    for of_rule, rule in enumerate(rules.behaviour):
        own = [n for n, which in enumerate(rule_of) if which == of_rule]
        seen: set[str] = set()
        for n in own if rule.once_per else ():
            left[n] = 0 if hits[n].distinct_key in seen else left[n]
            seen.add(hits[n].distinct_key)
        cap(own, rule.caps)
    for members, caps in rules.shared_caps():
        rows = [n for n, which in enumerate(rule_of) if which in members]
        rows.sort(key=lambda n: (hits[n].day, hits[n].event_id, rule_of[n]))
        cap(rows, caps)
    return left


def _line(rule: BehaviourRule, hits: Sequence[tuple[Hit, int]], date: int) -> Line:
    parts = tuple(Part(hit, left, _weight(rule, date - hit.day)) for hit, left in hits)
    table = table_of(rule.decay)
    if table:
        return Line(rule.name, decayed_total([(p.counted, date - p.hit.day) for p in parts], table), parts)
    return Line(rule.name, sum(part.counted for part in parts if part.weight), parts)


def _weight(rule: BehaviourRule, age: int) -> int:
    """Weight of an age under a rule, scale 2^30."""
    table = table_of(rule.decay)
    if table:
        return table[age] if age < len(table) else 0
    return 0 if rule.decay.kind == "window" and age >= rule.decay.days else SCALE
