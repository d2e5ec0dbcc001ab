"""Score facts: points come from stored events by rules in force, and no rule has fallen silent."""

from schemas.expectations.suite import Batch, Scope, Suite, at_most, nothing, within

_HITS = """
SELECT identifier_id, hit.1 AS rule, event_id, hit.2 / 1000 AS points
FROM (
    SELECT identifier_id, event_id, arrayJoin(arrayPushFront(
        arrayZip(CAST(rules, 'Array(String)'), amounts), ('*', toInt64(0)))) AS hit
    FROM kintsugi_store.event_hits FINAL WHERE workspace = $workspace AND generation = $generation)
"""

_NO_EVENT = """
SELECT event_id FROM {batch} WHERE event_id NOT IN (
    SELECT event_id FROM kintsugi_store.events WHERE workspace = $workspace)
"""

_RULES = """
SELECT JSONExtractString(rule, 'name') AS name, JSONExtractString(rule, 'decay', 'kind') AS decay
FROM (SELECT arrayJoin(JSONExtractArrayRaw(ruleset, 'scoring', 'behaviour')) AS rule
      FROM kintsugi_store.generations FINAL WHERE workspace = $workspace AND generation = $generation)
"""

_FOREIGN_RULE = f"SELECT rule FROM {{batch}} WHERE rule != '*' AND rule NOT IN (SELECT name FROM ({_RULES}))"

_WEIGHTLESS = f"""
SELECT name FROM ({_RULES}) WHERE decay = 'half_life' AND name NOT IN (
    SELECT arrayJoin(mapKeys(weights)) FROM kintsugi_store.generations FINAL
    WHERE workspace = $workspace AND generation = $generation)
"""

_UNCOUNTED = """
SELECT event_id FROM kintsugi_store.events FINAL
WHERE workspace = $workspace AND is_robot = 0 AND received_at < $settled
  AND event_id NOT IN (SELECT event_id FROM kintsugi_store.event_hits
                       WHERE workspace = $workspace AND generation = $generation)
  AND arrayExists(i -> i NOT IN (
        SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
        WHERE workspace = $workspace AND generation = $generation AND reason = 'blocked'), identifiers)
"""

# Twenty hits in the two weeks before the last one and none in the last: a renamed event, a changed property.
_SILENT = f"""
WITH (SELECT max(day) FROM kintsugi_store.events FINAL WHERE workspace = $workspace) AS last_day
SELECT rule FROM (
    SELECT rule, countIf(day <= last_day - 7 AND day > last_day - 21) AS before, countIf(day > last_day - 7) AS lately
    FROM kintsugi_store.current_hits WHERE workspace = $workspace AND rule IN (SELECT name FROM ({_RULES}))
    GROUP BY rule)
WHERE before >= 20 AND lately = 0
"""

_LEDGER = """
SELECT p.profile_id AS profile_id, p.behaviour_score AS behaviour, p.identity_score AS identity,
    l.behaviour AS behaviour_lines, l.identity AS identity_lines
FROM (SELECT profile_id, behaviour_score, identity_score FROM kintsugi.profiles WHERE workspace = $workspace) AS p
LEFT JOIN (
    SELECT profile_id, sumIf(points, score = 'behaviour') AS behaviour, sumIf(points, score = 'identity') AS identity
    FROM kintsugi.score_ledger WHERE workspace = $workspace GROUP BY profile_id
) AS l ON l.profile_id = p.profile_id
"""

_UNFOUNDED = """
SELECT profile_id FROM {batch}
WHERE abs(behaviour - behaviour_lines) > 0.0005 OR abs(identity - identity_lines) > 0.0005
"""

_OUT_OF_REACH = """
WITH (SELECT (sumIf(p, p > 0), sumIf(p, p < 0)) FROM (
    SELECT JSONExtractInt(arrayJoin(JSONExtractArrayRaw(ruleset, 'scoring', 'identity')), 'points') / 1000 AS p
    FROM kintsugi_store.generations FINAL WHERE workspace = $workspace AND generation = $generation)) AS reach
SELECT profile_id FROM {batch} WHERE identity > reach.1 OR identity < reach.2
"""

_FIGURES = """
WITH (SELECT uniqExact(event_id) FROM kintsugi_store.current_hits
       WHERE workspace = $workspace AND rule = '*') AS counted
SELECT if(counted < 100, 0, 1 - uniqExact(event_id) / counted) AS share_of_events_without_rule
FROM kintsugi_store.current_hits WHERE workspace = $workspace AND rule != '*'
"""


def suite(scope: Scope) -> Suite:
    """What is expected of rule hits, and of the scores that are made of them."""
    hits = (
        nothing("hit_once", "SELECT rule FROM {batch} GROUP BY identifier_id, rule, event_id HAVING count() > 1",
                "An event matches a rule once."),
        within("points_in_reach", "points", -1e6, 1e6, "No single hit gives or takes more than a million points."),
        nothing("event_of_hit_known", scope.sql(_NO_EVENT), "Every hit rests on a stored event."),
        nothing("rule_in_force", scope.sql(_FOREIGN_RULE), "Every hit is of a rule in force."),
        nothing("every_event_counted", scope.sql(_UNCOUNTED), "Every event of somebody counts as activity."),
        nothing("no_rule_fell_silent", scope.sql(_SILENT),
                "A rule with twenty hits in the two weeks before has one in the last week."),
        nothing("half_lives_have_weights", scope.sql(_WEIGHTLESS), "The weights of every half-life rule are stored."),
    )  # fmt: skip
    ledger = (
        nothing("ledger_adds_up", _UNFOUNDED, "The lines of a ledger add up to the score."),
        nothing("identity_score_in_reach", scope.sql(_OUT_OF_REACH),
                "An identity score lies between the sums of all negative and of all positive rules."),
    )  # fmt: skip
    figures = (
        at_most("share_of_events_without_rule", 0.95, "At least 5 % of the events mean something to a rule."),
    )
    return Suite(
        "score_facts",
        "what scores are made of",
        (
            Batch("hits", scope.sql(_HITS), hits),
            Batch("ledger", scope.sql(_LEDGER), ledger),
            Batch("figures", scope.sql(_FIGURES), figures),
        ),
    )
