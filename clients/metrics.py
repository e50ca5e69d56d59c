"""
The gateway's counters, in Prometheus' form.

No label takes a value that a client can invent, so that the number of series is bounded by what stands in this file.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .messages import CAMERA_STATES


class Metrics:
    """One registry with everything the client side counts; one instance a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clients = Gauge("vigil_clients", "WebSocket connections open now", ["protocol"], registry=self.registry)
        self.requests = Counter("vigil_requests", "Requests answered", ["type", "outcome"], registry=self.registry)
        self.malformed = Counter("vigil_malformed_messages", "Messages that were no request", registry=self.registry)
        self.malformed_lossy = Counter(
            "vigil_malformed_lossy", "Lossy messages of the worker passed over", registry=self.registry
        )
        self.sent = Counter("vigil_sent_messages", "Messages sent to clients", ["protocol"], registry=self.registry)
        self.sent_bytes = Counter(
            "vigil_sent_bytes", "Bytes of messages sent to clients", ["protocol"], registry=self.registry
        )
        self.dropped = Counter(
            "vigil_dropped_messages", "Lossy messages not sent to slow clients", ["topic"], registry=self.registry
        )
        self.closed = Counter("vigil_closed", "Connections that the daemon closed", ["code"], registry=self.registry)
        self.events = Counter("vigil_events", "Durable events published", ["kind"], registry=self.registry)
        self.event_delay_s = Histogram(
            "vigil_event_delay_seconds",
            "From the emission of an event to its publication here",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60),
            registry=self.registry,
        )
        self.head = Gauge("vigil_head_seq", "The newest event published", registry=self.registry)
        self.cameras = Gauge("vigil_cameras", "Cameras by state, when last asked", ["state"], registry=self.registry)
        self.store_up = Gauge("vigil_store_up", "1 while the store answers", registry=self.registry)

    def show_cameras(self, by_state: Mapping[str, int]) -> None:
        """How many cameras are in each state."""
        for state in CAMERA_STATES:
            self.cameras.labels(state).set(by_state.get(state, 0))

    def exposition(self) -> bytes:
        """The text of `GET /metrics`."""
        return generate_latest(self.registry)
