"""`rtsp://` and `rtsps://`: IP cameras, over one TCP connection so that no firewall or lost packet tears pictures."""

from __future__ import annotations

import threading
from collections.abc import Generator

from .address import check_host
from .base import Opening, Picture
from .decode import Reading, live
from .ffmpeg import Target, opened

SCHEMES = ("rtsp", "rtsps")


class RtspSource:
    """A camera that speaks RTSP; only its video is set up."""

    def __init__(self, url: str, opening: Opening) -> None:
        check_host(url)
        self._closing = threading.Event()
        target = Target(
            url,
            shown=url,
            protocols=("rtsp", "rtsps", "rtp", "tcp", "tls", "crypto"),
            formats=("rtsp", "rtp", "sdp"),
            format="rtsp",
            options={"rtsp_transport": "tcp", "allowed_media_types": "video"},
        )
        self._reading = Reading(target, opening.limits, opening.clock, self._closing)

    def frames(self) -> Generator[Picture, None, None]:
        with opened(self._reading.target, self._reading.limits) as source:
            yield from live(source, self._reading)

    def close(self) -> None:
        self._closing.set()


open_url = RtspSource
