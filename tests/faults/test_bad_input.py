"""
Every bad source and every bad request, against the whole daemon.

Each gets one clear sentence under the right code or state, and a healthy camera beside it keeps its frames, a healthy
client its events, every process its life. What exactly FFmpeg or the codecs do is tested beside their modules.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgpack
import pytest
from PIL import Image as Pillow
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.sources.synthetic import Scene
from tests.peers.daemon import Daemon, running_daemon
from tests.peers.neighbour import Neighbour, neighbour_of
from tests.peers.wire_client import Message, RequestFailed, wire_client
from tests.streaming.sources.media import huge_jpegs, joined, shifted, sound, truncated, video
from tests.streaming.sources.web_camera import Exchange, WebCamera

pytestmark = pytest.mark.slow

HOUR_S = 3600
SENTENCE = re.compile(r"[^\n]{10,400}")
MIB = 1 << 20


# the daemon, and who lives in it


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The media folder: good parts, and everything bad that is made of them."""
    folder = tmp_path_factory.mktemp("media")
    whole = video(folder / "whole.mp4")
    video(folder / "small.ts", seconds=2, gop=5)
    video(folder / "large.ts", seconds=2, gop=5, size=(320, 240))
    video(folder / "mpeg2.ts", seconds=2, gop=5, size=(160, 128), codec="mpeg2video")
    shifted(folder / "hour.ts", folder / "small.ts", HOUR_S)
    shifted(folder / "two.ts", folder / "small.ts", 2 * HOUR_S)
    joined(folder / "grows.ts", folder / "small.ts", folder / "large.ts")
    (folder / "empty.mp4").touch()
    (folder / "corrupt.mp4").write_bytes(bytes(index * 7 % 256 for index in range(100_000)))
    truncated(folder / "headless.mp4", whole, 0.5)  # the index of an mp4 comes last
    truncated(folder / "half.mkv", video(folder / "long.mkv", seconds=8), 0.3)
    (folder / "notes.txt").write_text("This is no video.\n" * 500)
    sound(folder / "sound.m4a")
    huge_jpegs(folder / "huge.mjpeg")
    (folder / "outside.mp4").symlink_to("/etc/hostname")
    return folder


def stream(*parts: Path) -> partial[None]:
    """MPEG-TS files one after the other, each in two seconds, over and over, as from a live camera."""

    def answer(exchange: Exchange) -> None:
        exchange.begin(Content_Type="video/mp2t")
        for part in itertools.cycle(parts):
            data = part.read_bytes()
            step = 188 * 8
            for at in range(0, len(data), step):
                exchange.write(data[at : at + step])
                if exchange.closing.wait(2 * step / len(data)):
                    return

    return partial(answer)


def growing(exchange: Exchange) -> None:
    """Motion JPEG, ten a second, that says 16384x16384 from the second second on."""
    exchange.begin(Content_Type="multipart/x-mixed-replace; boundary=frame")
    small, yard = io.BytesIO(), Scene("yard", 160, 120)
    Pillow.fromarray(yard.render(6)).save(small, "JPEG")
    huge = bytearray(small.getvalue())
    at = huge.index(b"\xff\xc0") + 5
    huge[at : at + 4] = (16384).to_bytes(2, "big") * 2
    for index in itertools.count():
        jpeg = small.getvalue() if index < 10 else bytes(huge)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        exchange.write(head.encode() + jpeg + b"\r\n")
        if exchange.closing.wait(0.1):
            return


def page(exchange: Exchange) -> None:
    exchange.reply(b"<html><title>Camera</title>" + b"<p>hello</p>" * 200, "text/html; charset=utf-8")


def elsewhere(to: str) -> partial[None]:
    return partial(lambda to, exchange: exchange.begin(302, Location=to, Content_Length="0"), to)


@pytest.fixture
def web(media: Path) -> Iterator[WebCamera]:
    """A web server with every kind of bad camera."""
    routes = {
        "/refusing": lambda exchange: exchange.begin(401, Content_Length="0"),
        "/gone": lambda exchange: exchange.begin(404, Content_Length="0"),
        "/silent": lambda exchange: exchange.closing.wait(30),
        "/loop": elsewhere("/loop"),
        "/passwd": elsewhere("file:///etc/passwd"),
        "/page": page,
        "/sizes": stream(media / "small.ts", media / "large.ts"),
        "/codecs": stream(media / "small.ts", media / "mpeg2.ts"),
        "/hours": stream(media / "two.ts", media / "hour.ts"),
        "/growing": growing,
    }
    with WebCamera(routes) as camera:
        yield camera


@pytest.fixture(scope="module")
def daemon(media: Path) -> Iterator[Daemon]:
    settings = {
        "VIGILD_MEDIA__DIR": str(media),
        "VIGILD_ENGINE__MAX_CAMERAS": "32",
        "VIGILD_LIMITS__OPEN_TIMEOUT_S": "3",
        "VIGILD_LIMITS__READ_TIMEOUT_S": "2",
        "VIGILD_LIMITS__STALE_S": "1.5",
        "VIGILD_LIMITS__RETRY_MAX_S": "2",
        "VIGILD_GATEWAY__MAX_CLIENTS": "20",
    }
    with running_daemon(**settings) as daemon:
        asyncio.run(daemon.until_ready())
        yield daemon


