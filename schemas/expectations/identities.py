"""Identities: every identifier that was seen is known, and few of them are everybody's."""

from schemas.expectations.suite import Batch, Scope, Suite, at_most, nothing, one_of, unique

_IDENTIFIERS = """
SELECT identifier_id, toString(namespace) AS namespace, toString(kind) AS kind, mask
FROM kintsugi_store.identifiers FINAL WHERE workspace = $workspace
"""

_MAP = """
SELECT m.identifier_id AS identifier_id, m.profile_id AS profile_id, toString(m.state) AS state,
    toString(x.reason) AS reason
FROM (SELECT * FROM kintsugi_store.identity_map FINAL WHERE workspace = $workspace AND generation = $generation) AS m
LEFT JOIN (SELECT * FROM kintsugi_store.excluded_identifiers FINAL
           WHERE workspace = $workspace AND generation = $generation) AS x ON x.identifier_id = m.identifier_id
"""

_UNKNOWN = """
SELECT identifier_id FROM kintsugi_store.sightings WHERE workspace = $workspace AND identifier_id NOT IN (
    SELECT identifier_id FROM kintsugi_store.identifiers WHERE workspace = $workspace)
"""

_UNSEEN = """
SELECT identifier_id FROM {batch} WHERE identifier_id NOT IN (
    SELECT identifier_id FROM kintsugi_store.sightings WHERE workspace = $workspace)
"""

_FIGURES = """
WITH
    (SELECT max(length(members)) FROM kintsugi_store.clusters FINAL
      WHERE workspace = $workspace AND generation = $generation) AS largest
SELECT
    uniqExactIf(s.identifier_id, x.reason = 'shared') / greatest(uniqExact(s.identifier_id), 1) AS share_of_shared,
    countIf(x.reason = 'shared') / greatest(count(), 1) AS share_of_sightings_of_shared,
    countIf(x.reason = 'blocked') / greatest(count(), 1) AS share_of_sightings_of_blocked,
    if(largest <= 50, 0, largest / uniqExact(s.identifier_id)) AS share_of_largest_profile
FROM (SELECT identifier_id, day FROM kintsugi_store.sightings FINAL WHERE workspace = $workspace) AS s
LEFT JOIN (SELECT identifier_id, reason FROM kintsugi_store.excluded_identifiers FINAL
           WHERE workspace = $workspace AND generation = $generation) AS x ON s.identifier_id = x.identifier_id
"""


def suite(scope: Scope) -> Suite:
    """What is expected of the identifiers of a workspace and of the map from them to profiles."""
    identifiers = (
        unique("identifier_id_once", "identifier_id", "An identifier stands once."),
        nothing("sightings_known", scope.sql(_UNKNOWN), "Every identifier that was seen is known with its mask."),
        nothing("kind_of_its_namespace", "SELECT kind FROM {batch} WHERE splitByChar('|', kind)[1] != namespace",
                "The kind of an identifier begins with its namespace."),
        nothing("masked", "SELECT identifier_id FROM {batch} WHERE position(mask, '*') = 0",
                "No mask shows the whole identifier."),
    )  # fmt: skip
    mapped = (
        unique("one_profile_each", "identifier_id", "An identifier belongs to one profile."),
        one_of("state_known", "state", ["member", "shared", "blocked"],
               "An identifier is a member, shared or blocked."),
        nothing("map_of_the_seen", scope.sql(_UNSEEN), "Whatever belongs to a profile was seen in an event."),
        nothing("excluded_in_the_map",
                "SELECT identifier_id FROM {batch} WHERE state != if(reason = '', 'member', reason)",
                "The map and the list of excluded identifiers agree."),
        nothing("excluded_alone",
                "SELECT identifier_id FROM {batch} WHERE state != 'member' AND profile_id != identifier_id",
                "A shared or blocked identifier is in nobody's profile."),
    )  # fmt: skip
    figures = (
        at_most("share_of_shared", 0.05, "At most 5 % of the identifiers are shared by many."),
        at_most(
            "share_of_sightings_of_shared", 0.2, "At most 20 % of the sightings are of shared identifiers."
        ),
        at_most(
            "share_of_sightings_of_blocked", 0.05, "At most 5 % of the sightings are of blocked identifiers."
        ),
        at_most("share_of_largest_profile", 0.05, "No profile of more than 50 identifiers holds 5 % of all."),
    )
    return Suite(
        "identities",
        "who was seen",
        (
            Batch("identifiers", scope.sql(_IDENTIFIERS), identifiers),
            Batch("map", scope.sql(_MAP), mapped),
            Batch("figures", scope.sql(_FIGURES), figures),
        ),
    )
