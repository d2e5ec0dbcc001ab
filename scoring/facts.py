"""SQL that reads what profiles are computed from: hits, activity and traits of touched profiles.

Each statement reads an external table `touched (profile_id String, identifier_id String)` that holds every
identifier of every profile asked for. Invariants: an event counts once, for the profile of its subject (the
first of its usable identifiers, by strength, that is not excluded), and only rows of subjects leave the
store; copies of a fact that were not merged yet are folded, times and days to their minimum; only days up
to the date count. `excluded` is SQL, `(SELECT identifier_id ...)`, where the excluded identifiers are not
those that the store holds for the generation.
"""

from scoring.compile import Usability, usable_sql
from scoring.ruleset import ACTIVITY
from scoring.sql_text import day_literal, quote

TOUCHED = "profile_id String, identifier_id String"
"""Structure of the external table `touched`."""


def facts_select(
    workspace: str, generation: str, date: int, touched: str = "touched", excluded: str = ""
) -> str:
    """Hits of scoring rules: `profile_id`, `rule`, `event_id`, `day` (Date32), `amount` (raw points)."""
    return f"""SELECT t.profile_id AS profile_id, rule, event_id, hit_day AS day, amount
FROM ({_hits(workspace, generation, f"rule != {quote(ACTIVITY)}", touched, excluded)}) AS h
INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id
WHERE hit_day <= {day_literal(date)}"""


def activity_select(
    workspace: str, generation: str, date: int, touched: str = "touched", excluded: str = ""
) -> str:
    """One row per profile that has events.

    `profile_id`, `event_count`, `first_seen_at`, `last_seen_at`, `last_day` of the events up to the date
    (epoch where there are none yet), and `next_day` (Nullable(Date32)): first day after the date that has
    an event, on which the profile must be computed anew.
    """
    until = f"hit_day <= {day_literal(date)}"
    return f"""SELECT t.profile_id AS profile_id, countIf({until}) AS event_count,
    minIf(hit_at, {until}) AS first_seen_at, maxIf(hit_at, {until}) AS last_seen_at,
    maxIf(hit_day, {until}) AS last_day, minOrNullIf(hit_day, NOT ({until})) AS next_day
FROM ({_hits(workspace, generation, f"rule = {quote(ACTIVITY)}", touched, excluded)}) AS h
INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id
GROUP BY profile_id"""


def traits_select(
    workspace: str,
    generation: str,
    date: int,
    identity: Usability,
    touched: str = "touched",
    excluded: str = "",
) -> str:
    """Traits of profiles on the date: the observation of the greatest (occurred_at, event_id, value) by name.

    `profile_id`, `name`, `value`, `is_sealed`, `event_id`; names whose newest observation is an unset are
    left out. `first_value` is the value of the first observation that is none: `$channel` of first and last
    touch.
    """
    usable = usable_sql(identity)
    seen = "(seen_at, said_by, said.1)"
    return f"""SELECT profile_id, name, newest.1 AS value, newest.2 AS is_sealed, event_id, first_value
FROM (
    SELECT t.profile_id AS profile_id, name, argMax(said, {seen}) AS newest,
        argMax(said_by, {seen}) AS event_id, argMinIf(said.1, {seen}, said.3 = 0) AS first_value
    FROM (
        SELECT identifier_id, name, event_id AS said_by, min(occurred_at) AS seen_at, min(day) AS said_day,
            max((value, is_sealed, is_unset)) AS said, any({usable}) AS usable
        FROM kintsugi_store.traits
        WHERE workspace = {quote(workspace)} AND identifier_id IN (SELECT identifier_id FROM {touched})
        GROUP BY identifier_id, name, event_id
        HAVING said_day <= {day_literal(date)} AND {_is_subject(workspace, generation, "usable", excluded)}
    ) AS o
    INNER JOIN {touched} AS t ON o.identifier_id = t.identifier_id
    GROUP BY profile_id, name
)
WHERE newest.3 = 0"""


def _hits(workspace: str, generation: str, which: str, touched: str, excluded: str) -> str:
    """Hits of touched subjects, copies folded: identifier_id, rule, event_id, hit_at, hit_day, amount."""
    return f"""
    SELECT identifier_id, rule, event_id, min(occurred_at) AS hit_at, min(day) AS hit_day,
        any(amount) AS amount
    FROM kintsugi_store.rule_hits
    WHERE workspace = {quote(workspace)} AND generation = {quote(generation)} AND {which}
      AND identifier_id IN (SELECT identifier_id FROM {touched})
      AND {_is_subject(workspace, generation, "identifiers", excluded)}
    GROUP BY identifier_id, rule, event_id
"""


def _is_subject(workspace: str, generation: str, usable: str, excluded: str) -> str:
    """Condition: the row's identifier is the first usable one that is not excluded."""
    excluded = (
        excluded
        or f"""(SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
        WHERE workspace = {quote(workspace)} AND generation = {quote(generation)} AND reason != '')"""
    )
    return f"identifier_id = arrayFirst(i -> i NOT IN {excluded}, {usable})"
