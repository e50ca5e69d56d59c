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
        made = {"registry": self.registry}
        self.clients = Gauge("vigil_clients", "WebSocket connections open now", ["protocol"], **made)
        self.requests = Counter("vigil_requests", "Requests answered", ["type", "outcome"], **made)
        self.malformed = Counter("vigil_malformed_messages", "Messages that were no request", **made)
        self.malformed_lossy = Counter("vigil_malformed_lossy", "Lossy messages of the worker passed over", **made)
        self.sent = Counter("vigil_sent_messages", "Messages sent to clients", ["protocol"], **made)
        self.sent_bytes = Counter("vigil_sent_bytes", "Bytes of messages sent to clients", ["protocol"], **made)
        self.dropped = Counter("vigil_dropped_messages", "Lossy messages not sent to slow clients", ["topic"], **made)
        self.closed = Counter("vigil_closed", "Connections that the daemon closed", ["code"], **made)
        self.events = Counter("vigil_events", "Durable events published", ["kind"], **made)
        self.event_delay_s = Histogram(
            "vigil_event_delay_seconds",
            "From the emission of an event to its publication here",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60),
            **made,
        )
        self.head = Gauge("vigil_head_seq", "The newest event published", **made)
        self.cameras = Gauge("vigil_cameras", "Cameras by state, when last asked", ["state"], **made)
        self.store_up = Gauge("vigil_store_up", "1 while the store answers", **made)

    def show_cameras(self, by_state: Mapping[str, int]) -> None:
        """How many cameras are in each state."""
        for state in CAMERA_STATES:
            self.cameras.labels(state).set(by_state.get(state, 0))

    def exposition(self) -> bytes:
        """The text of `GET /metrics`."""
        return generate_latest(self.registry)
