"""
Clock times: between Unix epoch nanoseconds and what people write.

A `zone` of None is this machine's own, daylight saving included.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

NS = 1_000_000_000
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time, Unix epoch nanoseconds, both ends in it."""

    t0_ns: int
    t1_ns: int

    def meets(self, other: Stretch) -> bool:
        """Whether some moment lies in both."""
        return self.t0_ns <= other.t1_ns and other.t0_ns <= self.t1_ns

    def holds(self, t_ns: int) -> bool:
        return self.t0_ns <= t_ns <= self.t1_ns

    def widened(self, by_s: float) -> Stretch:
        """The same with `by_s` more at both ends."""
        return Stretch(self.t0_ns - round(by_s * NS), self.t1_ns + round(by_s * NS))


def local(t_ns: int, zone: tzinfo | None) -> datetime:
    """The moment on the clock of the zone, to the second."""
    return datetime.fromtimestamp(t_ns // NS, UTC).astimezone(zone)


def moment(day: date, at: time, zone: tzinfo | None) -> int:
    """The moment at which the clock of the zone shows this; the earlier one of two."""
    shown = datetime.combine(day, at)
    return round((shown.astimezone() if zone is None else shown.replace(tzinfo=zone)).timestamp()) * NS


def midnight(day: date, zone: tzinfo | None, *, later_h: int = 0) -> int:
    """Some hours after the day begins; hours past 24 are those of the next day."""
    return moment(day + timedelta(days=later_h // 24), time(later_h % 24), zone)
