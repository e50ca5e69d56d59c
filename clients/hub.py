"""
One process's fan-out of events to its connections: the synchronous core, without sockets and without a store.

A subscriber is *live* when it has been offered every event that the hub has seen, and *behind* when it must first be
given older ones. The shell around it (protocols/websocket.py) asks for pages for those that are behind: the hub gives
the newest events from memory (`recall`), the store the older ones, which are handed in with `replay`. To those that are
live the hub pushes. All move the same cursor, so that the change from one to the other neither loses nor repeats an
event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .interests import Interests
from .messages import LOSSY, Event
from .metrics import Metrics
from .outbox import Outbox, OutboxLimits
from .recent import Recent, Said
from .wire import Codec, Outgoing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is to be closed: the WebSocket close code, its reason, and a last message before it."""

    code: int
    reason: str
    last: Outgoing | None = None


GONE = Ending(1000, "the peer is gone")
SLOW = Ending(1013, "too slow: resume with subscribe after the last seq you have")
RESET = Ending(1013, "the store lost its newest events: subscribe again")


class Subscriber:
    """
    One connection as the hub sees it.

    cursor: every durable event up to here has been offered. `wake` is called after every change of the outbox or of
    `live`; `end` when the connection has to be closed.
    """

    def __init__(
        self,
        codec: Codec,
        limits: OutboxLimits,
        *,
        cursor: int,
        wake: Callable[[], None],
        end: Callable[[Ending], None],
    ) -> None:
        self.outbox = Outbox(codec, limits, wake)
        self.interests = Interests()
        self.cursor = cursor
        self.live = True
        self.end = end
        self._wake = wake

    def subscribe(self, topics: Iterable[str], cameras: frozenset[str] | None, after: int) -> None:
        """Want these topics from the event after `after` on. Raises Limit."""
        self.interests.cover(self.cursor)
        if self.interests.add(topics, cameras, after) and after < self.cursor:
            self.cursor = after
            self.fall_behind()

    def unsubscribe(self, topics: Iterable[str], cameras: frozenset[str] | None) -> None:
        """Want these no longer; those that wait already are taken back."""
        self.interests.remove(topics, cameras)
        self.outbox.keep_events(lambda event: self.interests.want(event.topic, event.camera))
        self.outbox.keep_lossy(lambda key: isinstance(key, tuple) and self.interests.want(key[0], key[1]))

    def fall_behind(self) -> None:
        self.live = False
        self._wake()

    def offer(self, event: Event, message: Outgoing) -> None:
        """The next event, from the hub. Ends the connection when too many wait."""
        if not self.live or event.seq <= self.cursor:
            return
        self._pass(event, message)
        if self.outbox.overflown:
            self.end(SLOW)

    def replay(self, events: Sequence[Event], *, head: int) -> None:
        """
        The page of events that follows the cursor, from the store. Becomes live when the cursor reaches `head`.

        An empty page does not make it live: the hub may have been given an event since the page was read.
        """
        self.catch_up([(event, Outgoing(event.as_message())) for event in events], head=head)

    def catch_up(self, page: Sequence[Said], *, head: int) -> None:
        """The same, of events that are shared with others."""
        for event, message in page:
            self._pass(event, message)
        if self.cursor >= head:
            self.live = True

    def trimmed(self, oldest: int, oldest_ts: int | None, now_ms: int) -> None:
        """The events between the cursor and `oldest` are gone: say so, and go on from there."""
        gap = {
            "type": "gap",
            "seq": oldest - 1,
            "event": f"e_trimmed_{oldest - 1}",
            "ts": now_ms,
            "from": None,
            "to": oldest_ts,
            "from_seq": self.cursor + 1,
            "to_seq": oldest - 1,
            "reason": "trimmed",
        }
        self.outbox.put_event(None, Outgoing(gap))
        self.cursor = oldest - 1

    def _pass(self, event: Event, message: Outgoing) -> None:
        self.cursor = event.seq
        if self.interests.want_event(event):
            self.outbox.put_event(event, message)


@dataclass(slots=True)
class Asker:
    """Who waits for an answer. Until its `result` is on the way, pieces that are early wait in `held`."""

    subscriber: Subscriber
    held: list[dict[str, Any]] | None = field(default_factory=list)


