"""SQL that reads what profiles are computed from, of touched identifiers: each table once, rows as they are stored.

Each statement reads an external table `touched (identifier_id String, member UInt32)`; `member` says of which of them a
row is. Invariants: an event counts once, for its subject (the first of its usable identifiers, by strength, that is not
excluded), and only rows of subjects leave the store. Copies of a fact that were not merged yet come as they are, and
so do days after the date: what they come to is told by `scoring.events` and `scoring.traits`. `excluded` is SQL,
`(SELECT identifier_id ...)`, where the excluded identifiers are not those that the store holds for the generation.
"""

from scoring.compile import Usability, usable_sql
from scoring.ruleset import ScoringRules
from scoring.sql_text import array, quote

TOUCHED = "identifier_id String, member UInt32"
"""Structure of the external table `touched`."""


def events_select(
    workspace: str, generation: str, rules: ScoringRules, touched: str = "touched", excluded: str = ""
) -> str:
    """Events of touched subjects and the rules that they match.

    `member`, `event` (event_id, 16 bytes), `day` (Int32), `at` (µs), and by matched rule `rules` (n + 1: the n-th
    behaviour rule) and `amounts` (raw points in thousandths); `robot` and `keys` where the rules have filters of
    events, or count once per value.
    """
    names = ["", *(rule.name for rule in rules.behaviour)]
    more = ["robot"] if rules.robots.events else []
    more += ["keys"] if any(rule.once_per for rule in rules.behaviour) else []
    return f"""SELECT t.member AS member, toFixedString(unhex(h.event_id), 16) AS event, toInt32(h.day) AS day,
    toUnixTimestamp64Micro(h.occurred_at) AS at, h.amounts AS amounts,
    arrayMap(r -> toUInt16(transform(r, {array(names)}, {array(range(len(names)))}, 0)), h.rules) AS rules
    {"".join(f", h.{name} AS {name}" for name in more)}
FROM (
    SELECT identifier_id, event_id, day, occurred_at, rules, amounts{"".join(f", {name}" for name in more)}
    FROM kintsugi_store.event_hits
    WHERE workspace = {quote(workspace)} AND generation = {quote(generation)}
        AND identifier_id IN (SELECT identifier_id FROM {touched})
        AND {_is_subject(workspace, generation, "identifiers", excluded)}
) AS h INNER JOIN {touched} AS t ON h.identifier_id = t.identifier_id"""


def observations_select(
    workspace: str, generation: str, identity: Usability, touched: str = "touched", excluded: str = ""
) -> str:
    """What events of touched subjects say of traits.

    `member`, `name`, `event` (event_id, 16 bytes), `at` (µs), `day` (Int32), `value`, `is_sealed`, `is_unset`.
    """
    return f"""SELECT t.member AS member, o.name AS name, toFixedString(unhex(o.event_id), 16) AS event,
    toUnixTimestamp64Micro(o.occurred_at) AS at, toInt32(o.day) AS day, o.value AS value, o.is_sealed AS is_sealed,
    o.is_unset AS is_unset
FROM (
    SELECT identifier_id, name, event_id, occurred_at, day, value, is_sealed, is_unset, {usable_sql(identity)} AS usable
    FROM kintsugi_store.traits
    WHERE workspace = {quote(workspace)} AND identifier_id IN (SELECT identifier_id FROM {touched})
        AND {_is_subject(workspace, generation, "usable", excluded)}
) AS o INNER JOIN {touched} AS t ON o.identifier_id = t.identifier_id"""


def held_select(workspace: str, touched: str = "touched") -> str:
    """What touched identifiers are, copies as they are: `member`, `namespace`, `scope`, `mask`, `sealed`."""
    return f"""SELECT t.member AS member, i.namespace AS namespace, i.scope AS scope, i.mask AS mask, i.sealed AS sealed
FROM kintsugi_store.identifiers AS i INNER JOIN {touched} AS t ON i.identifier_id = t.identifier_id
WHERE i.workspace = {quote(workspace)} AND i.identifier_id IN (SELECT identifier_id FROM {touched})"""


def sighted_select(workspace: str, touched: str = "touched") -> str:
    """Since when touched identifiers are known: `member`, `day` (Int32) of the first sighting."""
    return f"""SELECT t.member AS member, toInt32(min(s.day)) AS day
FROM kintsugi_store.sightings AS s INNER JOIN {touched} AS t ON s.identifier_id = t.identifier_id
WHERE s.workspace = {quote(workspace)} AND s.identifier_id IN (SELECT identifier_id FROM {touched})
GROUP BY member"""


def assertions_select(workspace: str, touched: str = "touched") -> str:
    """What was ever said of touched identifiers: `member`, `day` (Int32), `at` (µs), `id`, `what`, `value`."""
    return f"""SELECT DISTINCT t.member AS member, toInt32(a.day) AS day, toUnixTimestamp64Micro(a.at) AS at,
    a.id AS id, CAST(a.what, 'String') AS what, a.value AS value
FROM kintsugi_store.assertions AS a INNER JOIN {touched} AS t ON a.identifier_id = t.identifier_id
WHERE a.workspace = {quote(workspace)} AND a.identifier_id IN (SELECT identifier_id FROM {touched})"""


def _is_subject(workspace: str, generation: str, usable: str, excluded: str) -> str:
    """Condition: the row's identifier is the first usable one that is not excluded."""
    excluded = (
        excluded
        or f"""(SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
        WHERE workspace = {quote(workspace)} AND generation = {quote(generation)} AND reason != '')"""
    )
    return f"identifier_id = arrayFirst(i -> i NOT IN {excluded}, {usable})"
