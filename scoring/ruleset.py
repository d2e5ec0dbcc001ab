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
from scoring.conditions import event_condition, profile_condition
from scoring.profile_rules import (
    Segment,
    Stages,
    TagRule,
    check_limits,
    parse_stages,
    parse_tags,
    stages_from,
)
from scoring.rules_file import Place, read
from scoring.sql_text import quote

Period = Literal["day", "week", "lifetime"]
PERIODS: tuple[Period, ...] = ("day", "week", "lifetime")
"""Order in which caps apply. A week runs from Monday to Sunday."""

MAX_POINTS = 100_000_000
"""Most points of one hit, in thousandths."""
MAX_RULES = 200
MAX_SQL = 150_000
"""Bytes of all conditions as SQL; the store takes statements of 256 KiB."""
MAX_HALF_LIFE = 730
MAX_LINEAR = 3650
ACTIVITY = "*"
"""Built-in rule that every event of a person matches, with amount 0."""
INACTIVITY = "inactivity"
"""Name under which points for silence stand among the points by rule."""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` points (thousandths, of magnitude) or hits in each period."""

    unit: Literal["points", "count"]
    most: int
    per: Period


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

    def condition_sql(self) -> str:
        """SQL over one row of `events`: 1 where the event matches, 0 elsewhere."""
        same_event = f"event = {quote(self.event)}"
        return f"{same_event} AND {event_condition(self.where).sql}" if self.where else same_event


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

    def condition_sql(self) -> str:
        """SQL over one row of a cycle: 1 where the profile earns the points, 0 elsewhere."""
        return profile_condition(self.when, "scores").sql


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
    )


def parse_scoring(text: str) -> ScoringRules:
    """The rules of a scoring.yaml.

    Raises Problem `bad_rules` with pointer `line:column`; misspelt keys and columns come with a suggestion.

    >>> rules = parse_scoring("behaviour: {rules: [{name: visit, event: Page Viewed, points: 0.5}]}")
    >>> rules.behaviour[0].points
    500
    """
    fields = read(text).fields(("behaviour", "identity", "stages", "tags"))
    behaviour: tuple[BehaviourRule, ...] = ()
    identity: tuple[IdentityRule, ...] = ()
    inactivity = None
    if "behaviour" in fields:
        parts = fields["behaviour"].fields(("rules", "inactivity"))
        behaviour = _rules(parts.get("rules"), _behaviour_rule)
        inactivity = _inactivity(parts["inactivity"]) if "inactivity" in parts else None
    if "identity" in fields:
        parts = fields["identity"].fields(("rules",))
        identity = _rules(parts.get("rules"), _identity_rule)
    stages = parse_stages(fields["stages"]) if "stages" in fields else None
    tags = parse_tags(fields["tags"]) if "tags" in fields else ()
    return ScoringRules(behaviour, inactivity, identity, stages, tags)


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
    known = ("name", "event", "where", "points", "cap", "decay")
    fields = place.fields(known, needed=("name", "event", "points"))
    where = fields["where"].condition() if "where" in fields else ""
    return BehaviourRule(
        name=_name(fields["name"]),
        event=fields["event"].text(),
        where=where,
        points=_points(fields["points"]),
        caps=_caps(fields["cap"]) if "cap" in fields else (),
        decay=_decay(fields["decay"]) if "decay" in fields else Decay("none"),
    )


def _identity_rule(place: Place) -> IdentityRule:
    fields = place.fields(("name", "when", "points"), needed=("name", "when", "points"))
    when = fields["when"].condition("scores")
    return IdentityRule(_name(fields["name"]), when, _points(fields["points"]))


def _name(place: Place) -> str:
    name = place.name()
    if name == INACTIVITY:
        place.refuse(f"{name} is the name under which points for silence stand")
    return name


def _points(place: Place) -> int:
    points = place.thousandths(MAX_POINTS)
    if points == 0:
        place.refuse("points are not 0")
    return points


def _caps(place: Place) -> tuple[Cap, ...]:
    caps: dict[tuple[int, str], Cap] = {}
    for item in place.items() if place.is_list else [place]:
        fields = item.fields(("points", "count", "per"), needed=("per",))
        if ("points" in fields) == ("count" in fields):
            item.refuse("a cap limits either points or count")
        per = fields["per"].choice(PERIODS)
        unit = "points" if "points" in fields else "count"
        most = fields[unit].thousandths(10 * MAX_POINTS) if unit == "points" else fields[unit].count(10**6)
        if most <= 0:
            fields[unit].refuse("a cap is above 0; for negative points it limits their magnitude")
        key = (PERIODS.index(per), unit)
        if key in caps:
            item.refuse(f"there is another cap of {unit} per {per}")
        caps[key] = Cap(unit, most, per)  # type: ignore[arg-type]  # as above
    return tuple(caps[key] for key in sorted(caps))


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
    floor = fields["floor"].thousandths(10 * MAX_POINTS) if "floor" in fields else points
    if floor > points:
        fields["floor"].refuse("the floor is not above the points")
    every = fields["every"].days() if "every" in fields else 0
    return Inactivity(fields["after"].days(), points, every, floor)
