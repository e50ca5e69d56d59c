"""
Scene changes, seen in the share of tokens that survive the drop.

ρ = kept / N of a frame; z = (ρ − median) / (1.4826·MAD + ε) over the last frames. The signal lies outside the KV
memory, so that compaction does not shift it.

Source: TimeChat-Online marks scene changes by valleys of the drop ratio; the robust score is ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """
    window: frames that the median and the MAD look back on. warmup: frames before the first change can be seen.
    z_on, rho_on: both must be passed to mark a change; z_off re-arms. epsilon: floor of the spread, in ρ.
    """

    window: int = 120
    warmup: int = 8
    z_on: float = 3.0
    z_off: float = 1.5
    rho_on: float = 0.15
    epsilon: float = 0.01
    cooldown_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Signal:
    """rho and z of one frame; change is True on the frame that begins a scene change."""

    rho: float
    z: float
    change: bool


class Trigger:
    """Watches one camera's ρ; O(window log window) a frame, a few microseconds."""

    __slots__ = ("_armed", "_last_ns", "_rhos", "_settings")

    def __init__(self, settings: TriggerSettings | None = None) -> None:
        self._settings = settings or TriggerSettings()
        self._rhos: deque[float] = deque(maxlen=self._settings.window)
        self._armed = True
        self._last_ns: int | None = None

    def observe(self, kept: int, total: int, frame_ns: int) -> Signal:
        """Take in one frame: `kept` of `total` tokens survived."""
        settings = self._settings
        rho = kept / total if total else 0.0
        z = self._score(rho)
        known = len(self._rhos) >= settings.warmup
        self._rhos.append(rho)
        if z < settings.z_off:
            self._armed = True
        cooling = self._last_ns is not None and frame_ns - self._last_ns < settings.cooldown_s * 1e9
        change = known and self._armed and not cooling and z > settings.z_on and rho > settings.rho_on
        if change:
            self._armed, self._last_ns = False, frame_ns
        return Signal(rho, z, change)

    def _score(self, rho: float) -> float:
        if not self._rhos:
            return 0.0
        middle = median(self._rhos)
        spread = median(abs(value - middle) for value in self._rhos)
        return (rho - middle) / (MAD_TO_SIGMA * spread + self._settings.epsilon)
