"""Scoring rules: what scoring.yaml says, as frozen values, and its canonical JSON.

Invariants: points are integers in thousandths; `from_json(to_json(r)) == r`; two files that say the same have
the same canonical JSON; a value that `parse_scoring` returned compiles and evaluates without an error.

A rule turns an event into a hit with an amount, caps limit what hits give by period, decay weighs what is
left by its age. These three are apart on purpose: caps and decay do not ask where an amount comes from.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

from schemas.errors import Problem
from scoring.bounds import CEILING, FLOOR, MAX_SCORE, UNBOUNDED, Bounds, parse_bounds
from scoring.caps import Cap, parse_caps
from scoring.conditions import Condition, event_condition, event_value, profile_condition
from scoring.grades import Grade, parse_grades
from scoring.profile_rules import (
    Segment,
    Stages,
    TagRule,
    check_limits,
    parse_stages,
    parse_tags,
    stages_from,
)
from scoring.robots import NO_ROBOTS, Robots, parse_robots
from scoring.rules_file import Place, read
from scoring.sql_text import quote

MAX_POINTS = 100_000_000
"""Most points of one hit, in thousandths."""
MAX_RULES = 200
MAX_SQL = 150_000
"""Bytes of all conditions as SQL; the store takes statements of 256 KiB."""
MAX_HALF_LIFE = 730
MAX_LINEAR = 3650
INACTIVITY = "inactivity"
"""Name under which points for silence stand among the points by rule."""


@dataclass(frozen=True, slots=True)
class Decay:
    """What the age of a day does to its points: nothing, all gone at `days`, halved every `days`, or falling by
    the same amount every day until `days`.
    """

    kind: Literal["none", "window", "half_life", "linear"]
    days: int = 0


@dataclass(frozen=True, slots=True)
class BehaviourRule:
    """Points for an event; `where` is empty when every event of the name counts."""

    name: str
    event: str
    where: str
    points: int
    caps: tuple[Cap, ...]
    """In the order in which they apply: day, week, lifetime; in a period count before points."""
    decay: Decay
    times: str = ""
    """Expression of a number that the points are multiplied by; an event without one does not match."""
    least: int = 0
    most: int = 0
    """Bounds of a hit's points with `times`, in thousandths, of magnitude."""
    once_per: str = ""
    """Expression of a text: of the events that share its value only the first counts."""
    group: str = ""
    """Group whose caps apply after the rule's own."""

    def condition_sql(self) -> str:
        """SQL over one row of `events`: 1 where the event matches, 0 elsewhere."""
        terms = [f"event = {quote(self.event)}"]
        if self.where:
            terms.append(event_condition(self.where).sql)
        if self.times:
            terms.append(f"isNotNull({event_value(self.times, 'number')})")
        return " AND ".join(terms)

    def amount_sql(self) -> str:
        """SQL over one row of `events` that matches: raw points in thousandths, Int64."""
        if not self.times:
            return f"toInt64({self.points})"
        value = f"ifNull({event_value(self.times, 'number')}, 0) * {abs(self.points)}"
        bounded = f"toInt64(round(least(greatest({value}, {self.least}.), {self.most}.)))"
        return f"-{bounded}" if self.points < 0 else bounded

    def key_sql(self) -> str:
        """SQL over one row of `events`: what `once_per` compares."""
        return event_value(self.once_per, "text") if self.once_per else "''"


@dataclass(frozen=True, slots=True)
class Group:
    """Rules whose hits together fill the same caps, after the caps of each rule."""

    name: str
    caps: tuple[Cap, ...]


@dataclass(frozen=True, slots=True)
class Inactivity:
    """`points` once silent for `after` days and again `every` so many days, never below `floor`.

    `every` 0: once.
    """

    after: int
    points: int
    every: int
    floor: int


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """Points for what a profile is; `when` is a condition over its traits and identifiers."""

    name: str
    when: str
    points: int

    def condition(self) -> Condition:
        """Over one row of a cycle."""
        return profile_condition(self.when, "scores")

    def condition_sql(self) -> str:
        """SQL over one row of a cycle: 1 where the profile earns the points, 0 elsewhere."""
        return self.condition().sql


