"""
What waits to be sent to one client, in bounded memory.

Pure. Four kinds of message are treated differently when the client is slow:

    replies   results, errors, `answer.done`: few, since a client whose replies pile up is not read from
    deltas    text of answers: pending pieces of one answer are joined
    events    durable, in order, never dropped: past the bound the outbox overflows and the connection is to be closed
    lossy     only the latest of each kind and camera; the lost ones are counted and told with `lagged`
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from .messages import Event
from .wire import Codec, Outgoing


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """
    events, event_bytes: durable events that may wait for a client that has caught up once; as many of the newest are
        held for those that catch up.
    replies: results that may wait before no further request is read.
    lossy_keys: different lossy messages that may wait.
    """

    events: int = 2048
    event_bytes: int = 4 * 2**20
    replies: int = 64
    lossy_keys: int = 4096


@dataclass(slots=True)
class Delta:
    """Pieces of one answer that nobody has taken yet."""

    ask: str
    pieces: list[str]

    def message(self) -> Outgoing:
        return Outgoing({"type": "answer.delta", "ask": self.ask, "text": "".join(self.pieces)})


class Outbox:
    """
    A queue of encoded messages for one client. `wake` is called after every change that lets `take` yield something, or
    makes room.
    """

    def __init__(self, codec: Codec, limits: OutboxLimits, wake: Callable[[], None]) -> None:
        self.limits = limits
        self.dropped: Counter[str] = Counter()  # lossy messages by topic, since the last `lagged`
        self.event_bytes = 0
        self._codec = codec
        self._wake = wake
        self._replies: deque[Outgoing | Delta] = deque()
        self._deltas: dict[str, Delta] = {}
        self._events: deque[tuple[Event | None, bytes]] = deque()
        self._lossy: dict[Hashable, tuple[str, Outgoing]] = {}

    @property
    def events(self) -> int:
        """How many durable events wait."""
        return len(self._events)

    @property
    def waiting(self) -> bool:
        """True when `take` yields something."""
        return bool(self._replies or self._events or self._lossy or self.dropped)

    @property
    def room_for_replies(self) -> bool:
        return len(self._replies) < self.limits.replies

    @property
    def overflown(self) -> bool:
        """True when more durable events wait than may."""
        return self.events > self.limits.events or self.event_bytes > self.limits.event_bytes

    def put_reply(self, message: Outgoing) -> None:
        self._replies.append(message)
        self._wake()

    def put_delta(self, ask: str, text: str) -> None:
        delta = self._deltas.get(ask)
        if delta is None:
            delta = self._deltas[ask] = Delta(ask, [])
            self._replies.append(delta)
        delta.pieces.append(text)
        self._wake()

    def put_done(self, ask: str, message: Outgoing) -> None:
        """The end of an answer, after every piece of it."""
        self._deltas.pop(ask, None)  # it stays in its place, but grows no more
        self.put_reply(message)

    def put_event(self, event: Event | None, message: Outgoing) -> None:
        """A durable event, or (None) a message that belongs between two of them."""
        payload = message.encoded(self._codec)
        self._events.append((event, payload))
        self.event_bytes += len(payload)
        self._wake()

    def keep_events(self, wanted: Callable[[Event], bool]) -> None:
        """Take back the waiting events that are not wanted any more."""
        kept = deque(entry for entry in self._events if entry[0] is None or wanted(entry[0]))
        self._events, self.event_bytes = kept, sum(len(payload) for _, payload in kept)

    def put_lossy(self, topic: str, key: Hashable, message: Outgoing) -> bool:
        """Replaces a waiting message with the same key; False when one was lost by that, or this one has no place."""
        replaces, has_place = key in self._lossy, len(self._lossy) < self.limits.lossy_keys
        if replaces or has_place:
            self._lossy[key] = (topic, message)
        lost = replaces or not has_place
        if lost:
            self.dropped[topic] += 1
        self._wake()
        return not lost

    def keep_lossy(self, wanted: Callable[[Hashable], bool]) -> None:
        """Take back the waiting lossy messages whose key is not wanted any more."""
        self._lossy = {key: entry for key, entry in self._lossy.items() if wanted(key)}

    def take(self) -> bytes | None:
        """The payload to send next; None when nothing waits. Replies go first, lossy messages last."""
        payload = self._take()
        if payload is not None:
            self._wake()
        return payload

    def _take(self) -> bytes | None:
        if self._replies:
            reply = self._replies.popleft()
            if isinstance(reply, Delta):
                if self._deltas.get(reply.ask) is reply:
                    del self._deltas[reply.ask]
                reply = reply.message()
            return reply.encoded(self._codec)
        if self._events:
            _, payload = self._events.popleft()
            self.event_bytes -= len(payload)
            return payload
        if self.dropped:
            lost, self.dropped = dict(self.dropped), Counter()
            return self._codec.encode({"type": "lagged", "dropped": lost})
        if self._lossy:
            _, message = self._lossy.pop(next(iter(self._lossy)))
            return message.encoded(self._codec)
        return None

    def clear(self) -> None:
        """Forget everything; the connection is about to close."""
        self._replies.clear()
        self._deltas.clear()
        self._events.clear()
        self._lossy.clear()
        self.event_bytes = 0
