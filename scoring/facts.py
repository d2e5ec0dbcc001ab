"""SQL that reads what profiles are computed from: hits, activity and traits of touched profiles.

Each statement reads an external table `touched (profile_id String, identifier_id String)` that holds every
identifier of every profile asked for. Invariants: an event counts once, for the profile of its subject (the
first of its usable identifiers, by strength, that is not excluded), and only rows of subjects leave the
store; copies of a fact that were not merged yet are folded, times and days to their minimum; only days up
to the date count. Where `moments` are asked for, another external table says of which profiles on which
days, and `profile_id` of the result is the moment. `excluded` is SQL, `(SELECT identifier_id ...)`, where the
excluded identifiers are not those that the store holds for the generation. An event that a robots filter of events or
the burst takes is evidence (a profile was seen, `event_count`) and counts neither as a hit nor as activity.
"""

from scoring.compile import Usability, usable_sql
from scoring.robots import NO_ROBOTS, Robots
from scoring.ruleset import ACTIVITY
from scoring.sql_text import day_literal, quote

TOUCHED = "profile_id String, identifier_id String"
"""Structure of the external table `touched`."""
MOMENTS = "moment String, profile_id String, until Date32"
"""Structure of the external table `moments`."""


def facts_select(
    workspace: str,
    generation: str,
    date: int,
    touched: str = "touched",
    excluded: str = "",
    robots: Robots = NO_ROBOTS,
) -> str:
    """Hits of scoring rules that count.

    `profile_id`, `rule`, `event_id`, `day` (Date32), `amount` (raw points), `distinct_key`.
    """
    burst = f" AND NOT {_in_burst(workspace, generation, touched, excluded, robots)}" if robots.burst else ""
    return f"""SELECT t.profile_id AS profile_id, rule, event_id, hit_day AS day, amount, distinct_key
FROM ({_hits(workspace, generation, f"rule != {quote(ACTIVITY)}", touched, excluded)}) AS h
INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id
WHERE hit_day <= {day_literal(date)}{burst}"""


def activity_select(
    workspace: str,
    generation: str,
    date: int,
    touched: str = "touched",
    excluded: str = "",
    moments: str = "",
    robots: Robots = NO_ROBOTS,
) -> str:
    """One row per profile, or moment, that has events.

    `profile_id`, `event_count`, `first_seen_at`, `last_seen_at`, `first_day` of the events up to the date (epoch where
    there are none yet), `last_day` (Nullable(Date32)) of those that count, and `next_day` (Nullable(Date32)): first day
    after the date that has an event, on which the profile must be computed anew.
    """
    robot = _robot(workspace, generation, touched, excluded, robots)
    until = "hit_day <= m.until" if moments else f"hit_day <= {day_literal(date)}"
    return f"""SELECT {"m.moment" if moments else "t.profile_id"} AS profile_id, countIf({until}) AS event_count,
    minIf(hit_at, {until}) AS first_seen_at, maxIf(hit_at, {until}) AS last_seen_at,
    minIf(hit_day, {until}) AS first_day, maxOrNullIf(hit_day, {until} AND {robot} = '') AS last_day,
    minOrNullIf(hit_day, NOT ({until})) AS next_day
FROM ({_hits(workspace, generation, f"rule = {quote(ACTIVITY)}", touched, excluded)}) AS h
INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id
{f"INNER JOIN {moments} AS m ON m.profile_id = t.profile_id" if moments else ""}
GROUP BY profile_id"""


def active_days_select(
    workspace: str,
    generation: str,
    date: int,
    touched: str = "touched",
    excluded: str = "",
    robots: Robots = NO_ROBOTS,
) -> str:
    """Days with events up to the date: `profile_id`, `day`, `robot`, `event_count`, each three once.

    `robot`: the filter by which the events do not count; empty for those that do.
    """
    robot = _robot(workspace, generation, touched, excluded, robots)
    return f"""SELECT t.profile_id AS profile_id, hit_day AS day, {robot} AS robot, count() AS event_count
FROM ({_hits(workspace, generation, f"rule = {quote(ACTIVITY)}", touched, excluded)}) AS h
INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id
WHERE hit_day <= {day_literal(date)}
GROUP BY profile_id, day, robot"""


def traits_select(
    workspace: str,
    generation: str,
    date: int,
    identity: Usability,
    touched: str = "touched",
    excluded: str = "",
    moments: str = "",
) -> str:
    """Traits of profiles on the date: the observation of the greatest (occurred_at, event_id, value) by name.

    `profile_id`, `name`, `value`, `is_sealed`, `event_id`; names whose newest observation is an unset are
    left out. `first_value` is the value of the first observation that is none: `$channel` of first and last
    touch.
    """
    seen = "(seen_at, said_by, said.1)"
    return f"""SELECT profile_id, name, newest.1 AS value, newest.2 AS is_sealed, event_id, first_value
FROM (
    SELECT {"m.moment" if moments else "t.profile_id"} AS profile_id, name, argMax(said, {seen}) AS newest,
        argMax(said_by, {seen}) AS event_id, argMinIf(said.1, {seen}, said.3 = 0) AS first_value
    FROM ({_observations(workspace, generation, date, identity, touched, excluded)}) AS o
    INNER JOIN {touched} AS t ON o.identifier_id = t.identifier_id
    {f"INNER JOIN {moments} AS m ON m.profile_id = t.profile_id WHERE said_day <= m.until" if moments else ""}
    GROUP BY profile_id, name
)
WHERE newest.3 = 0"""


