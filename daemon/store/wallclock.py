"""The wall clock of the store's own records, where the caller has no event time to give."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Unix epoch milliseconds."""
    return time.time_ns() // 1_000_000
