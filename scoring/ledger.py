"""The ledger of one profile: its behaviour score on any date, rule by rule and hit by hit.

Invariant: lines add up to the score that `scoring.behaviour` gives for the same hits, to the thousandth.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from scoring.behaviour import NEVER, inactivity
from scoring.caps import counted
from scoring.decay import SCALE, decayed_total, table_of
from scoring.ruleset import INACTIVITY, BehaviourRule, ScoringRules


@dataclass(frozen=True, slots=True)
class Hit:
    """An event that a rule matched; `amount` is raw, in thousandths."""

    rule: str
    event_id: str
    day: int
    amount: int


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
    """Lines in the order of the rules, those without hits left out; silence last."""

    date: int
    lines: tuple[Line, ...]

    @property
    def score(self) -> int:
        """Behaviour score in thousandths."""
        return sum(line.points for line in self.lines)


def explain(hits: Collection[Hit], active_days: Collection[int], rules: ScoringRules, date: int) -> Ledger:
    """The ledger of a profile on `date` (days since 1970), from its distinct hits and the days of its events.

    What lies after the date is left out, so one read answers for any date.
    """
    lines = []
    until = sorted((hit for hit in hits if hit.day <= date), key=lambda hit: (hit.day, hit.event_id))
    for rule in rules.behaviour:
        own = [hit for hit in until if hit.rule == rule.name]
        if own:
            lines.append(_line(rule, own, date))
    last = max((day for day in active_days if day <= date), default=NEVER)
    if rules.inactivity:
        points, _ = inactivity(np.array([last], np.int64), rules.inactivity, date)
        if points[0]:
            lines.append(Line(INACTIVITY, int(points[0])))
    return Ledger(date, tuple(lines))


def _line(rule: BehaviourRule, hits: Sequence[Hit], date: int) -> Line:
    days, amounts = (np.array([getattr(h, name) for h in hits], np.int64) for name in ("day", "amount"))
    left = counted(np.zeros(len(hits), np.int32), days, amounts, rule.caps).tolist()
    parts = tuple(Part(h, n, _weight(rule, date - h.day)) for h, n in zip(hits, left, strict=True))
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
