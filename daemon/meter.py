"""Small sliding measurements for counters and stats: pure, on a clock that the caller reads."""

from __future__ import annotations

from collections import deque


class Rate:
    """Events a second over the last `window_s` seconds."""

    __slots__ = ("_times_ns", "_window_ns")

    def __init__(self, window_s: float = 5.0, max_events: int = 1024) -> None:
        self._window_ns = int(window_s * 1e9)
        self._times_ns: deque[int] = deque(maxlen=max_events)

    def add(self, now_ns: int) -> None:
        self._times_ns.append(now_ns)

    def per_s(self, now_ns: int) -> float:
        while self._times_ns and self._times_ns[0] < now_ns - self._window_ns:
            self._times_ns.popleft()
        return len(self._times_ns) * 1e9 / self._window_ns


class Quantiles:
    """Quantiles of the last `size` values."""

    __slots__ = ("_values",)

    def __init__(self, size: int = 256) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        self._values.append(value)

    def at(self, q: float) -> float | None:
        """The q-quantile (0..1, nearest rank); None when nothing was measured."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Share:
    """
    A switch on a share of bad outcomes over the last `window_s`: on at `on` or more, off below `off`.

    Needs `least` outcomes in the window before it switches on. share: of the bad ones, after the last `add`.
    """

    __slots__ = ("_bad", "_good", "_least", "_off", "_on", "_outcomes", "_window_ns", "active", "share")

    def __init__(self, window_s: float, *, on: float, off: float, least: int = 8) -> None:
        self._window_ns = int(window_s * 1e9)
        self._on, self._off, self._least = on, off, least
        self._outcomes: deque[tuple[int, int, int]] = deque()  # time, good, bad
        self._good = self._bad = 0
        self.active = False
        self.share = 0.0

    def add(self, now_ns: int, *, good: int = 0, bad: int = 0) -> bool:
        """Take in outcomes; the switch after them. Old outcomes leave the window here."""
        self._outcomes.append((now_ns, good, bad))
        self._good += good
        self._bad += bad
        while self._outcomes[0][0] < now_ns - self._window_ns:
            _, old_good, old_bad = self._outcomes.popleft()
            self._good -= old_good
            self._bad -= old_bad
        total = self._good + self._bad
        self.share = self._bad / total if total else 0.0
        self.active = self.share >= self._off if self.active else total >= self._least and self.share >= self._on
        return self.active
