"""
What a memory policy is: a decision over what is known about the rows, and over figures of their keys and values.

One file per policy; the module's name is its configuration `kind`, and it names its class as `POLICY`.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from memory.rows import Rows
from memory.types import Compaction, TokenMeta


class Policy(Protocol):
    """
    Decides which rows stay. Holds settings only, no state of a camera.

    archives: whether rows that leave go to host memory, from where questions may fetch them.
    """

    kind: ClassVar[str]
    archives: ClassVar[bool]

    def compact(self, meta: TokenMeta, budget: int, rows: Rows, /) -> Compaction:
        """
        The rows to keep so that at most `budget` remain; PROMPT rows always stay.

        Args:
            meta: every row of one camera, oldest first.
            budget: the most rows that may remain; at least the number of PROMPT rows.
            rows: figures about keys and values on the device; each that is asked for synchronises once.
        Raises: ValueError: `budget` is below the pinned rows.
        """
        ...


def room_for(incoming: int, *, used: int, budget: int, low: float) -> int | None:
    """
    To how many rows a memory must be compacted before `incoming` rows are appended; None when they fit as it is.

    The high watermark is the budget itself; the low one, `low` * budget after appending, keeps compaction rare.
    """
    if used + incoming <= budget:
        return None
    return max(0, min(budget, int(budget * low)) - incoming)
