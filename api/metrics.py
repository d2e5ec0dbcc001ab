"""Metrics of a process, made from their definitions in `schemas.metrics`; and what the collector counts."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from schemas.metrics import BY_NAME


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """The counter that is defined under this name."""
    metric = BY_NAME[name]
    return Counter(name, f"{metric.meaning} ({metric.unit})", metric.labels, registry=registry)


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    """The histogram that is defined under this name."""
    metric = BY_NAME[name]
    meaning = f"{metric.meaning} ({metric.unit})"
    return Histogram(name, meaning, metric.labels, buckets=metric.buckets, registry=registry)


class Metrics:
    """Counters of one collector; they name no workspace, no key and no person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = counter("kintsugi_collector_accepted_events", self.registry)
        self.rejected = counter("kintsugi_collector_rejected_events", self.registry)
        self.refused = counter("kintsugi_collector_refused_requests", self.registry)
        self.bytes = counter("kintsugi_collector_received_bytes", self.registry)
        self.ack_seconds = histogram("kintsugi_collector_ack_seconds", self.registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
