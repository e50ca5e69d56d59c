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
from collections.abc import Iterator
from contextlib import contextmanager
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
MAX_CLIENTS = 20


# the daemon, and who lives in it


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The media folder: good parts, and everything bad that is made of them."""
    folder = tmp_path_factory.mktemp("media")
    whole = video(folder / "whole.mp4")
    video(folder / "small.ts", seconds=2, gop=5)
    video(folder / "large.ts", seconds=2, gop=5, size=(320, 240))
    video(folder / "h264.ts", seconds=8, gop=5)  # more than FFmpeg reads to find out what it is
    # in the eyes of an H.264 decoder no slice of it is one; MPEG-2 would give it grey pictures now and then
    video(folder / "h265.ts", seconds=2, gop=5, size=(160, 128), codec="libx265")
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
    """MPEG-TS files one after the other, each in two seconds and the last for ever, as from a live camera."""

    def answer(exchange: Exchange) -> None:
        exchange.begin(Content_Type="video/mp2t")
        for part in itertools.chain(parts, itertools.repeat(parts[-1])):
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
        "/codecs": stream(media / "h264.ts", media / "h265.ts"),
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
        "VIGILD_GATEWAY__MAX_CLIENTS": str(MAX_CLIENTS),
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

PASSWORD = "hunter2"
BAD_SOURCES = {
    "unreachable": ("http://bob:hunter2@127.0.0.1:1/x", "offline", "nothing listens there"),
    "unreachable-rtsp": ("rtsp://bob:hunter2@127.0.0.1:1/x", "offline", "nothing listens there"),
    "unknown-host": ("rtsp://camera.invalid/x", "offline", "camera.invalid"),
    "refusing": ("{web}/refusing", "failed", "refuses the user name or password (401)"),
    "gone": ("{web}/gone", "offline", "no such stream (404)"),
    "silent": ("{web}/silent", "offline", "did not answer with video within 3 s"),
    "endless-redirect": ("{web}/loop", "offline", "redirects without end"),
    "redirect-to-file": ("{web}/passwd", "failed", "redirects to 'file:///etc/passwd', which is not http; refused"),
    "web-page": ("{web}/page", "failed", "is not a video but text/html"),
    "not-rtsp": ("{rtsp}/x", "offline", "127.0.0.1"),
    "growing": (
        "{web}/growing",
        "offline",
        "sent no picture for 2 s, though it sends: it is damaged, its codec changed",
    ),
    "other-codec": ("{web}/codecs", "offline", "though it sends: it is damaged, its codec changed"),
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
    "no-scene": ("synthetic:nothing", "failed", "no synthetic scene 'nothing'; there are yard"),
    "no-device": ("v4l2:/dev/video99", "offline", "/dev/video99 is not there; is the camera plugged in?"),
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
                    assert states == ["connecting", "live"][-len(states) :]

    asyncio.run(watched())


# requests


def nested(form: str) -> str | bytes:
    """A map 10,000 deep."""
    if form == "json":
        return '{"type":"ping","id":1,"a":' * 10_000 + "1" + "}" * 10_000
    return b"\x81\xa1a" * 10_000 + b"\xc0"


CAMERA = {"id": "dock", "source": "synthetic:yard"}
RULE = {"camera": "neighbour", "ask": "Is there a car?"}
BAD_REQUESTS = {
    "wrong scheme": ("camera.add", {"camera": CAMERA | {"source": "gopher://u:hunter2@host/"}}, "invalid", "must begin with one of rtsp:"),
    "no scheme": ("camera.add", {"camera": CAMERA | {"source": "host/x"}}, "invalid", "must begin with one of rtsp:"),
    "malformed": ("camera.add", {"camera": CAMERA | {"source": "rtsp://u:hunter2@host:port/x"}}, "invalid", "is not a URL"),
    "no host": ("camera.add", {"camera": CAMERA | {"source": "rtsp:///x"}}, "invalid", "names no host"),
    "control character": ("camera.add", {"camera": CAMERA | {"source": "rtsp://host/\r\nSETUP"}}, "invalid", "control character"),
    "taken id": ("camera.add", {"camera": {"id": "neighbour", "source": "synthetic:yard"}}, "conflict", "'neighbour' exists already"),
    "path as id": ("camera.add", {"camera": CAMERA | {"id": "../x"}}, "invalid", "must be 1 to 64 letters"),
    "nan": ("camera.add", {"camera": CAMERA | {"fps": 1e308}}, "invalid", "camera.fps must be between"),
    "unknown camera": ("camera.get", {"camera": "nowhere"}, "not_found", "no camera 'nowhere'"),
    "unknown camera updated": ("camera.update", {"camera": {"id": "nowhere", "fps": 1}}, "not_found", "no camera 'nowhere'"),
    "unknown camera removed": ("camera.remove", {"camera": "nowhere"}, "not_found", "no camera 'nowhere'"),
    "unknown camera of a rule": ("rule.create", {"rule": RULE | {"camera": "nowhere"}}, "not_found", "no camera 'nowhere'"),
    "unknown camera asked": ("ask", {"camera": "nowhere", "text": "?"}, "not_found", "no camera 'nowhere'"),
    "unknown rule": ("rule.update", {"rule": {"id": "r_0", "on": 0.9}}, "not_found", "no rule 'r_0'"),
    "unknown rule deleted": ("rule.delete", {"rule": "r_0"}, "not_found", "no rule 'r_0'"),
    "unknown ask": ("ask.cancel", {"ask": "q_0"}, "not_found", "no ask 'q_0'"),
    "blank question": ("rule.create", {"rule": RULE | {"ask": " \n\t"}}, "invalid", "rule.ask is blank"),
    "crossed thresholds": ("rule.create", {"rule": RULE | {"on": 0.3, "off": 0.6}}, "invalid", "rule.off (0.6) must be below rule.on (0.3)"),
    "zone outside": ("rule.create", {"rule": RULE | {"zone": [[0, 0], [1.5, 0], [1, 1]]}}, "invalid", "must lie in 0..1"),
    "long question": ("ask", {"camera": "neighbour", "text": "x" * 900_000}, "invalid", "has 900000 characters; at most"),
    "blank ask": ("ask", {"camera": "neighbour", "text": ""}, "invalid", "text is blank"),
    "after the newest": ("subscribe", {"topics": ["alert"], "after": 10**9}, "invalid", "after"),
    "unknown topic": ("subscribe", {"topics": ["gossip"]}, "invalid", "no topic 'gossip'"),
    "unknown type": ("camera.explode", {}, "unsupported", "no request 'camera.explode'"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_bad_requests_are_refused(form: str, daemon: Daemon, subtests: pytest.Subtests) -> None:
    """Each gets one error of the right code, in one sentence, and the connection goes on."""

    async def asked() -> None:
        async with wire_client(daemon.url, form=form) as client:
            for name, (kind, fields, code, says) in BAD_REQUESTS.items():
                with subtests.test(name):
                    with pytest.raises(RequestFailed) as failed:
                        await client.request(kind, **fields)
                    sentence = str(failed.value).removeprefix(f"{code}: ")
                    assert failed.value.code == code
                    assert says in sentence
                    assert SENTENCE.fullmatch(sentence)
                    assert PASSWORD not in sentence
            assert (await client.request("ping"))["ok"]

    asyncio.run(asked())


BAD_MESSAGES: dict[str, tuple[str, str | bytes, str]] = {
    "deep json": ("json", nested("json"), "nested too deep"),
    "deep msgpack": ("msgpack", nested("msgpack"), "nested too deep"),
    "bomb: a list": ("msgpack", b"\xdd\xff\xff\xff\xff", "is not msgpack"),
    "bomb: a map": ("msgpack", b"\xdf\xff\xff\xff\xff", "is not msgpack"),
    "bomb: a text": ("msgpack", b"\xdb\xff\xff\xff\xff", "is not msgpack"),
    "bomb: lists in lists": ("msgpack", (b"\xdc\x0f\xff" * MIB)[: MIB - 1], "nested too deep"),
    "text on msgpack": ("msgpack", '{"type":"ping","id":1}', "send binary frames"),
    "bytes on json": ("json", msgpack.packb({"type": "ping", "id": 1}), "send text frames"),
    "no map": ("json", "[1]", "a message is a map with a type; got list"),
    "no json": ("json", "hello", "is not JSON"),
}


@contextmanager
def bounded_growth(daemon: Daemon, most_bytes: int) -> Iterator[None]:
    """The gateway does not grow by more than that meanwhile."""
    gateway = daemon.children()["gateway"]
    before = gateway.memory_info().rss
    yield
    assert gateway.memory_info().rss - before < most_bytes


def decoded(data: str | bytes) -> Message:
    return json.loads(data) if isinstance(data, str) else msgpack.unpackb(data)


async def opened(stack: contextlib.AsyncExitStack, daemon: Daemon, form: str) -> ClientConnection:
    connecting = connect(f"{daemon.url}/v1/ws", subprotocols=[f"vigil.v1.{form}"], max_size=None, compression=None)
    connection = await stack.enter_async_context(connecting)
    assert decoded(await connection.recv())["type"] == "hello"
    return connection


def test_bad_messages_are_refused(daemon: Daemon, subtests: pytest.Subtests) -> None:
    """What is no request at all is answered with `invalid` too, costs no memory, and the connection goes on."""

    async def sent() -> None:
        async with contextlib.AsyncExitStack() as stack:
            connections = {form: await opened(stack, daemon, form) for form in ("json", "msgpack")}
            for name, (form, data, says) in BAD_MESSAGES.items():
                with subtests.test(name):
                    await connections[form].send(data)
                    reply = decoded(await asyncio.wait_for(connections[form].recv(), 10))
                    assert (reply["type"], reply["error"]["code"]) == ("error", "invalid")
                    assert says in reply["error"]["message"]
                    assert SENTENCE.fullmatch(reply["error"]["message"])

    with bounded_growth(daemon, 64 * MIB):
        asyncio.run(sent())


def test_a_message_over_a_mebibyte_ends_its_connection_only(daemon: Daemon) -> None:
    """A text of 1 MB in one message is 1009; another connection goes on."""

    async def sent() -> None:
        async with contextlib.AsyncExitStack() as stack:
            big, other = await opened(stack, daemon, "json"), await opened(stack, daemon, "json")
            await big.send(json.dumps({"type": "ask", "id": 1, "camera": "neighbour", "text": "x" * MIB}))
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(big.recv(), 10)
            assert big.close_code == 1009
            await other.send('{"type":"ping","id":1}')
            assert decoded(await other.recv())["ok"]

    asyncio.run(sent())


def test_a_client_that_never_reads_harms_nobody(daemon: Daemon) -> None:
    """It subscribes to everything, previews included, asks for the history over and over, and reads nothing."""

    async def silent() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                connection = await opened(stack, daemon, "json")
                connection.transport.pause_reading()
                topics = ["camera", "gap", "answer", "stats", "preview", "heat", "trace"]
                await connection.send(json.dumps({"type": "subscribe", "id": 1, "topics": topics, "after": 0}))
                for number in range(100):
                    await connection.send(json.dumps({"type": "events.list", "id": number, "limit": 1000}))
                stack.callback(connection.transport.abort)
            async with wire_client(daemon.url) as client:
                await client.request("subscribe", topics=["stats"], cameras=["neighbour"])
                for _ in range(3):
                    await client.until(lambda m: m["type"] == "stats", within_s=5)

    with bounded_growth(daemon, 64 * MIB):
        asyncio.run(silent())


def test_too_many_clients_are_told(daemon: Daemon) -> None:
    """Past gateway.max_clients a connection is refused with a reason; those that are in stay."""

    async def crowd() -> None:
        async with contextlib.AsyncExitStack() as stack:
            first = await opened(stack, daemon, "json")
            crowded = [await stack.enter_async_context(connect(f"{daemon.url}/v1/ws")) for _ in range(MAX_CLIENTS)]
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(crowded[-1].recv(), 10)
            assert crowded[-1].close_code == 1013
            assert "too many connections" in crowded[-1].close_reason
            await first.send('{"type":"ping","id":1}')
            assert decoded(await first.recv())["ok"]

    asyncio.run(crowd())
