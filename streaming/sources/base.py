"""
What every kind of source is: an address that is opened on a thread of its own and gives pictures until it ends.

A kind is one module of this folder that defines `SCHEMES` and `open_url`; its name is the configuration kind.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..clock import Clock
from ..types import Image


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of a source is let in, and how long it is waited for.

    open_timeout_s: from the first packet to the address until the stream's format is known.
    read_timeout_s: without a single picture for this long, the connection counts as lost.
    stale_s: without a picture for this long, while the connection stands, the camera is `stale`; above max_lag_s.
    max_pixels: width x height above which a picture is refused before it is decoded or converted.
    convert_max_pixels: larger pictures are scaled down to this while they are converted to RGB.
    max_input_fps: frames per media second above which a source is refused.
    max_lag_s: a live source this far behind drops undecoded packets up to the next key frame.
    max_decode_errors: this many broken packets in a row end the connection.
    retry_first_s, retry_max_s: wait before a reconnection; doubles from the first to the most, with jitter.
    retry_failed_s: the same where a person must act; never above 60.
    """

    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    stale_s: float = 5.0
    max_pixels: int = 7680 * 4320
    convert_max_pixels: int = 1920 * 1080
    max_input_fps: float = 125.0
    max_lag_s: float = 2.0
    max_decode_errors: int = 100
    retry_first_s: float = 0.5
    retry_max_s: float = 30.0
    retry_failed_s: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if self.retry_failed_s > 60:
            raise ValueError("retry_failed_s must be at most 60")
        if self.retry_first_s > self.retry_max_s:
            raise ValueError("retry_first_s must not be above retry_max_s")


class Picture(Protocol):
    """One decoded picture, not yet converted: `image()` costs the conversion, so call it for sampled ones only."""

    @property
    def pts_ns(self) -> int | None:
        """Media time, nanoseconds from an arbitrary start; None where the source gives none."""
        ...

    @property
    def age_ns(self) -> int:
        """How long ago the camera took it, as far as the timestamps tell; 0 or more."""
        ...

    @property
    def keyframe(self) -> bool: ...

    @property
    def skipped(self) -> int:
        """How many pictures right before this one were passed over undecoded, because the reader was late."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as sent, before any scaling."""
        ...

    def image(self) -> Image:
        """The picture as RGB, uint8 [height, width, 3], of at most `convert_max_pixels`. Allocates it."""
        ...


class Source(Protocol):
    """An address that was judged sound. Nothing is opened before `frames` is iterated."""

    def frames(self) -> Generator[Picture, None, None]:
        """
        Open, then yield every picture in order at the source's own pace; blocks. The end of the iterator is the end
        of the source (a file without loop). Everything opened is closed when the iterator is closed or exhausted.

        Raises: SourceError.
        """
        ...

    def close(self) -> None:
        """
        Ask `frames` to end, from any thread; returns at once. A wait for the pace ends at once, a blocked read or open
        within its time-out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What a kind needs beside the address to open a source."""

    fps: float
    limits: Limits
    clock: Clock
    media_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture that is there already, or drawn on demand."""

    pts_ns: int | None
    size: tuple[int, int]
    draw: DrawImage = field(repr=False, compare=False)
    age_ns: int = 0
    keyframe: bool = True
    skipped: int = 0

    def image(self) -> Image:
        return self.draw()


class DrawImage(Protocol):
    def __call__(self) -> Image: ...
