"""
How a camera stands, decided from what happened to its connection; pure, so that hours of trouble test in no time.

    connecting ── picture ──▶ live ◀── picture ── stale     stale: a connection that was live sends no picture
        │                     │ └──── stale_s ─────▲        offline: no connection; comes back by itself
       lost ──────────────── lost                           failed: no connection; a person must act
        ▼                     ▼                             ended: a file without loop; final
    offline / failed ── picture ──▶ live
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import NS_PER_S
from ..types import CameraState


@dataclass(frozen=True, slots=True)
class Status:
    """
    Where a camera stands now.

    reason: one sentence without credentials, or None where the state says it all.
    gap: (from_ns, to_ns), Unix epoch ns: the pictures on both sides of an interruption; set only when it is over.
    fps_in, width, height: what the source sends; 0 while unknown.
    """

    camera: str
    state: CameraState
    reason: str | None = None
    gap: tuple[int, int] | None = None
    fps_in: float = 0.0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A state that was entered."""

    state: CameraState
    reason: str | None = None
    gap: tuple[int, int] | None = None


class Health:
    """
    The state machine above. Every method takes monotonic `now_ns` and returns what changed, or None.

    Not thread-safe: its owner calls it under a lock.
    """

    def __init__(self, *, stale_s: float) -> None:
        self._stale_s = stale_s
        self._stale_ns = round(stale_s * NS_PER_S)
        self.state = CameraState.CONNECTING
        self._reason: str | None = None
        self._quiet_since_ns: int | None = None  # newest picture of the connection that stands
        self._last_ts_ns: int | None = None  # wall time of the newest picture
        self._interrupted = False

    def picture(self, ts_ns: int, now_ns: int) -> Change | None:
        """A picture taken at `ts_ns` (Unix epoch) came."""
        gap = (self._last_ts_ns, ts_ns) if self._interrupted and self._last_ts_ns is not None else None
        self._quiet_since_ns = now_ns
        self._last_ts_ns = ts_ns
        if self.state is CameraState.LIVE:
            return None
        self._interrupted = False
        return self._enter(CameraState.LIVE, gap=gap)

    def check(self, now_ns: int) -> Change | None:
        """Has it been quiet for too long? Call at `deadline_ns` or later, from any thread that is not blocked."""
        deadline_ns = self.deadline_ns()
        if deadline_ns is None or now_ns < deadline_ns:
            return None
        self._interrupted = True
        return self._enter(CameraState.STALE, f"no picture for {self._stale_s:g} s while the connection stands")

    def deadline_ns(self) -> int | None:
        """When `check` must be called next, or None while nothing can turn stale."""
        if self._quiet_since_ns is None or self.state is CameraState.STALE:
            return None
        return self._quiet_since_ns + self._stale_ns

    def lost(self, reason: str, *, retryable: bool) -> Change | None:
        """The connection is gone, or could not be made."""
        self._quiet_since_ns = None
        self._interrupted = True
        return self._enter(CameraState.OFFLINE if retryable else CameraState.FAILED, reason)

    def ended(self, reason: str | None = None) -> Change | None:
        """The source came to its end."""
        self._quiet_since_ns = None
        return self._enter(CameraState.ENDED, reason)

    def _enter(
        self, state: CameraState, reason: str | None = None, gap: tuple[int, int] | None = None
    ) -> Change | None:
        if state is self.state and reason == self._reason:
            return None
        self.state, self._reason = state, reason
        return Change(state, reason, gap)
