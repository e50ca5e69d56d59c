"""
What one connection has subscribed to, and which events it has already been given.

Pure. Each interest knows where it begins (`start`, exclusive) and how far its events have been handed over (`covered`),
so that a later subscription may reach back in time without repeating what an earlier one has delivered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import Limit
from .messages import Event

MAX_INTERESTS = 512


@dataclass(slots=True)
class Interest:
    """One topic of some cameras (None: all but `without`), from the event after `start` on."""

    cameras: frozenset[str] | None
    start: int
    covered: int
    without: frozenset[str] = frozenset()

    def matches(self, camera: str | None) -> bool:
        if self.cameras is None:
            return camera not in self.without
        return camera in self.cameras

    def contains(self, cameras: frozenset[str] | None) -> bool:
        """True when every one of these cameras matches."""
        if self.cameras is None:
            return not (self.without if cameras is None else self.without & cameras)
        return cameras is not None and cameras <= self.cameras


class Interests:
    """The interests of one connection, by topic."""

    def __init__(self) -> None:
        self._by_topic: dict[str, list[Interest]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_topic.values()))

    def add(self, topics: Iterable[str], cameras: frozenset[str] | None, start: int) -> bool:
        """
        Want these from the event after `start` on; True when that is new. What is wanted already is not wanted twice.

        Raises: Limit: too many different subscriptions; nothing is added.
        """
        fresh = [
            topic
            for topic in dict.fromkeys(topics)
            if not any(have.start <= start and have.contains(cameras) for have in self._by_topic.get(topic, ()))
        ]
        if len(self) + len(fresh) > MAX_INTERESTS:
            raise Limit(f"a connection holds at most {MAX_INTERESTS} subscriptions; name more cameras in each")
        for topic in fresh:
            self._by_topic.setdefault(topic, []).append(Interest(cameras, start, covered=start))
        return bool(fresh)

    def remove(self, topics: Iterable[str], cameras: frozenset[str] | None) -> None:
        """Want these no longer."""
        for topic in topics:
            kept = [self._less(interest, cameras) for interest in self._by_topic.pop(topic, [])]
            if left := [interest for interest in kept if interest is not None]:
                self._by_topic[topic] = left

    @staticmethod
    def _less(interest: Interest, cameras: frozenset[str] | None) -> Interest | None:
        if cameras is None:
            return None
        if interest.cameras is None:
            interest.without |= cameras
            return interest
        interest.cameras -= cameras
        return interest if interest.cameras else None

    def cover(self, cursor: int) -> None:
        """Every event up to `cursor` has been handed over; the cursor is about to move back."""
        for interests in self._by_topic.values():
            for interest in interests:
                interest.covered = max(interest.covered, cursor)

    def want_event(self, event: Event) -> bool:
        """True when the event is subscribed to and was not handed over before."""
        asking = [
            interest
            for interest in self._by_topic.get(event.topic, ())
            if event.seq > interest.start and interest.matches(event.camera)
        ]
        return bool(asking) and all(event.seq > interest.covered for interest in asking)

    def want(self, topic: str, camera: str | None) -> bool:
        """True when the topic of this camera is subscribed to."""
        return any(interest.matches(camera) for interest in self._by_topic.get(topic, ()))
