"""Drop rules, found by module name: `create("feature", threshold=0.25)`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

from .base import Drop

__all__ = ["Drop", "create", "kinds"]


def kinds() -> tuple[str, ...]:
    """The names of all rules."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


def create(kind: str, **options: Any) -> Drop:
    """The rule of the module `kind` with its options. Raises: ValueError: unknown kind, or an option out of range."""
    if kind not in kinds():
        raise ValueError(f"no drop rule '{kind}'; there are: {', '.join(kinds())}")
    module = importlib.import_module(f"{__name__}.{kind}")
    try:
        return cast("Drop", module.DROP(**options))
    except TypeError as error:  # an option that the rule does not have
        raise ValueError(f"drop rule '{kind}': {error}") from error
