"""Links: every pair that an event shows is stored, and each is either accepted or refused for a reason."""

from schemas.expectations.suite import Batch, Scope, Suite, at_most, nothing, one_of

_LINKS = """
SELECT a, b, day, toInt32(day) AS day_number, received_at, example_event
FROM kintsugi_store.links FINAL WHERE workspace = $workspace
"""

_REFUSED = """
SELECT a, b, toString(reason) AS reason, blocker FROM kintsugi.refused_links WHERE workspace = $workspace
"""

# Of the pairs of an event, the first with each of the others; the job writes all pairs of an event together.
_LOST = """
SELECT pair.1 AS a, pair.2 AS b, day FROM (
    SELECT day, arrayJoin(arrayMap(i -> (identifiers[1], i), arraySlice(identifiers, 2))) AS pair
    FROM kintsugi_store.events FINAL
    WHERE workspace = $workspace AND length(identifiers) > 1 AND received_at < $settled)
WHERE (pair.1, pair.2, day) NOT IN (SELECT a, b, day FROM kintsugi_store.links WHERE workspace = $workspace)
"""

_ENDS_UNSEEN = """
SELECT a, b FROM {batch}
WHERE (a, day) NOT IN (SELECT identifier_id, day FROM kintsugi_store.sightings WHERE workspace = $workspace)
   OR (b, day) NOT IN (SELECT identifier_id, day FROM kintsugi_store.sightings WHERE workspace = $workspace)
"""

_NO_EXAMPLE = """
SELECT a, b FROM {batch} WHERE example_event NOT IN (
    SELECT event_id FROM kintsugi_store.events WHERE workspace = $workspace)
"""

# A pair in two profiles that is not refused, whose ends are not excluded, and whose link cannot have expired.
_UNDECIDED = """
WITH
    (SELECT min(if(days = 0, 100000, days)) FROM (
        SELECT JSONExtractUInt(arrayJoin(JSONExtractArrayRaw(ruleset, 'identity', 'namespaces')),
                               'link_ttl_days') AS days
          FROM kintsugi_store.generations FINAL
         WHERE workspace = $workspace AND generation = $generation)) AS least_ttl,
    excluded AS (SELECT identifier_id FROM kintsugi_store.excluded_identifiers FINAL
                 WHERE workspace = $workspace AND generation = $generation AND reason != ''),
    mapped AS (SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
               WHERE workspace = $workspace AND generation = $generation)
SELECT l.a AS a, l.b AS b
FROM (SELECT a, b, max(day) AS last_day FROM kintsugi_store.links
      WHERE workspace = $workspace AND day <= $as_of AND received_at < $settled GROUP BY a, b) AS l
LEFT JOIN mapped AS x ON x.identifier_id = l.a
LEFT JOIN mapped AS y ON y.identifier_id = l.b
WHERE if(x.profile_id = '', l.a, x.profile_id) != if(y.profile_id = '', l.b, y.profile_id)
  AND toInt32(l.last_day) + least_ttl > toInt32($as_of)
  AND l.a NOT IN excluded AND l.b NOT IN excluded
  AND (l.a, l.b) NOT IN (SELECT a, b FROM kintsugi.refused_links WHERE workspace = $workspace)
"""

_FIGURES = """
WITH (SELECT uniqExact(a, b) FROM kintsugi_store.links WHERE workspace = $workspace) AS pairs
SELECT count() / greatest(pairs, 1) AS share_of_refused
FROM kintsugi.refused_links WHERE workspace = $workspace
"""


def suite(scope: Scope) -> Suite:
    """What is expected of the links of a workspace and of what the rules in force made of them."""
    links = (
        nothing("one_spelling", "SELECT a, b FROM {batch} WHERE a >= b", "A pair is written smaller id first."),
        nothing("once_a_day", "SELECT a, b, day FROM {batch} GROUP BY a, b, day HAVING count() > 1",
                "A pair stands once a day."),
        nothing("pairs_of_events_stored", scope.sql(_LOST), "Every pair that an event shows is stored with its day."),
        nothing("ends_seen", scope.sql(_ENDS_UNSEEN), "Both ends of a link were seen on its day."),
        nothing("example_known", scope.sql(_NO_EXAMPLE), "The event that a link names as its example is stored."),
        nothing("decided", scope.sql(_UNDECIDED),
                "A link that counts either lies in one profile or is refused with a reason."),
    )  # fmt: skip
    refused = (
        one_of("reason_known", "reason", ["limit", "with", "never_link"],
               "A link is refused for a limit, a with-limit or a never-link."),
        nothing("blocker_named", "SELECT a, b FROM {batch} WHERE blocker = ''",
                "A refused link names what stands against it."),
    )  # fmt: skip
    figures = (at_most("share_of_refused", 0.1, "The rules refuse at most 10 % of the pairs."),)
    return Suite(
        "links",
        "what was seen together",
        (
            Batch("links", scope.sql(_LINKS), links),
            Batch("refused", scope.sql(_REFUSED), refused),
            Batch("figures", scope.sql(_FIGURES), figures),
        ),
    )
