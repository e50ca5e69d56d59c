"""Finds the kinds of source in this folder, and the one that an address belongs to."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from ..clock import Clock, SystemClock
from .address import scheme_of
from .base import Limits, Opening, Source
from .errors import SourceRefused


class Kind(Protocol):
    """A module that is a kind of source; its name is the configuration kind."""

    SCHEMES: tuple[str, ...]
    open_url: Callable[[str, Opening], Source]


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind of source by module name. Imports the modules of this folder, once."""
    package = __name__.rpartition(".")[0]
    found: dict[str, Kind] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"{package}.{info.name}")
        if hasattr(module, "SCHEMES"):
            found[info.name] = cast(Kind, module)
    return found


def open_source(
    url: str, *, fps: float, limits: Limits | None = None, media_dir: Path | None = None, clock: Clock | None = None
) -> Source:
    """
    Judge an address and make its source; opens nothing yet and does not block.

    fps: how often pictures will be used; a source that draws its own need not draw more often.
    media_dir: the only folder `file:` may read from; None forbids it.

    Raises: SourceRefused: no address, of no supported scheme, malformed, or outside the media folder.
    """
    scheme = scheme_of(url)
    for kind in kinds().values():
        if scheme in kind.SCHEMES:
            return kind.open_url(url, Opening(fps, limits or Limits(), clock or SystemClock(), media_dir))
    supported = sorted(scheme for kind in kinds().values() for scheme in kind.SCHEMES)
    raise SourceRefused(f"scheme {scheme!r} is not supported; supported are {', '.join(supported)}")
