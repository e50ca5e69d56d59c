"""The newest events of one process, encoded once for all who catch up: most of them were away for a moment only."""

from __future__ import annotations

from collections import deque

from .messages import Event
from .outbox import OutboxLimits
from .wire import MSGPACK, Outgoing

Said = tuple[Event, Outgoing]


class Recent:
    """
    As many of the newest events, without a hole between them, as one outbox may hold.

    Bytes are counted as msgpack; an event that was sent as JSON too, and itself, take some times as many.
    """

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._held: deque[tuple[Event, Outgoing, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, event: Event, message: Outgoing) -> None:
        """The next event; behind a hole everything older is forgotten."""
        if self._held and event.seq != self._held[-1][0].seq + 1:
            self.clear()
        size = len(message.encoded(MSGPACK))
        self._held.append((event, message, size))
        self._bytes += size
        while self._held and (len(self._held) > self._limits.events or self._bytes > self._limits.event_bytes):
            self._bytes -= self._held.popleft()[2]

    def after(self, seq: int, limit: int) -> list[Said]:
        """The events that follow `seq`, at most `limit`; none when the first of them is not held."""
        if not self._held or not self._held[0][0].seq <= seq + 1 <= self._held[-1][0].seq:
            return []
        first = seq + 1 - self._held[0][0].seq
        return [self._held[at][:2] for at in range(first, min(first + limit, len(self._held)))]

    def clear(self) -> None:
        self._held.clear()
        self._bytes = 0
