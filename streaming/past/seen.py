"""When a camera was really seen: stretches of time between its gaps."""

from __future__ import annotations

from collections import deque

from .clock import Stretch

MOST = 256  # stretches remembered; what is older counts as not seen


class Seen:
    """One camera's, since its worker has it."""

    __slots__ = ("_cut", "_stretches")

    def __init__(self) -> None:
        self._stretches: deque[Stretch] = deque(maxlen=MOST)
        self._cut = True

    def add(self, frame_ns: int) -> None:
        """A frame was looked at. It continues the newest stretch, unless that was cut or lies later."""
        newest = self._stretches[-1] if self._stretches else None
        if newest is None or self._cut or frame_ns < newest.t1_ns:
            self._stretches.append(Stretch(frame_ns, frame_ns))
        else:
            self._stretches[-1] = Stretch(newest.t0_ns, frame_ns)
        self._cut = False

    def cut(self) -> None:
        """Between the last frame and the next one nothing was seen."""
        self._cut = True

    def within(self, held: Stretch) -> list[Stretch]:
        """The parts of `held` in which the camera was seen, oldest first."""
        parts = [
            Stretch(max(held.t0_ns, each.t0_ns), min(held.t1_ns, each.t1_ns))
            for each in self._stretches
            if each.meets(held)
        ]
        return sorted(parts, key=lambda part: part.t0_ns)
