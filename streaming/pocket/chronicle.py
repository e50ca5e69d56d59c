"""What a scene has shown up to a moment, picture by picture: what questions about change and past are judged by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from .types import SEEN, UNSEEN, Colour, Event, Happening, Kind, Sighting, Truth


@dataclass(slots=True)
class Chronicle:
    """
    Grows by `add`, one truth per picture shown, oldest first.

    events: all changes of the scene, in time; those after the newest picture are not told to anyone.
    recent_s: how long pictures are kept.
    """

    events: tuple[Event, ...]
    recent_s: float = 6.0
    truths: list[Truth] = field(default_factory=list)
    _first: dict[int, Sighting] = field(default_factory=dict)  # by thing, in the order of their first sure sighting
    _hinted: dict[int, Kind] = field(default_factory=dict)  # things of which only a part was ever to be seen
    _seen_s: dict[int, float] = field(default_factory=dict)  # when each thing was last surely seen

    def add(self, truth: Truth) -> None:
        self.truths.append(truth)
        while self.truths[0].t_s < truth.t_s - self.recent_s:
            self.truths.pop(0)
        for one in truth.sightings:
            if one.visible >= SEEN:
                self._first.setdefault(one.thing, one)
                self._hinted.pop(one.thing, None)
                self._seen_s[one.thing] = truth.t_s
            elif one.visible > UNSEEN and one.thing not in self._first:
                self._hinted[one.thing] = one.kind

    @property
    def now(self) -> Truth:
        return self.truths[-1]

    def first_seen(self, kinds: Collection[Kind]) -> list[Sighting] | None:
        """Each thing of these kinds once, in the order they came; None where one was only ever seen in part."""
        if any(kind in kinds for kind in self._hinted.values()):
            return None
        return [one for one in self._first.values() if one.kind in kinds]

    def showed(self, event: Event) -> bool:
        """Whether the pictures show what happened to whom."""
        if event.thing is None:
            return True
        if event.what in (Happening.CAME, Happening.DROPPED):
            return any(one.thing == event.thing and one.visible >= SEEN for one in self.now.sightings)
        return self._seen_s.get(event.thing, -1e9) > event.t_s - 2.5

    def last_taken(self) -> Colour | str | None:
        """The colour of the bag that was taken, "" where none was, None where that was not to be seen."""
        taken = [event for event in self.events if event.what is Happening.TAKEN and event.t_s < self.now.t_s]
        if not taken:
            return ""
        if taken[-1].t_s > self.now.t_s - 0.6 or not all(self.showed(event) for event in taken):
            return None
        return taken[-1].colour
