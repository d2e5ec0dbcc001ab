"""Every metric of the product: its name, what it counts or measures, and in what unit.

Invariant: no metric is made anywhere from another definition; labels are error codes, routes, statuses and names of
steps, never a workspace, an id or anything of a person.
"""

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric. Counters only grow (Prometheus adds `_total`); a histogram is observed in its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: Final = (
    # the collector, at its /metrics
    Metric("kintsugi_collector_accepted_events", "counter", "events", "Events that are durable in the log"),
    Metric("kintsugi_collector_rejected_events", "counter", "events",
           "Events of readable requests that were kept as rejects", ("code",)),
    Metric("kintsugi_collector_refused_requests", "counter", "requests",
           "Requests of which nothing was taken", ("code",)),
    Metric("kintsugi_collector_received_bytes", "counter", "bytes", "Bodies as they were sent, packed or not"),
    Metric("kintsugi_collector_ack_seconds", "histogram", "seconds", "Handover to the log until it was durable", (),
           (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
    # the query API, at its /metrics
    Metric("kintsugi_query_request_seconds", "histogram", "seconds", "Time to answer a request", ("route", "status"),
           (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)),
    Metric("kintsugi_query_identifiers", "counter", "identifiers", "Distinct identifiers of each request, summed"),
    Metric("kintsugi_query_questions", "counter", "questions", "Questions put to the store for those requests"),
    # measured by the supervisor, shown at the query API's /metrics and by `kintsugi status`
    Metric("kintsugi_measured_seconds", "gauge", "seconds since 1970", "When what follows was last measured"),
    Metric("kintsugi_stored_events", "gauge", "events",
           "Rows of events in the store; repeats count until a merge has joined them"),
    Metric("kintsugi_stored_rejects", "gauge", "rejects", "Rejects in the store", ("code",)),
    Metric("kintsugi_profiles", "gauge", "profiles", "Golden records in force"),
    Metric("kintsugi_lag_segments", "gauge", "segments",
           "Closed stretches of the log that are not in the profiles yet"),
    Metric("kintsugi_lag_seconds", "gauge", "seconds", "Age of the oldest of them"),
    Metric("kintsugi_event_to_profile_seconds", "gauge", "seconds",
           "From closing a stretch of the log until its last event was in the profiles, at the last measurement"),
    Metric("kintsugi_identifiers", "gauge", "identifiers", "Rows of identifiers in the store"),
    Metric("kintsugi_excluded_identifiers", "gauge", "identifiers",
           "Identifiers that do not cluster under the rules in force", ("reason",)),
    Metric("kintsugi_refused_links", "gauge", "links", "Links that the rules in force refuse", ("reason",)),
    Metric("kintsugi_largest_profile", "gauge", "identifiers", "Identifiers of the largest profile in force"),
    Metric("kintsugi_step_busy_share", "gauge", "share",
           "Share of the last second in which a step of the job worked; `score` is the score cycle", ("step",)),
    Metric("kintsugi_job_running", "gauge", "boolean", "1 while every task of the job runs"),
    Metric("kintsugi_job_restarts", "gauge", "restarts", "Restarts of the job since it was last submitted"),
    Metric("kintsugi_checkpoint_age_seconds", "gauge", "seconds", "Age of the newest complete checkpoint"),
    Metric("kintsugi_balance_accepted_events", "gauge", "records",
           "Distinct events and rejects that the log accepted in the last minutes, by reading it"),
    Metric("kintsugi_balance_landed_events", "gauge", "records", "Those of them that are events in the store"),
    Metric("kintsugi_balance_rejected_events", "gauge", "records", "Those of them that are rejects in the store"),
    Metric("kintsugi_balance_in_flight_events", "gauge", "records", "Those of them that the job has yet to finish"),
    Metric("kintsugi_balance_difference", "gauge", "records",
           "Accepted less landed, rejected and in flight: anything but 0 was lost"),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}
