"""A slot for one frame between a decoder's thread and whoever uses it: the latest wins, every loss is counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from .types import Frame


@dataclass(frozen=True, slots=True)
class MailboxCounters:
    """put == taken + dropped + (1 if a frame waits, else 0), always."""

    put: int = 0
    taken: int = 0
    dropped: int = 0


class Mailbox:
    """
    Holds at most one frame. `put` and `take` may be called from any thread; neither blocks beyond a short lock.

    A frame that is replaced before it was taken is dropped and counted; the next frame taken carries the number of
    frames lost before it in `dropped_before` (added to what the frame already said).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._lost = 0  # dropped since the last take
        self._counters = MailboxCounters()

    def put(self, frame: Frame) -> bool:
        """Leave a frame, replacing one that waits. Returns: True when the slot was empty, so nothing was lost."""
        with self._lock:
            replaced = self._frame
            count = self._counters
            self._frame = frame
            if replaced is not None:
                self._lost += 1 + replaced.dropped_before
                count = replace(count, dropped=count.dropped + 1)
            self._counters = replace(count, put=count.put + 1)
            return replaced is None

    def take(self) -> Frame | None:
        """Take the waiting frame, or None. What was lost before it is in its `dropped_before`."""
        with self._lock:
            frame = self._frame
            if frame is None:
                return None
            if self._lost:
                frame = replace(frame, dropped_before=frame.dropped_before + self._lost)
            self._frame = None
            self._lost = 0
            self._counters = replace(self._counters, taken=self._counters.taken + 1)
            return frame

    def peek_pts_ns(self) -> int | None:
        """When the waiting frame was taken by the camera (Unix epoch ns), or None; for a scheduler's deadlines."""
        with self._lock:
            return None if self._frame is None else self._frame.pts_ns

    @property
    def counters(self) -> MailboxCounters:
        """A consistent snapshot."""
        with self._lock:
            return self._counters
