"""Rules that say where a profile stands: stages, tags and segments, as frozen values.

Invariant: each kind refers only to what is worked out before it, so there are no cycles: traits, then scores,
then stage, then tags, then segments. `scoring.stages` folds stages over days; tags and segments hold on a date.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schemas.errors import Problem
from scoring.conditions import Condition, profile_condition
from scoring.rules_file import Place, read

ORDER: tuple[str, ...] = ("raw", "mql", "sal", "sql", "customer")
"""Stages where scoring.yaml declares no order of its own."""
BACK: tuple[str, ...] = ("recycled",)
OUT: tuple[str, ...] = ("disqualified",)
MANUAL = "manual/"
"""What stands before a tag that people set, so that no rule can give or take it."""
MAX_LEVELS = 4
_LEVEL = re.compile(r"[\w.+-]([\w .+-]{0,62}[\w.+-])?")
MAX_RULES = 500
MAX_SQL = 60_000
"""Bytes of all conditions of this page as SQL."""


@dataclass(frozen=True, slots=True)
class StageRule:
    """A stage is entered when `when` turns true, by profiles first seen from a day on (None: by all)."""

    name: str
    when: str
    first_seen_from: int | None = None

    def condition(self) -> Condition:
        """Over one row of a cycle."""
        return profile_condition(self.when, "stage")


@dataclass(frozen=True)
class Stages:
    """Stages in their order and the rules that enter them.

    `back`: stages behind the whole order, from which conditions lead on again; `out`: stages that only a
    status leaves. Both are entered by a status alone. `outcomes`: (outcome, stage) of those that are a status too.
    """

    order: tuple[str, ...]
    back: tuple[str, ...]
    out: tuple[str, ...]
    rules: tuple[StageRule, ...]
    outcomes: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All stages, those of the order first."""
        return (*self.order, *self.back, *self.out)

    @cached_property
    def rank(self) -> dict[str, int]:
        """Place of every stage: conditions lead to a greater one."""
        places = {name: place for place, name in enumerate(self.order)}
        return places | dict.fromkeys(self.back, -1) | dict.fromkeys(self.out, len(self.order))

    def stage_of(self, what: str, value: str) -> str:
        """Stage that a word of people leads to; empty where it leads to none."""
        stage = dict(self.outcomes).get(value, "") if what == "outcome" else value
        return stage if what in ("status", "outcome") and stage in self.rank else ""


@dataclass(frozen=True, slots=True)
class TagRule:
    """A tag that a profile has as long as `when` holds; its name has up to four levels."""

    name: str
    when: str

    def condition(self) -> Condition:
        """Over one row of a cycle."""
        return profile_condition(self.when, "tags")


@dataclass(frozen=True, slots=True)
class Segment:
    """Profiles for which `when` holds; members have the tag, where there is one."""

    name: str
    when: str
    tag: str = ""

    def condition(self) -> Condition:
        """Over one row of a cycle."""
        return profile_condition(self.when, "segments")


ProfileRule = StageRule | TagRule | Segment


def stages_from(fields: dict[str, Any] | None) -> Stages | None:
    """Stages from the fields of their JSON."""
    if fields is None:
        return None
    order, back, out = (tuple(fields[name]) for name in ("order", "back", "out"))
    rules = tuple(StageRule(**rule) for rule in fields["rules"])
    return Stages(order, back, out, rules, tuple((name, stage) for name, stage in fields.get("outcomes", ())))


def parse_stages(place: Place) -> Stages:
    """`stages`: a list of rules over the default order, or a mapping that may declare its own, and outcomes."""
    order, back, out = ORDER, BACK, OUT
    rules_place: Place | None = place
    outcomes: dict[str, str] = {}
    if place.is_mapping:
        fields = place.fields(("order", "back", "out", "rules", "outcomes"))
        if "order" in fields:
            order, back, out = (_stage_names(fields.get(name)) for name in ("order", "back", "out"))
        elif "back" in fields or "out" in fields:
            place.refuse("back and out stand with an order")
        rules_place = fields.get("rules")
        if "outcomes" in fields:
            known = (*order, *back, *out)
            entries = fields["outcomes"].entries()
            outcomes = {outcome: stage.choice(known) for outcome, stage in entries.items()}
        if len({*order, *back, *out}) < len(order) + len(back) + len(out) or not order:
            place.refuse("order, back and out name each stage once, order at least one")
    rules: dict[str, StageRule] = {}
    for item in rules_place.items() if rules_place else ():
        fields = item.fields(("name", "when", "applies_to"), needed=("name", "when"))
        name = fields["name"].choice(order[1:] or order)
        if name in rules:
            item.refuse(f"there is another rule for {name}; join conditions with OR")
        seen_from = _applies_to(fields["applies_to"]) if "applies_to" in fields else None
        rules[name] = StageRule(name, fields["when"].condition("stage"), seen_from)
    _within_limits(place, rules.values())
    in_order = sorted(rules.values(), key=lambda rule: order.index(rule.name))
    return Stages(order, back, out, tuple(in_order), tuple(sorted(outcomes.items())))