def trait_days_select(
    workspace: str,
    generation: str,
    date: int,
    identity: Usability,
    touched: str = "touched",
    excluded: str = "",
) -> str:
    """Days up to the date on which anything was said of traits: `profile_id`, `day`, each pair once."""
    return f"""SELECT DISTINCT t.profile_id AS profile_id, said_day AS day
FROM ({_observations(workspace, generation, date, identity, touched, excluded)}) AS o
INNER JOIN {touched} AS t ON o.identifier_id = t.identifier_id"""


def namespaces_select(workspace: str, touched: str = "touched") -> str:
    """Since when a profile holds identifiers of a namespace: `profile_id`, `name`, `day` of the first sighting."""
    return f"""SELECT t.profile_id AS profile_id, min(s.day) AS day,
    splitByChar('|', CAST(kind, 'String'))[1] AS name
FROM kintsugi_store.sightings AS s
INNER JOIN {touched} AS t ON s.identifier_id = t.identifier_id
WHERE s.workspace = {quote(workspace)} AND s.identifier_id IN (SELECT identifier_id FROM {touched})
GROUP BY profile_id, name"""


def email_domains_select(workspace: str, touched: str = "touched") -> str:
    """Since when a profile holds emails of a domain, as their masks show it: `profile_id`, `name`, `day`."""
    here = f"workspace = {quote(workspace)} AND identifier_id IN (SELECT identifier_id FROM {touched})"
    return f"""SELECT t.profile_id AS profile_id, min(s.day) AS day, i.domain AS name
FROM (SELECT identifier_id, day FROM kintsugi_store.sightings WHERE {here}) AS s
INNER JOIN {touched} AS t ON s.identifier_id = t.identifier_id
INNER JOIN (
    SELECT DISTINCT identifier_id, splitByChar('@', mask)[-1] AS domain
    FROM kintsugi_store.identifiers WHERE {here} AND namespace = 'email'
) AS i ON s.identifier_id = i.identifier_id
GROUP BY profile_id, name"""


def assertions_select(workspace: str, touched: str = "touched") -> str:
    """What was ever said of a profile's members: `profile_id`, `day`, `at` (µs), `id`, `what`, `value`."""
    return f"""SELECT DISTINCT t.profile_id AS profile_id, a.day AS day, toUnixTimestamp64Micro(a.at) AS at, a.id AS id,
    CAST(a.what, 'String') AS what, a.value AS value
FROM kintsugi_store.assertions AS a
INNER JOIN {touched} AS t ON a.identifier_id = t.identifier_id
WHERE a.workspace = {quote(workspace)} AND a.identifier_id IN (SELECT identifier_id FROM {touched})"""


def _observations(
    workspace: str, generation: str, date: int, identity: Usability, touched: str, excluded: str
) -> str:
    """Observations of traits of touched subjects up to the date, copies folded."""
    return f"""
        SELECT identifier_id, name, event_id AS said_by, min(occurred_at) AS seen_at, min(day) AS said_day,
            max((value, is_sealed, is_unset)) AS said, any({usable_sql(identity)}) AS usable
        FROM kintsugi_store.traits
        WHERE workspace = {quote(workspace)} AND identifier_id IN (SELECT identifier_id FROM {touched})
        GROUP BY identifier_id, name, event_id
        HAVING said_day <= {day_literal(date)} AND {_is_subject(workspace, generation, "usable", excluded)}"""


def _hits(workspace: str, generation: str, which: str, touched: str, excluded: str) -> str:
    """Hits of touched subjects, copies folded: identifier_id, rule, event_id, hit_at, hit_day, amount."""
    return f"""
    SELECT identifier_id, rule, event_id, min(occurred_at) AS hit_at, min(day) AS hit_day,
        any(amount) AS amount, any(distinct_key) AS distinct_key
    FROM kintsugi_store.rule_hits
    WHERE workspace = {quote(workspace)} AND generation = {quote(generation)} AND {which}
      AND identifier_id IN (SELECT identifier_id FROM {touched})
      AND {_is_subject(workspace, generation, "identifiers", excluded)}
    GROUP BY identifier_id, rule, event_id
"""


def _robot(workspace: str, generation: str, touched: str, excluded: str, robots: Robots) -> str:
    """Expression over `_hits` of `*`: the filter by which the event does not count; empty where it does."""
    by_event = "distinct_key" if robots.events else "''"
    if robots.burst is None:
        return by_event
    in_burst = _in_burst(workspace, generation, touched, excluded, robots)
    return f"if({by_event} = '' AND {in_burst}, {quote(robots.burst.name)}, {by_event})"


def _in_burst(workspace: str, generation: str, touched: str, excluded: str, robots: Robots) -> str:
    """Condition over `_hits AS h`: on its day the subject has more events, whatever they are, than the burst allows."""
    assert robots.burst is not None
    return f"""(h.identifier_id, hit_day) IN (
    SELECT identifier_id, hit_day
    FROM ({_hits(workspace, generation, f"rule = {quote(ACTIVITY)}", touched, excluded)})
    GROUP BY identifier_id, hit_day HAVING count() > {robots.burst.more_than})"""


def _is_subject(workspace: str, generation: str, usable: str, excluded: str) -> str:
    """Condition: the row's identifier is the first usable one that is not excluded."""
    excluded = (
        excluded
        or f"""(SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
        WHERE workspace = {quote(workspace)} AND generation = {quote(generation)} AND reason != '')"""
    )
    return f"identifier_id = arrayFirst(i -> i NOT IN {excluded}, {usable})"
