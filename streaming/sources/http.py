"""
`http://` and `https://`: MJPEG and MPEG-TS as they come, HLS and plain files at their own speed.

FFmpeg follows redirects and playlists, but only to the protocols named here: never to a local file.
"""

from __future__ import annotations

import errno
import http.client
import ssl
import threading
from collections.abc import Generator
from urllib.parse import urljoin, urlsplit

import av.error

from .address import check_host
from .base import Opening, Picture
from .decode import Playback, Reading, live
from .errors import SourceError, SourceLost, SourceRefused
from .ffmpeg import Opened, Target, opened
from .redact import redact

SCHEMES = ("http", "https")

PROTOCOLS = ("http", "https", "tcp", "tls", "crypto")
FORMATS = (
    *("mjpeg", "mpjpeg", "hls", "applehttp", "mpegts", "flv", "matroska", "webm"),
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "h264", "hevc"),
)
MAX_REDIRECTS = 8  # FFmpeg's own bound

# what FFmpeg answers for a redirect that never ends, one that leads astray, and a page that is no video
_UNCLEAR = frozenset({errno.EIO, errno.EINVAL, av.error.ErrorType.INVALIDDATA.value})


class HttpSource:
    """A web camera, an HLS playlist, or a video file behind a web address."""

    def __init__(self, url: str, opening: Opening) -> None:
        check_host(url)
        self._url = url
        self._limits = opening.limits
        self._closing = threading.Event()
        target = Target(url, shown=url, protocols=PROTOCOLS, formats=FORMATS)
        self._reading = Reading(target, opening.limits, opening.clock, self._closing)

    def frames(self) -> Generator[Picture, None, None]:
        opening = True
        try:
            with opened(self._reading.target, self._limits) as source:
                opening = False
                if is_recording(source):
                    yield from Playback(self._reading).once(source)
                    if source.container.duration is None and not self._closing.is_set():
                        raise SourceLost(f"{redact(self._url)}: the live playlist came to its end")
                else:
                    yield from live(source, self._reading)
        except SourceError as error:
            cause = error.__cause__
            unclear = isinstance(cause, av.error.FFmpegError) and cause.errno in _UNCLEAR
            if not opening or not unclear or self._closing.is_set():
                raise
            better = diagnose(self._url, timeout_s=self._limits.open_timeout_s)
            if better is None:
                raise
            raise better from error

    def close(self) -> None:
        self._closing.set()


open_url = HttpSource


def is_recording(source: Opened) -> bool:
    """True for what arrives faster than it plays: a file, and HLS, whose segments come in bursts."""
    container = source.container
    return container.format.name == "hls" or container.duration is not None


def diagnose(url: str, *, timeout_s: float) -> SourceError | None:
    """
    Find the reason that FFmpeg does not tell: ask the server once more, following redirects by hand.

    Blocks for up to `timeout_s` a hop. Returns: None when nothing clearer than FFmpeg's own error was found.
    """
    shown = redact(url)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            status, headers = _ask(url, timeout_s)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        if 300 <= status < 400 and "location" in headers:
            url = urljoin(url, headers["location"])
            if urlsplit(url).scheme not in SCHEMES:
                return SourceRefused(f"{shown} redirects to {redact(url)!r}, which is not http; refused")
            continue
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if status == 200 and (kind.startswith("text/") or kind in {"application/json", "application/xml"}):
            return SourceRefused(f"{shown} is not a video but {kind}; give the address of the stream itself")
        return None
    return SourceLost(f"{shown} redirects without end (more than {MAX_REDIRECTS} times)")


def _ask(url: str, timeout_s: float) -> tuple[int, dict[str, str]]:
    """GET without reading the body. Returns: status and headers with lower-case names."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        # certificates are not judged, as FFmpeg does not judge them either: cameras sign their own
        insecure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=insecure
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