def _stage_names(place: Place | None) -> tuple[str, ...]:
    return tuple(item.name() for item in place.items()) if place else ()


def _applies_to(place: Place) -> int | None:
    if not place.is_mapping:
        place.choice(("all",))
        return None
    return place.fields(("first_seen_from",), needed=("first_seen_from",))["first_seen_from"].day()


def parse_tags(place: Place) -> tuple[TagRule, ...]:
    """`tags`: a list of rules, each with a name of its own."""
    rules: dict[str, TagRule] = {}
    for item in place.items():
        fields = item.fields(("name", "when"), needed=("name", "when"))
        rule = TagRule(_tag(fields["name"]), fields["when"].condition("tags"))
        if rule.name in rules:
            item.refuse(f"there is another rule for {rule.name}; join conditions with OR")
        rules[rule.name] = rule
    _within_limits(place, rules.values())
    return tuple(sorted(rules.values(), key=lambda rule: rule.name))


def parse_segment(text: str) -> Segment:
    """The segment of a file of `segments/`.

    Raises Problem `bad_rules` with pointer `line:column`.

    >>> parse_segment("{name: hot, when: behaviour_score >= 60, tag: mood/hot}").tag
    'mood/hot'
    """
    fields = read(text).fields(("name", "when", "tag"), needed=("name", "when"))
    tag = _tag(fields["tag"]) if "tag" in fields else ""
    return Segment(fields["name"].name(), fields["when"].condition("segments"), tag)


def _tag(place: Place) -> str:
    name = place.text()
    if not _is_tag(name):
        place.refuse(f"{name} is not a tag: at most {MAX_LEVELS} names of at most 64 characters, a / between")
    if name.startswith(MANUAL):
        place.refuse(f"tags behind {MANUAL} are set by people; no rule gives them")
    return name


def _is_tag(name: str) -> bool:
    levels = name.split("/")
    return len(levels) <= MAX_LEVELS and all(_LEVEL.fullmatch(level) for level in levels)


def said_value(what: str, value: str, stages: Stages | None) -> str:
    """What people say (status, tag, untag, outcome) as it is kept; the `manual/` of a tag may be left out.

    Raises Problem `unknown_stage`, which lists the stages there are, and `bad_request`.

    >>> said_value("tag", "manual/vip", None), said_value("outcome", "won", None)
    ('vip', 'won')
    """
    if what == "status" and (stages is None or value not in stages.rank):
        there = f"they declare: {', '.join(stages.rank)}" if stages else "they declare none"
        raise Problem("unknown_stage", f"The rules have no stage {value}; {there}.")
    if what in ("tag", "untag"):
        value = value.removeprefix(MANUAL)
        if not _is_tag(MANUAL + value):
            raise Problem(
                "bad_request",
                f"{value} is not a tag: at most {MAX_LEVELS - 1} names of at most 64 characters, a / between",
            )
    if not 1 <= len(value) <= 200 or not value.isprintable():
        raise Problem("bad_request", f"The name of {what} has 1 to 200 characters that can be printed.")
    return value


def check_limits(rules: Iterable[ProfileRule]) -> None:
    """Raises Problem `bad_rules` when there are too many rules, or conditions that are too long together."""
    conditions = [rule.condition().sql for rule in rules]
    if len(conditions) > MAX_RULES or sum(len(sql.encode()) for sql in conditions) > MAX_SQL:
        raise Problem("bad_rules", f"more than {MAX_RULES} rules, or conditions that are too long together")


def _within_limits(place: Place, rules: Iterable[ProfileRule]) -> None:
    try:
        check_limits(rules)
    except Problem as problem:
        place.refuse(problem.detail)


def columns_of(conditions: Iterable[Condition]) -> frozenset[str]:
    """Columns that any of the conditions names."""
    return frozenset[str]().union(*(condition.columns for condition in conditions))
