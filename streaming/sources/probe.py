"""Can this address be opened? One clear sentence, for `vigild doctor` and for whoever adds a camera."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .base import Limits
from .errors import SourceError
from .redact import redact
from .registry import open_source


@dataclass(frozen=True, slots=True)
class Probed:
    """
    ok: a picture came.  text: one sentence, without credentials.
    width, height: of the picture as sent; 0 without one.  took_ms: until it was there as RGB.
    retryable: without a picture, whether time alone may cure it.
    """

    ok: bool
    text: str
    width: int = 0
    height: int = 0
    took_ms: float = 0.0
    retryable: bool = False


def probe(url: str, *, limits: Limits | None = None, media_dir: Path | None = None) -> Probed:
    """Open an address, take one picture and close it. Blocks for up to the open and read time-outs together."""
    began = time.perf_counter()
    try:
        with closing(open_source(url, fps=1.0, limits=limits, media_dir=media_dir).frames()) as frames:
            picture = next(frames, None)
            if picture is None:
                return Probed(ok=False, text=f"{redact(url)} ended without a picture")
            picture.image()
            width, height = picture.size
    except SourceError as error:
        return Probed(ok=False, text=error.reason, retryable=error.retryable)
    took_ms = (time.perf_counter() - began) * 1e3
    return Probed(
        ok=True,
        text=f"{redact(url)} gives {width}x{height} pictures, the first after {took_ms:.0f} ms",
        width=width,
        height=height,
        took_ms=took_ms,
    )
