"""What the collector counts: every metric, with its meaning, in one place."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


class Metrics:
    """Counters of one collector; they name no workspace, no key and no person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "kintsugi_collector_accepted_events", "Events that are durable in the log", registry=self.registry
        )
        self.rejected = Counter(
            "kintsugi_collector_rejected_events",
            "Events kept as rejects, by error code",
            ["code"],
            registry=self.registry,
        )
        self.refused = Counter(
            "kintsugi_collector_refused_requests",
            "Requests of which nothing was taken, by error code",
            ["code"],
            registry=self.registry,
        )
        self.bytes = Counter(
            "kintsugi_collector_received_bytes", "Bytes of bodies as sent", registry=self.registry
        )
        self.ack_seconds = Histogram(
            "kintsugi_collector_ack_seconds",
            "Time from the handover to the log until it was durable",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
