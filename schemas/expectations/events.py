"""Events: they keep coming, each once, from people who can be told apart."""

from schemas.expectations.suite import Batch, Scope, Suite, at_least, at_most, nothing, one_of, unique, within

_ROWS = """
SELECT event_id, toString(type) AS type, day, toDate32(occurred_at) AS utc_day,
    dateDiff('second', received_at, occurred_at) AS seconds_ahead
FROM kintsugi_store.events FINAL WHERE workspace = $workspace
"""

# A day between the first and the last busy one of four weeks that holds less than a tenth of the median is silent.
_FIGURES = """
WITH
    (SELECT max(day) FROM kintsugi_store.events FINAL WHERE workspace = $workspace) AS last_day,
    (SELECT (groupArray(day), groupArray(n)) FROM (
        SELECT day, count() AS n FROM kintsugi_store.events FINAL
        WHERE workspace = $workspace AND day > last_day - 28 GROUP BY day ORDER BY day)) AS days,
    arrayReduce('median', days.2) AS usual,
    arrayFilter((d, n) -> n * 10 >= usual, days.1, days.2) AS busy,
    (SELECT count() FROM kintsugi.rejects WHERE workspace = $workspace AND event_id = '') AS rejects,
    (SELECT count() FROM kintsugi.conflicts WHERE workspace = $workspace) AS conflicts,
    (SELECT count() FROM kintsugi.events_without_subject WHERE workspace = $workspace AND is_robot = 0) AS nobodys
SELECT
    count() AS event_count,
    if(event_count = 0, NULL, dateDiff('minute', max(received_at), $now) / 60) AS hours_since_last,
    if(usual < 10, 0, toInt32(arrayMax(busy)) - toInt32(arrayMin(busy)) + 1 - length(busy)) AS silent_days,
    conflicts / greatest(count(), 1) AS share_of_reused_message_ids,
    countIf(empty(identifiers)) / greatest(count(), 1) AS share_without_identifiers,
    nobodys / greatest(count(), 1) AS share_without_subject,
    countIf(is_robot) / greatest(count(), 1) AS share_of_robots,
    rejects / greatest(count() + rejects, 1) AS share_of_rejects
FROM kintsugi_store.events FINAL WHERE workspace = $workspace
"""


def suite(scope: Scope) -> Suite:
    """What is expected of the events of a workspace."""
    types = ["track", "identify", "page", "screen", "group", "alias"]
    rows = (
        unique("event_id_once", "event_id", "An event stands once, however often it was sent."),
        one_of("type_known", "type", types, "Every event is of one of the six types of the spec."),
        within("not_from_the_future", "seconds_ahead", None, 86_400,
               "No event lies more than a day after it was received."),
        nothing("day_of_its_time", "SELECT event_id FROM {batch} WHERE abs(toInt32(day) - toInt32(utc_day)) > 1",
                "The calendar day of an event is that of its time in some time zone."),
        nothing("ids_well_formed", "SELECT event_id FROM {batch} WHERE length(event_id) != 32",
                "Ids are 32 hex characters."),
    )  # fmt: skip
    figures = (
        at_least("event_count", 1, "There are events."),
        at_most("hours_since_last", 48, "An event was received in the last 48 hours."),
        at_most("silent_days", 0, "No day between busy ones holds less than a tenth of what is usual."),
        at_most(
            "share_of_reused_message_ids", 0.01, "At most 1 % of the events share a messageId with another."
        ),
        at_most("share_without_identifiers", 0.02, "At most 2 % of the events carry no readable identifier."),
        at_most("share_without_subject", 0.1, "At most 10 % of the events of people count for nobody."),
        at_most("share_of_robots", 0.2, "At most 20 % of the events come from robots."),
        at_most("share_of_rejects", 0.02, "At most 2 % of what is sent cannot become an event."),
    )
    return Suite(
        "events",
        "what arrives",
        (
            Batch("events", scope.sql(_ROWS), rows),
            Batch("figures", scope.sql(_FIGURES), figures),
        ),
    )