@dataclass(frozen=True, slots=True)
class ScoringRules:
    """Everything that scoring.yaml says."""

    behaviour: tuple[BehaviourRule, ...] = ()
    inactivity: Inactivity | None = None
    identity: tuple[IdentityRule, ...] = ()
    stages: Stages | None = None
    tags: tuple[TagRule, ...] = ()
    segments: tuple[Segment, ...] = ()
    """By name; they come from files of their own."""
    groups: tuple[Group, ...] = ()
    cap: tuple[Cap, ...] = ()
    """Caps that all rules that give points fill together, after those of the groups."""
    bounds: Bounds = UNBOUNDED
    """Of the behaviour score."""
    identity_bounds: Bounds = UNBOUNDED
    grades: tuple[Grade, ...] = ()
    """Of the identity score, from the best down."""
    robots: Robots = NO_ROBOTS

    def shared_caps(self) -> list[tuple[list[int], tuple[Cap, ...]]]:
        """Places of behaviour rules whose hits fill caps together, and these caps, in the order in which they apply."""
        numbered = list(enumerate(self.behaviour))
        shared = [([n for n, rule in numbered if rule.group == g.name], g.caps) for g in self.groups]
        if self.cap:
            shared.append(([n for n, rule in numbered if rule.points > 0], self.cap))
        return shared

    @property
    def rule_count(self) -> int:
        """Rules of every kind."""
        stages = len(self.stages.rules) if self.stages else 0
        return len(self.behaviour) + len(self.identity) + stages + len(self.tags) + len(self.segments)

    def to_json(self) -> str:
        """Canonical JSON: ASCII, keys sorted, no blanks."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ScoringRules":
        """The rules of a canonical JSON. Raises Problem `bad_rules` when it is none."""
        try:
            return _from_fields(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise Problem("bad_rules", f"not the JSON of scoring rules: {error}") from error


_Rule = TypeVar("_Rule", BehaviourRule, IdentityRule)


def _from_fields(fields: dict[str, Any]) -> ScoringRules:
    silence = fields["inactivity"]
    return ScoringRules(
        behaviour=tuple(
            BehaviourRule(
                **{**rule, "caps": tuple(Cap(**cap) for cap in rule["caps"]), "decay": Decay(**rule["decay"])}
            )
            for rule in fields["behaviour"]
        ),
        inactivity=None if silence is None else Inactivity(**silence),
        identity=tuple(IdentityRule(**rule) for rule in fields["identity"]),
        stages=stages_from(fields.get("stages")),
        tags=tuple(TagRule(**rule) for rule in fields.get("tags", ())),
        segments=tuple(Segment(**rule) for rule in fields.get("segments", ())),
        groups=tuple(
            Group(group["name"], tuple(Cap(**cap) for cap in group["caps"]))
            for group in fields.get("groups", ())
        ),
        cap=tuple(Cap(**cap) for cap in fields.get("cap", ())),
        bounds=Bounds(**fields.get("bounds", {})),
        identity_bounds=Bounds(**fields.get("identity_bounds", {})),
        grades=tuple(Grade(**grade) for grade in fields.get("grades", ())),
        robots=Robots.from_fields(fields.get("robots")),
    )


def parse_scoring(text: str) -> ScoringRules:
    """The rules of a scoring.yaml.

    Raises Problem `bad_rules` with pointer `line:column`; misspelt keys and columns come with a suggestion.

    >>> rules = parse_scoring("behaviour: {rules: [{name: visit, event: Page Viewed, points: 0.5}]}")
    >>> rules.behaviour[0].points
    500
    """
    fields = read(text).fields(("behaviour", "identity", "stages", "tags"))
    told: dict[str, Any] = {}
    if "behaviour" in fields:
        parts = fields["behaviour"].fields(("rules", "groups", "cap", "inactivity", FLOOR, CEILING, "robots"))
        told["behaviour"] = _rules(parts.get("rules"), _behaviour_rule)
        told["groups"] = _groups(parts.get("groups"), fields["behaviour"], told["behaviour"])
        told["cap"] = parse_caps(parts["cap"]) if "cap" in parts else ()
        told["inactivity"] = _inactivity(parts["inactivity"]) if "inactivity" in parts else None
        told["bounds"] = parse_bounds(parts)
        told["robots"] = parse_robots(parts["robots"]) if "robots" in parts else NO_ROBOTS
    if "identity" in fields:
        parts = fields["identity"].fields(("rules", FLOOR, CEILING, "grades"))
        told["identity"] = _rules(parts.get("rules"), _identity_rule)
        told["identity_bounds"] = parse_bounds(parts)
        told["grades"] = parse_grades(parts["grades"]) if "grades" in parts else ()
    if "stages" in fields:
        told["stages"] = parse_stages(fields["stages"])
    if "tags" in fields:
        told["tags"] = parse_tags(fields["tags"])
    return ScoringRules(**told)


def with_segments(rules: ScoringRules, segments: Sequence[Segment]) -> ScoringRules:
    """The rules together with the segments of their workspace, whose names differ.

    Raises Problem `bad_rules` when they are too many or too long together.
    """
    check_limits(segments)
    return replace(rules, segments=tuple(sorted(segments, key=lambda segment: segment.name)))


def _rules(place: Place | None, read_rule: Callable[[Place], _Rule]) -> tuple[_Rule, ...]:
    """Rules of a list; their number, their names and the SQL they come to are within the limits."""
    rules: dict[str, _Rule] = {}
    for item in place.items() if place else ():
        rule = read_rule(item)
        if rule.name in rules:
            item.refuse(f"there is another rule {rule.name}")
        rules[rule.name] = rule
        if len(rules) > MAX_RULES or sum(len(r.condition_sql().encode()) for r in rules.values()) > MAX_SQL:
            item.refuse(f"more than {MAX_RULES} rules, or conditions that are too long together")
    return tuple(rules.values())


def _behaviour_rule(place: Place) -> BehaviourRule:
    known = ("name", "event", "where", "points", "times", "between", "once_per", "cap", "group", "decay")
    fields = place.fields(known, needed=("name", "event", "points"))
    if ("times" in fields) != ("between" in fields):
        place.refuse("times and between stand together: points that vary need a least and a most")
    least, most = _bounds(fields["between"]) if "between" in fields else (0, 0)
    where = fields["where"].condition() if "where" in fields else ""
    return BehaviourRule(
        name=_name(fields["name"]),
        event=fields["event"].text(),
        where=where,
        points=_points(fields["points"]),
        caps=parse_caps(fields["cap"]) if "cap" in fields else (),
        decay=_decay(fields["decay"]) if "decay" in fields else Decay("none"),
        times=fields["times"].value("number") if "times" in fields else "",
        least=least,
        most=most,
        once_per=fields["once_per"].value("text") if "once_per" in fields else "",
        group=fields["group"].name() if "group" in fields else "",
    )


def _bounds(place: Place) -> tuple[int, int]:
    """Least and most points of a hit, of magnitude."""
    bounds = [item.thousandths(MAX_POINTS) for item in place.items()]
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] or not bounds[1]:
        place.refuse("between is [least, most] points of a hit, not below 0 also for negative points")
    return bounds[0], bounds[1]


def _groups(
    place: Place | None, behaviour_place: Place, rules: tuple[BehaviourRule, ...]
) -> tuple[Group, ...]:
    """Groups with their caps; the rules of one either all give or all take points."""
    groups: dict[str, Group] = {}
    for item in place.items() if place else ():
        fields = item.fields(("name", "cap"), needed=("name", "cap"))
        group = Group(fields["name"].name(), parse_caps(fields["cap"]))
        if group.name in groups:
            item.refuse(f"there is another group {group.name}")
        if len({rule.points > 0 for rule in rules if rule.group == group.name}) > 1:
            item.refuse(f"rules of group {group.name} both give and take points")
        groups[group.name] = group
    for rule in rules:
        if rule.group and rule.group not in groups:
            behaviour_place.refuse(f"rule {rule.name} is in a group {rule.group} that is not declared")
    return tuple(groups[name] for name in sorted(groups))


def _identity_rule(place: Place) -> IdentityRule:
    fields = place.fields(("name", "when", "points"), needed=("name", "when", "points"))
    when = fields["when"].condition("scores")
    return IdentityRule(_name(fields["name"]), when, _points(fields["points"]))


def _name(place: Place) -> str:
    name = place.name()
    if name in (INACTIVITY, FLOOR, CEILING):
        place.refuse(f"{name} is the line of points for silence, or of a bound, among the points by rule")
    return name


def _points(place: Place) -> int:
    points = place.thousandths(MAX_POINTS)
    if points == 0:
        place.refuse("points are not 0")
    return points


def _decay(place: Place) -> Decay:
    if not place.is_mapping:
        place.choice(("none",))
        return Decay("none")
    fields = place.fields(("window", "half_life", "linear"))
    if len(fields) != 1:
        place.refuse("decay is none, {window: 90d}, {half_life: 14d} or {linear: 60d}")
    if "window" in fields:
        return Decay("window", fields["window"].days())
    if "linear" in fields:
        return Decay("linear", fields["linear"].days(MAX_LINEAR))
    return Decay("half_life", fields["half_life"].days(MAX_HALF_LIFE))


def _inactivity(place: Place) -> Inactivity:
    fields = place.fields(("after", "points", "every", "floor"), needed=("after", "points"))
    if ("every" in fields) != ("floor" in fields):
        place.refuse("every and floor stand together: points that repeat need a lowest value")
    points = _points(fields["points"])
    if points > 0:
        fields["points"].refuse("points for silence are negative")
    floor = fields["floor"].thousandths(MAX_SCORE) if "floor" in fields else points
    if floor > points:
        fields["floor"].refuse("the floor is not above the points")
    every = fields["every"].days() if "every" in fields else 0
    return Inactivity(fields["after"].days(), points, every, floor)
