"""Scoring rules as SQL: one statement turns events into rule hits, another judges conditions over profiles.

Invariants: the statement is the same for a batch sent as external data and for stored history, so stream and
history agree by construction; it raises no error whatever the events hold; it reads `source` once, however
many rules there are. An event whose user agent names itself a robot has no row. Every other event has one for each
usable identifier, whatever it matches; one that a robots filter takes names the filter and matches nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from scoring.ruleset import ScoringRules
from scoring.sql_text import array, quote, texts


class Named(Protocol):
    """Rules of one namespace."""

    @property
    def name(self) -> str:
        """The namespace."""


class Usability(Protocol):
    """What identity rules say of which identifiers of an event can be its subject, and in which order."""

    @property
    def namespaces(self) -> Sequence[Named]:
        """Namespaces, strongest first; those not listed come after all of them."""

    @property
    def blocked_patterns(self) -> Collection[str]:
        """Named patterns whose identifiers do not cluster."""

    @property
    def blocked_ids(self) -> Collection[str]:
        """identifier_ids of blocked values."""


def usable_sql(identity: Usability, identifiers_expr: str = "identifiers", kinds_expr: str = "kinds") -> str:
    """Expression: the identifiers that are not blocked, strongest first, ties by id, as Array(String).

    `identifiers_expr` and `kinds_expr` are aligned arrays; a kind is a namespace, then `|` and named patterns
    joined by commas where it matches any.
    """
    names = [rule.name for rule in identity.namespaces]
    ranks = f"{array(names)}, {array(range(len(names)))}, {len(names)}"
    rank = f"transform(splitByChar('|', k)[1], {ranks})" if names else "0"
    blocked = []
    if identity.blocked_patterns:
        patterns = array(sorted(identity.blocked_patterns))
        blocked.append(f"hasAny(splitByChar(',', splitByChar('|', k)[2]), {patterns})")
    if identity.blocked_ids:
        blocked.append(f"i IN {texts(sorted(identity.blocked_ids))}")
    if blocked:
        rank = f"if({' OR '.join(blocked)}, -1, {rank})"
    ranked = f"arrayMap((i, k) -> ({rank}, i), {identifiers_expr}, {kinds_expr})"
    pairs = f"arrayFilter(p -> p.1 >= 0, {ranked})" if blocked else ranked
    return f"arrayMap(p -> p.2, arraySort({pairs}))"


def hits_select(generation: str, scoring: ScoringRules, identity: Usability, source: str) -> str:
    """SELECT of `event_hits` rows, columns in the order of the table, from rows of `events`.

    One row per usable identifier and event. `source` follows FROM: a table or `(SELECT ...)`.
    """
    rules = list(enumerate(scoring.behaviour, start=2))
    varying = {f"amount_{n}": (n, rule.amount_sql()) for n, rule in rules if rule.times}
    keyed = {f"key_{n}": (n, rule.key_sql()) for n, rule in rules if rule.once_per}
    values = "".join(f", {sql} AS {name}" for name, (_, sql) in (varying | keyed).items())
    taken = "".join(f"{each.condition_sql()}, {quote(each.name)}, " for each in scoring.robots.events)
    matches = "".join(f", if({rule.condition_sql()}, {n}, 0)" for n, rule in rules)
    matched = f"arrayFilter(r -> r > 0, CAST([0{matches}] AS Array(UInt16)))"
    if taken:
        matched = f"if(robot = '', {matched}, emptyArrayUInt16())"
    names = array(["", *(rule.name for _, rule in rules)])
    amounts = array([0, *(rule.points for _, rule in rules)])
    return f"""SELECT workspace, {quote(generation)} AS generation, arrayJoin(usable) AS identifier_id, event_id,
    occurred_at, day, robot, arrayMap(r -> {names}[r], matched) AS rules,
    arrayMap(r -> {_by_rule(varying, f"toInt64({amounts}[r])")}, matched) AS amounts,
    arrayMap(r -> {_by_rule(keyed, "''")}, matched) AS keys, usable AS identifiers
FROM (
    SELECT workspace, event_id, occurred_at, day, {usable_sql(identity)} AS usable,
        {f"multiIf({taken}'')" if taken else "''"} AS robot, {matched} AS matched{values}
    FROM {source}
    WHERE is_robot = 0
)"""


def _by_rule(columns: Mapping[str, tuple[int, str]], otherwise: str) -> str:
    """Expression: the column of rule r, where it has one of its own."""
    choices = "".join(f"r = {number}, {name}, " for name, (number, _) in columns.items())
    return f"multiIf({choices}{otherwise})" if choices else otherwise


def when_select(exprs: Sequence[str], source: str) -> str:
    """SELECT of one row per row of `source`: `profile_id`, `results` (Array(UInt8), one for each expression).

    `exprs` are the SQL of conditions (`Condition.sql`); `source` holds the columns that
    `schemas.condition_columns.rows_structure` lists, at least those that the conditions name.
    """
    results = ", ".join(f"toUInt8({expr})" for expr in exprs)
    return f"SELECT profile_id, {f'[{results}]' if exprs else 'emptyArrayUInt8()'} AS results FROM {source}"


def tags_select(scoring: ScoringRules, source: str) -> str:
    """SELECT of `profile_id`, `tag_results`, `results` (one for each segment).

    `source` holds all columns up to the stage, and `manual_tags`; a segment's condition sees the tags of rules
    and those of people.
    """
    names = array(rule.name for rule in scoring.tags) if scoring.tags else "emptyArrayString()"
    holds = ", ".join(f"toUInt8({rule.condition().sql})" for rule in scoring.tags)
    judged = f"SELECT *, {f'[{holds}]' if holds else 'emptyArrayUInt8()'} AS tag_results FROM {source}"
    given = f"arrayFilter((name, holds) -> holds = 1, {names}, tag_results)" if holds else names
    tagged = f"SELECT *, arrayConcat({given}, manual_tags) AS tags FROM ({judged})"
    segments = ", ".join(f"toUInt8({segment.condition().sql})" for segment in scoring.segments)
    return (
        f"SELECT profile_id, tag_results, {f'[{segments}]' if segments else 'emptyArrayUInt8()'} AS results"
        f" FROM ({tagged})"
    )
