"""
Decisions about time, each a small state machine without a clock, a thread or a decoder.

All times are nanoseconds: `now_ns` of a monotonic clock, `pts_ns` of the media.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from ..clock import NS_PER_S


class PtsMap:
    """
    Tells how old a picture is, from its presentation time and when it arrived.

    The transport only ever delays, so the smallest (arrival - pts) seen lately is the best guess of the offset between
    the media clock and ours; what a picture exceeds it by is its age. A new offset may fall at once. It rises, to the
    smallest of a whole window, only when the reader spent a good part of that window waiting for the network: then
    there was no queue and the media clock is slow, or paused; otherwise it is us who are late, and that is age.
    A timestamp that steps back (wrap, camera reboot, a PTS set back an hour), or ahead of everything the offset
    allows, starts over: the picture counts as new. A missing timestamp counts as new too.
    """

    def __init__(self, *, window_s: float = 5.0, jump_s: float = 1.0, idle_share: float = 0.25) -> None:
        self._window_ns = round(window_s * NS_PER_S)
        self._jump_ns = round(jump_s * NS_PER_S)
        self._idle_share = idle_share
        self._offset_ns: int | None = None
        self._highest_ns = 0  # pts
        self._began_ns = 0  # of the window
        self._least_ns: int | None = None  # smallest (arrival - pts) in it
        self._waited_ns = 0  # in it
        self.jumps = 0

    def observe(self, pts_ns: int | None, now_ns: int, *, waited_ns: int = 0) -> int:
        """
        Learn from an arrival. waited_ns: how long the reader was blocked for it.

        Returns: the picture's age, 0 or more.
        """
        if pts_ns is None:
            return 0
        seen_ns = now_ns - pts_ns
        stepped_back = pts_ns < self._highest_ns - self._jump_ns
        self._highest_ns = pts_ns if stepped_back else max(pts_ns, self._highest_ns)
        if self._offset_ns is None:
            self._highest_ns = pts_ns
            self._start(seen_ns, now_ns)
        elif stepped_back or seen_ns < self._offset_ns - self._jump_ns:
            self.jumps += 1
            self._start(seen_ns, now_ns)
        else:
            self._learn(seen_ns, now_ns, waited_ns)
        return self.age_ns(pts_ns, now_ns)

    def age_ns(self, pts_ns: int | None, now_ns: int) -> int:
        """The age of a picture without learning from it: 0 or more, and 0 when nothing is known."""
        if pts_ns is None or self._offset_ns is None:
            return 0
        return max(0, now_ns - pts_ns - self._offset_ns)

    def restart(self) -> None:
        """Forget the offset: the next picture counts as new."""
        self._offset_ns = None

    def _start(self, seen_ns: int, now_ns: int) -> None:
        self._offset_ns = seen_ns
        self._began_ns, self._least_ns, self._waited_ns = now_ns, None, 0

    def _learn(self, seen_ns: int, now_ns: int, waited_ns: int) -> None:
        offset_ns = self._offset_ns
        assert offset_ns is not None
        self._least_ns = seen_ns if self._least_ns is None else min(self._least_ns, seen_ns)
        self._waited_ns += min(waited_ns, self._window_ns // 10)  # one long silence says nothing about the rest
        self._offset_ns = min(offset_ns, seen_ns)
        spent_ns = now_ns - self._began_ns
        if spent_ns >= self._window_ns:
            if self._waited_ns >= self._idle_share * spent_ns:
                self._offset_ns = self._least_ns
            self._began_ns, self._least_ns, self._waited_ns = now_ns, None, 0


class Sampler:
    """
    Picks pictures so that `fps` a second remain, on a grid that does not drift; a slower source keeps all it has.

    Takes the time of each picture on any steady clock. A step of that clock, either way, starts a new grid.
    """

    def __init__(self, fps: float) -> None:
        if not fps > 0:
            raise ValueError("fps must be above 0")
        self._period_ns = round(NS_PER_S / fps)
        self._slack_ns = self._period_ns // 20  # a 10.01 fps camera sampled at 10 must not lose every other frame
        self._due_ns: int | None = None

    def take(self, ts_ns: int) -> bool:
        """True when this picture is to be used."""
        due_ns = self._due_ns
        if due_ns is None or ts_ns < due_ns - 2 * self._period_ns or ts_ns >= due_ns + self._period_ns:
            self._due_ns = ts_ns + self._period_ns
            return True
        if ts_ns < due_ns - self._slack_ns:
            return False
        self._due_ns = due_ns + self._period_ns
        return True


class Rate:
    """Pictures a second of media time, over the last whole stretch of `over_s`; 0.0 until there was one."""

    def __init__(self, *, over_s: float = 2.0) -> None:
        self._over_ns = round(over_s * NS_PER_S)
        self._start_ns: int | None = None
        self._count = 0
        self.fps = 0.0

    def add(self, ts_ns: int) -> float:
        """Count a picture. Returns: the rate now known."""
        if self._start_ns is None or ts_ns < self._start_ns:
            self._start_ns, self._count = ts_ns, 0
            return self.fps
        self._count += 1
        spent_ns = ts_ns - self._start_ns
        if spent_ns >= self._over_ns:
            self.fps = self._count * NS_PER_S / spent_ns
            self._start_ns, self._count = ts_ns, 0
        return self.fps


class Pacer:
    """
    Says how long to wait so that a recording plays at its own speed: the n-th picture is due at start + its PTS, so
    errors do not add up. A timestamp that steps back or leaps ahead, and a reader that fell behind by more than
    `slip_s`, move the start.
    """

    def __init__(self, *, slip_s: float = 1.0, leap_s: float = 10.0) -> None:
        self._slip_ns = round(slip_s * NS_PER_S)
        self._leap_ns = round(leap_s * NS_PER_S)
        self._start_ns: int | None = None  # now - pts of a picture in time
        self._last_ns = 0

    def wait_ns(self, pts_ns: int, now_ns: int) -> int:
        """How long to wait before showing this picture, 0 or more."""
        start_ns = self._start_ns
        stepped = start_ns is not None and not 0 <= pts_ns - self._last_ns <= self._leap_ns
        self._last_ns = pts_ns
        if start_ns is None or stepped or now_ns - (start_ns + pts_ns) > self._slip_ns:
            self._start_ns = now_ns - pts_ns
            return 0
        return max(0, start_ns + pts_ns - now_ns)


class Verdict(enum.Enum):
    """What to do with a packet of a live source."""

    DECODE = "decode"
    DROP = "drop"  # undecoded
    RESTART = "restart"  # decode; the delay turned out to be the source's pause and not ours: forget the offset
    RECONNECT = "reconnect"  # hopelessly behind


class Backlog:
    """
    Keeps a live source from lagging: when a packet is older than `max_lag_s`, drop without decoding, which is as fast
    as the network delivers, and go on at a key frame that is in time.

    A key frame that comes after `patience_s` of dropping and is as late as before shows that there was no queue: the
    source itself paused. Without any key frame for `give_up_s`, only a new connection brings one.
    """

    def __init__(self, *, max_lag_s: float, patience_s: float = 1.0, give_up_s: float = 10.0) -> None:
        self._max_lag_ns = round(max_lag_s * NS_PER_S)
        self._patience_ns = round(patience_s * NS_PER_S)
        self._give_up_ns = round(give_up_s * NS_PER_S)
        self._since: tuple[int, int] | None = None  # (now, age) when dropping began
        self.dropped = 0

    def packet(self, age_ns: int, now_ns: int, *, keyframe: bool) -> Verdict:
        if self._since is None:
            if age_ns <= self._max_lag_ns:
                return Verdict.DECODE
            self._since = (now_ns, age_ns)
        began_ns, age_then_ns = self._since
        dropping_ns = now_ns - began_ns
        if keyframe and age_ns <= self._max_lag_ns // 2:
            self._since = None
            return Verdict.DECODE
        if keyframe and dropping_ns >= self._patience_ns and age_ns > age_then_ns // 2:
            self._since = None
            return Verdict.RESTART
        if dropping_ns >= self._give_up_ns:
            return Verdict.RECONNECT
        self.dropped += 1
        return Verdict.DROP


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    first_s: float = 0.5
    max_s: float = 30.0
    jitter: float = 0.25  # share of the wait, up or down, so that cameras behind one switch do not return as one


class Backoff:
    """Waits before reconnecting: doubling, with jitter, never above `max_s`; starts over after `reset`."""

    def __init__(self, settings: BackoffSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._failures = 0

    def next_s(self) -> float:
        """The wait before the next attempt, in seconds."""
        chosen = self._settings
        doublings = min(self._failures, 32)
        self._failures += 1
        wait_s: float = min(chosen.first_s * 2.0**doublings, chosen.max_s)
        return min(wait_s * (1 + chosen.jitter * self._rng.uniform(-1, 1)), chosen.max_s)

    def reset(self) -> None:
        """Call when pictures flowed."""
        self._failures = 0
