"""
What can go wrong in the KV memory.

    KVError
     ├── PoolExhausted   every slab is taken
     ├── BudgetExceeded  rows were to be appended that do not fit
     └── IntegrityError  our own books do not balance: a defect of vigild
"""

from __future__ import annotations


class KVError(Exception):
    """The root."""


class PoolExhausted(KVError):
    """All `total` slabs of the pool are taken; close a camera or configure a larger pool."""

    def __init__(self, total: int) -> None:
        super().__init__(f"all {total} slabs are taken; close a camera or configure a larger pool")
        self.total = total


class BudgetExceeded(KVError):
    """`rows` more rows do not fit beside `used` rows in `budget`; compact first."""

    def __init__(self, *, rows: int, used: int, budget: int) -> None:
        super().__init__(f"{rows} rows do not fit beside {used} rows in a budget of {budget}; compact first")
        self.rows = rows
        self.used = used
        self.budget = budget


class IntegrityError(KVError):
    """The books of the pool do not balance."""