class Hub:
    """
    The subscribers of this process, and the way of each message to those who want it.

    head: the newest event seen by `publish`; events are published in order. limits: of each outbox, and of the events
    held in memory for those that catch up.
    """

    def __init__(self, head: int, limits: OutboxLimits, metrics: Metrics, *, max_asks: int = 4096) -> None:
        self.head = head
        self.limits = limits
        self.subscribers: set[Subscriber] = set()
        self._metrics = metrics
        self._recent = Recent(limits)
        self._askers: dict[str, Asker] = {}
        self._max_asks = max_asks

    def join(self, codec: Codec, *, wake: Callable[[], None], end: Callable[[Ending], None]) -> Subscriber:
        subscriber = Subscriber(codec, self.limits, cursor=self.head, wake=wake, end=end)
        self.subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)
        self._askers = {ask: asker for ask, asker in self._askers.items() if asker.subscriber is not subscriber}

    # durable

    def publish(self, events: Sequence[Event]) -> None:
        """The next events of the store, in order. Those seen before are passed over."""
        for event in events:
            if event.seq <= self.head:
                continue
            hole = event.seq > self.head + 1
            self.head = event.seq
            self._metrics.events.labels(event.kind).inc()
            message = Outgoing(event.as_message())
            for subscriber in list(self.subscribers):
                if hole and subscriber.live and subscriber.cursor < event.seq - 1:
                    subscriber.fall_behind()  # the store will tell what was in the hole, or that it was trimmed
                subscriber.offer(event, message)
            self._recent.add(event, message)
            if event.kind == "answer":
                self._answered(event)

    def recall(self, subscriber: Subscriber, limit: int) -> bool:
        """Give one that is behind the events that follow its cursor; False when they are not in memory."""
        page = self._recent.after(subscriber.cursor, limit)
        if page:
            subscriber.catch_up(page, head=self.head)
        return bool(page)

    def rewind(self, newest: int) -> None:
        """The store has come back older than it was: forget what it forgot."""
        self._recent.clear()
        log.error("the store went back from event %d to %d", self.head, newest)
        self.head = newest
        for subscriber in list(self.subscribers):
            if subscriber.cursor > newest:
                subscriber.end(RESET)

    # answers

    def expect_answer(self, ask: str, subscriber: Subscriber) -> None:
        """From now on, what is said about `ask` belongs to this subscriber. Held until `answer_may_flow`."""
        if len(self._askers) >= self._max_asks:
            del self._askers[next(iter(self._askers))]
        self._askers[ask] = Asker(subscriber)

    def answer_may_flow(self, ask: str) -> None:
        asker = self._askers.get(ask)
        if asker is not None:
            held, asker.held = asker.held or [], None
            for message in held:
                self._say(ask, asker, message)

    def forget_answer(self, ask: str) -> None:
        self._askers.pop(ask, None)

    def _answered(self, event: Event) -> None:
        ask = event.data.get("ask")
        asker = self._askers.get(ask) if isinstance(ask, str) else None
        if asker is not None and isinstance(ask, str):
            self._say(ask, asker, {"type": "answer.done", "camera": event.camera, **event.data})

    def _say(self, ask: str, asker: Asker, message: dict[str, Any]) -> None:
        if asker.held is not None:
            asker.held.append(message)
        elif message["type"] == "answer.delta":
            asker.subscriber.outbox.put_delta(ask, str(message.get("text", "")))
        else:
            asker.subscriber.outbox.put_done(ask, Outgoing(message))
            self.forget_answer(ask)

    # lossy

    def publish_lossy(self, message: dict[str, Any]) -> None:
        """
        A message of the lossy channel: {"topic": "stats|preview|heat|trace|delta", "camera": …, and the wire fields}.

        Anything else is passed over and counted.
        """
        topic, camera = message.get("topic"), message.get("camera")
        fields = {key: value for key, value in message.items() if key != "topic"}
        if topic == "delta":
            ask = message.get("ask")
            asker = self._askers.get(ask) if isinstance(ask, str) else None
            if asker is not None and isinstance(ask, str):
                self._say(ask, asker, fields | {"type": "answer.delta"})
            return
        if not isinstance(topic, str) or topic not in LOSSY or not isinstance(camera, str):
            self._metrics.malformed_lossy.inc()
            return
        key: Hashable = (topic, camera, str(message.get("rule", "")))
        shared = Outgoing({"type": topic, **fields})
        for subscriber in self.subscribers:
            if subscriber.interests.want(topic, camera) and not subscriber.outbox.put_lossy(topic, key, shared):
                self._metrics.dropped.labels(topic).inc()

    # the end

    def go_away(self, time_left_ms: int) -> None:
        """Tell every client that the process will end."""
        for subscriber in self.subscribers:
            subscriber.outbox.put_reply(Outgoing({"type": "go_away", "time_left_ms": time_left_ms}))

    def end_all(self, ending: Ending) -> None:
        for subscriber in list(self.subscribers):
            subscriber.end(ending)
