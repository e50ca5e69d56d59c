"""How many messages a client may send: a token bucket."""

from __future__ import annotations


class Bucket:
    """Allows `burst` messages at once, `rate_per_s` in the long run. Pure: the time is passed in, and only grows."""

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """True when one more message is allowed now; it is then counted."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