@pytest.fixture(scope="module")
def neighbour(daemon: Daemon) -> Iterator[Neighbour]:
    with neighbour_of(daemon) as neighbour:
        yield neighbour


@pytest.fixture(autouse=True)
def unharmed(neighbour: Neighbour) -> Iterator[None]:
    """After every test: the neighbour has lost nothing, no process has died, no log holds a traceback."""
    yield
    neighbour.check()


# sources

PASSWORD = "hunter2"  # noqa: S105
BAD_SOURCES = {
    "unreachable": ("http://bob:hunter2@127.0.0.1:1/x", "offline", "nothing listens there"),
    "unreachable-rtsp": ("rtsp://bob:hunter2@127.0.0.1:1/x", "offline", "nothing listens there"),
    "unknown-host": ("rtsp://camera.invalid/x", "offline", "camera.invalid"),
    "refusing": ("{web}/refusing", "failed", "refuses the user name or password (401)"),
    "gone": ("{web}/gone", "offline", "no such stream (404)"),
    "silent": ("{web}/silent", "offline", "did not answer with video within 3 s"),
    "endless-redirect": ("{web}/loop", "failed", "redirect"),
    "redirect-to-file": ("{web}/passwd", "failed", "redirect"),
    "web-page": ("{web}/page", "failed", "is not a video but text/html"),
    "not-rtsp": ("{rtsp}/x", "offline", "127.0.0.1"),
    "growing": ("{web}/growing", "failed", "larger than the limit"),
    "missing": ("file:missing.mp4", "failed", "does not exist in the media folder"),
    "empty": ("file:empty.mp4", "failed", "is empty (0 bytes)"),
    "corrupt": ("file:corrupt.mp4", "failed", "is not a video, or is damaged or truncated"),
    "headless": ("file:headless.mp4", "failed", "is not a video, or is damaged or truncated"),
    "text": ("file:notes.txt", "failed", "is not a video"),
    "audio-only": ("file:sound.m4a", "failed", "has no video in it, only audio"),
    "huge": ("file:huge.mjpeg", "failed", "larger than the limit of 33.2 megapixels"),
    "link-outside": ("file:outside.mp4", "failed", "outside the media folder"),
    "dots-outside": ("file:../../etc/hostname", "failed", "outside the media folder"),
    "half": ("file:half.mkv", "ended", "is truncated: it ends after"),
    "no-scene": ("synthetic:nothing", "failed", "no scene"),
    "no-device": ("v4l2:/dev/video99", "failed", "/dev/video99"),
}


def test_bad_sources_say_what_is_wrong(
    daemon: Daemon, neighbour: Neighbour, web: WebCamera, subtests: pytest.Subtests
) -> None:
    """
    Each has one `camera.state` with one sentence, without credentials, and whoever asks later reads the same.

    All are added at once: their time-outs are one wait.
    """
    web_url = web.url("").replace("http://", f"http://bob:{PASSWORD}@")
    rtsp_url = web_url.replace("http://", "rtsp://")
    sources = {name: source.format(web=web_url, rtsp=rtsp_url) for name, (source, _, _) in BAD_SOURCES.items()}

    async def watched() -> None:
        async with wire_client(daemon.url) as client:
            for camera, source in sources.items():
                reply = await client.request("camera.add", camera={"id": camera, "source": source, "fps": 4})
                assert PASSWORD not in str(reply)
            for camera, (_, state, says) in BAD_SOURCES.items():
                with subtests.test(camera):
                    told = {"type": "camera.state", "camera": camera, "state": state}
                    event = await asyncio.to_thread(neighbour.until, **told)
                    assert says in event["reason"]
                    assert SENTENCE.fullmatch(event["reason"])
                    view = (await client.request("camera.get", camera=camera))["camera"]
                    assert (view["state"], view["reason"]) == (state, event["reason"])
            for camera in sources:
                await client.request("camera.remove", camera=camera)

    asyncio.run(watched())
    assert PASSWORD not in str(neighbour.events)
    assert PASSWORD not in daemon.log()


CHANGING_SOURCES = ("{web}/sizes", "{web}/hours", "file:grows.ts?loop=1")


def test_sources_that_change_midway_stay_live(
    daemon: Daemon, neighbour: Neighbour, web: WebCamera, subtests: pytest.Subtests
) -> None:
    """Another resolution, or timestamps that jump back an hour: frames go on without an interruption."""

    async def watched() -> None:
        async with wire_client(daemon.url) as client:
            await client.request("subscribe", topics=["stats"], cameras="*")
            for number, source in enumerate(CHANGING_SOURCES):
                camera = {"id": f"changes-{number}", "source": source.format(web=web.url("")), "fps": 4}
                await client.request("camera.add", camera=camera)
            for number, source in enumerate(CHANGING_SOURCES):
                with subtests.test(source):
                    camera = f"changes-{number}"
                    await client.until(lambda m, camera=camera: m.get("camera") == camera and m["frames"] > 12)
                    states = [event["state"] for event in neighbour.events if event["camera"] == camera]
                    assert states == ["connecting", "live"][-len(states):]

    asyncio.run(watched())
