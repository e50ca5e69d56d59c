"""
Drop rules, found by module name: `create("feature", threshold=0.25)`.

A camera is given one rule of each stage at most, joined by a plus: `stages("pixel+dtdr")`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from .base import Drop, Stage

__all__ = ["Drop", "Stages", "create", "kinds", "stages"]


@dataclass(frozen=True, slots=True)
class Stages:
    """The rules that a camera's frames pass, in this order; without one on pixels every frame is encoded."""

    pixels: Drop | None
    features: Drop

    @property
    def key_s(self) -> float:
        """Seconds after which a frame is kept whole: the shortest that one of them asks for; 0 is never."""
        rules = [rule for rule in (self.pixels, self.features) if rule is not None]
        return min((rule.key_s for rule in rules if rule.key_s), default=0.0)


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


def stages(names: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> Stages:
    """
    The rules of `names`, joined by "+", with the options of each kind.

    Raises: ValueError: as `create`, or two rules of one stage.
    """
    found: dict[Stage, Drop] = {}
    for name in names.split("+"):
        rule = create(name, **(options or {}).get(name, {}))
        if (other := found.get(rule.stage)) is not None:
            raise ValueError(f"drop '{names}': '{other.kind}' and '{name}' both look at {rule.stage}; name one of them")
        found[rule.stage] = rule
    return Stages(found.get(Stage.PIXELS), found.get(Stage.FEATURES) or create("none"))
