"""`v4l2:/dev/video0?size=1280x720`: a camera plugged into this machine (Linux)."""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Generator
from pathlib import Path

from .address import parse_local
from .base import Opening, Picture
from .decode import Reading, live
from .errors import SourceLost, SourceRefused
from .ffmpeg import Target, check_size, opened

SCHEMES = ("v4l2",)

_DEVICE = re.compile(r"(?://)?(/dev/(?:video\d+|v4l/by-(?:id|path)/[\w:.-]+))")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class V4l2Source:
    """A video device; only names that video devices have are accepted, so no other file can be opened through it."""

    def __init__(self, url: str, opening: Opening) -> None:
        local = parse_local(url, known={"size"})
        matched = _DEVICE.fullmatch(local.name)
        if matched is None:
            raise SourceRefused(f"v4l2:{local.name} is no video device; write v4l2:/dev/video0")
        options: dict[str, str] = {}
        if "size" in local.options:
            size = _SIZE.fullmatch(local.options["size"])
            if size is None:
                raise SourceRefused(f"option size must look like 1280x720, not {local.options['size']!r}")
            check_size(int(size[1]), int(size[2]), opening.limits)
            options["video_size"] = size[0]
        self._device = Path(matched[1])
        self._closing = threading.Event()
        target = Target(
            matched[1], shown=url, protocols=("file",), formats=None, format="v4l2", options=options, remote=False
        )
        self._reading = Reading(target, opening.limits, opening.clock, self._closing)

    def frames(self) -> Generator[Picture, None, None]:
        check_device(self._device)
        with opened(self._reading.target, self._reading.limits) as source:
            yield from live(source, self._reading)

    def close(self) -> None:
        self._closing.set()


open_url = V4l2Source


def check_device(device: Path) -> None:
    """Raises: SourceLost: not plugged in. SourceRefused: no device, or no permission."""
    try:
        mode = device.stat().st_mode
    except FileNotFoundError as error:
        raise SourceLost(f"{device} is not there; is the camera plugged in?") from error
    except OSError as error:
        raise SourceRefused(f"{device} cannot be used: {error.strerror}") from error
    if not stat.S_ISCHR(mode):
        raise SourceRefused(f"{device} is not a video device")
