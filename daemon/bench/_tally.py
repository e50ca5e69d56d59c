"""How many were right, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Z95: Final = 1.959963984540054  # of the normal distribution: 95 % lie within


@dataclass(frozen=True, slots=True)
class Tally:
    """right of asked."""

    right: int
    asked: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Tally:
        found = list(outcomes)
        return cls(sum(found), len(found))

    @property
    def accuracy(self) -> float:
        """Raises ZeroDivisionError where nothing was asked."""
        return self.right / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy. Source: Wilson 1927, without correction for continuity."""
        n, p = self.asked, self.accuracy
        centre = p + Z95**2 / (2 * n)
        reach = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        scale = 1 + Z95**2 / n
        low = 0.0 if self.right == 0 else (centre - reach) / scale  # exact where rounding would leave 1e-17
        high = 1.0 if self.right == n else (centre + reach) / scale
        return low, high

    def row(self) -> dict[str, int | float]:
        low, high = self.interval
        return {"right": self.right, "asked": self.asked, "accuracy": self.accuracy, "low95": low, "high95": high}
