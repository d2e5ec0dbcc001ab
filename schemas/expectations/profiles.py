"""Profiles: the golden records and the identity map tell the same story, up to date and within the rules."""

from schemas.expectations.suite import Batch, Scope, Suite, at_least, at_most, nothing, unique

_PROFILES = """
SELECT profile_id, event_count, first_seen_at, last_seen_at, length(mapKeys(identifiers)) AS namespace_count
FROM kintsugi.profiles WHERE workspace = $workspace
"""

_MEMBERS = """
SELECT c.profile_id AS profile_id, c.identifier_id AS identifier_id,
    if(m.profile_id = '', c.identifier_id, m.profile_id) AS mapped_to
FROM (SELECT profile_id, identifier_id FROM kintsugi_store.current_members WHERE workspace = $workspace) AS c
LEFT JOIN (SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL
           WHERE workspace = $workspace AND generation = $generation) AS m ON m.identifier_id = c.identifier_id
"""

_HOMELESS = """
SELECT subject FROM (
    SELECT identifier_id AS subject, min(occurred_at) AS at FROM kintsugi_store.current_hits
    WHERE workspace = $workspace AND rule = '*' AND day <= $as_of
      AND event_id IN (
        SELECT event_id FROM kintsugi_store.events WHERE workspace = $workspace AND received_at < $settled)
    GROUP BY subject)
WHERE subject NOT IN (SELECT identifier_id FROM kintsugi_store.current_members WHERE workspace = $workspace)
"""

_UNCLUSTERED = """
SELECT profile_id FROM kintsugi_store.current_rows
WHERE workspace = $workspace AND length(members) > 1 AND (profile_id, members) NOT IN (
    SELECT profile_id, members FROM kintsugi_store.clusters FINAL
    WHERE workspace = $workspace AND generation = $generation)
"""

# Members a steward forced together may exceed a limit: that is what force-links are for.
_OVER_LIMITS = """
SELECT profile_id FROM kintsugi.profiles_near_limits
WHERE workspace = $workspace AND held > most AND profile_id NOT IN (
    SELECT profile_id FROM kintsugi_store.current_members
    WHERE workspace = $workspace AND identifier_id IN (
        SELECT arrayJoin([a, b]) FROM kintsugi.overrides WHERE workspace = $workspace AND verb = 'force'))
"""

_FIGURES = """
WITH
    (SELECT count() FROM (
        SELECT event_id FROM kintsugi_store.current_hits
        WHERE workspace = $workspace AND rule = '*' AND day <= $as_of GROUP BY event_id)) AS counted,
    toDate32($now) AS today
SELECT
    count() AS profile_count,
    toInt32(today) - toInt32($as_of) AS days_behind,
    abs(toInt64(sum(event_count)) - toInt64(counted)) / greatest(counted, 1) AS share_of_events_miscounted,
    if(counted < 1000, 0, max(event_count) / counted) AS share_of_busiest_profile
FROM kintsugi_store.current_rows WHERE workspace = $workspace
"""


def suite(scope: Scope) -> Suite:
    """What is expected of the golden records of a workspace."""
    profiles = (
        unique("profile_id_once", "profile_id", "A profile has one golden record."),
        nothing("counts_events", "SELECT profile_id FROM {batch} WHERE event_count = 0",
                "A profile has an event at least."),
        nothing("first_before_last", "SELECT profile_id FROM {batch} WHERE first_seen_at > last_seen_at",
                "A profile is first seen before it is last seen."),
        nothing("reachable_by_identifier", "SELECT profile_id FROM {batch} WHERE namespace_count = 0",
                "A profile shows an identifier at least."),
        nothing("within_limits", scope.sql(_OVER_LIMITS), "No profile holds more of a namespace than the rules allow."),
    )  # fmt: skip
    members = (
        unique("members_of_one_profile", "identifier_id", "No two profiles hold the same identifier."),
        nothing("map_agrees", "SELECT identifier_id FROM {batch} WHERE mapped_to != profile_id",
                "The identity map leads from each member to the profile that holds it."),
        nothing("clusters_agree", scope.sql(_UNCLUSTERED), "The members of a profile are those of its cluster."),
        nothing("everybody_has_a_profile", scope.sql(_HOMELESS), "Whoever did something is in a profile."),
    )  # fmt: skip
    figures = (
        at_least("profile_count", 1, "There are profiles."),
        at_most("days_behind", 2, "The date in force is no more than two days behind."),
        at_most(
            "share_of_events_miscounted", 0.01, "The profiles together count the events that have a subject."
        ),
        at_most("share_of_busiest_profile", 0.2, "No profile draws more than 20 % of the events."),
    )
    return Suite(
        "profiles",
        "golden records",
        (
            Batch("profiles", scope.sql(_PROFILES), profiles),
            Batch("members", scope.sql(_MEMBERS), members),
            Batch("figures", scope.sql(_FIGURES), figures),
        ),
    )
