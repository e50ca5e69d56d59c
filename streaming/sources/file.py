"""`file:clip.mp4?loop=1`: a recording inside the media folder, played at its own speed."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path

from .address import flag, parse_local
from .base import Opening, Picture
from .decode import Playback, Reading
from .errors import SourceEnded, SourceRefused
from .ffmpeg import Target, opened

SCHEMES = ("file",)

# containers that hold video and lead nowhere else: no playlists, no concat, no session descriptions
FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "asf", "ogg"),
    *("h264", "hevc", "mjpeg", "mpegvideo", "m4v", "ivf", "obu", "mxf", "nut", "yuv4mpegpipe"),
)


class FileSource:
    """One file, judged again at every opening, because files come and go."""

    def __init__(self, url: str, opening: Opening) -> None:
        local = parse_local(url, known={"loop"})
        self._url = url
        self._name = local.name
        self._loop = flag(local.options, "loop")
        self._opening = opening
        self._closing = threading.Event()
        resolve(self._name, opening.media_dir)

    def frames(self) -> Generator[Picture, None, None]:
        path = resolve(self._name, self._opening.media_dir)
        target = Target(f"file:{path}", shown=f"file:{self._name}", protocols=("file",), formats=FORMATS, remote=False)
        reading = Reading(target, self._opening.limits, self._opening.clock, self._closing)
        playback = Playback(reading)
        while not self._closing.is_set():
            check_readable(path, self._name)
            try:
                with opened(target, self._opening.limits) as source:
                    yield from playback.once(source)
            except SourceEnded:
                if not self._loop:
                    raise
            if not self._loop:
                return

    def close(self) -> None:
        self._closing.set()


open_url = FileSource


def resolve(name: str, media_dir: Path | None) -> Path:
    """
    The real path of a name inside the media folder, which need not exist yet.

    Raises: SourceRefused: there is no media folder, or the name leads out of it, through .., a leading slash or a link.
    """
    if media_dir is None:
        raise SourceRefused("file: sources are off: no media folder is configured (media_dir)")
    root = media_dir.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise SourceRefused(f"file:{name} is outside the media folder")
    return path


def check_readable(path: Path, name: str) -> None:
    """Raises: SourceRefused: missing, a folder or device, empty, or without permission to read."""
    try:
        regular, size = path.is_file(), path.stat().st_size
        if regular and size:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise SourceRefused(f"file:{name} does not exist in the media folder") from error
    except OSError as error:
        raise SourceRefused(f"file:{name} cannot be read: {error.strerror}") from error
    if not regular:
        raise SourceRefused(f"file:{name} is not a regular file")
    if not size:
        raise SourceRefused(f"file:{name} is empty (0 bytes)")
