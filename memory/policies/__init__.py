"""Memory policies, found by module name: `create("window", sinks=4)`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

from .base import Policy, room_for

__all__ = ["Policy", "create", "kinds", "room_for"]


def kinds() -> tuple[str, ...]:
    """The names of all policies."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base"))


def create(kind: str, **options: Any) -> Policy:
    """The policy of the module `kind` with its options. Raises: ValueError: unknown kind, or an option out of range."""
    if kind not in kinds():
        raise ValueError(f"no memory policy '{kind}'; there are: {', '.join(kinds())}")
    module = importlib.import_module(f"{__name__}.{kind}")
    try:
        return cast("Policy", module.POLICY(**options))
    except TypeError as error:  # an option that the policy does not have
        raise ValueError(f"memory policy '{kind}': {error}") from error
