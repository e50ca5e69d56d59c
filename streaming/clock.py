"""Time as a thing that is passed in: the real clock, and one that a test moves by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What time it is. `now_ns` is for stamping (it may be set back by an operator), `monotonic_ns` for measuring."""

    def now_ns(self) -> int:
        """Unix epoch nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class VirtualClock:
    """A clock that moves only when told to, so that a test of an hour takes no time. Thread-safe."""

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            return self._now_ns

    def monotonic_ns(self) -> int:
        with self._lock:
            return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks ahead. Raises: ValueError: seconds is negative (see `set_wall`)."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back; use set_wall to set the wall clock back")
        step_ns = round(seconds * NS_PER_S)
        with self._lock:
            self._now_ns += step_ns
            self._monotonic_ns += step_ns

    def set_wall(self, now_ns: int) -> None:
        """Set the wall clock alone, back or ahead, as an operator or NTP would."""
        with self._lock:
            self._now_ns = now_ns
