"""Web cameras: MJPEG, MPEG-TS, HLS and files; and servers that lie, loop, refuse or lead astray."""

import io
import itertools
from contextlib import closing
from dataclasses import replace

import av
import pytest
from PIL import Image as Pillow

from streaming.clock import NS_PER_S, SystemClock
from streaming.sources import SourceError, SourceLost, SourceRefused, open_source, probe
from streaming.sources.synthetic import Scene

from .media import QUICK, shifted, video
from .web_camera import WebCamera

HOUR_S = 3600


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    video(folder / "yard.mp4")
    video(folder / "yard.ts", gop=5, seconds=2)
    video(folder / "short.ts", gop=5)
    shifted(folder / "hour.ts", folder / "short.ts", HOUR_S)
    shifted(folder / "two.ts", folder / "short.ts", 2 * HOUR_S)
    video(folder / "big.ts", size=(320, 240), gop=5, seconds=2)
    video(folder / "other.ts", codec="mpeg2video", size=(160, 128), gop=5, seconds=2)
    return folder


def look(url, *, limits=QUICK, most=1000):
    """Up to `most` pictures of an address."""
    with closing(open_source(url, fps=2, limits=limits).frames()) as frames:
        yield from itertools.islice(frames, most)


def refused(url, *, limits=QUICK):
    """The error that an address ends in; probe says the same."""
    with pytest.raises(SourceError) as error:
        list(look(url, limits=limits))
    assert probe(url, limits=limits).text == error.value.reason
    return error.value


def motion_jpeg(exchange):
    """Ten pictures a second, for ever, each a JPEG part, as web cameras send them."""
    exchange.begin(Content_Type="multipart/x-mixed-replace; boundary=frame")
    yard = Scene("yard", 160, 120)
    for index in itertools.count():
        jpeg = io.BytesIO()
        Pillow.fromarray(yard.render(6 + index / 10)).save(jpeg, "JPEG")
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.tell()}\r\n\r\n"
        exchange.write(head.encode() + jpeg.getvalue() + b"\r\n")
        if exchange.closing.wait(0.1):
            return


def transport_stream(*parts, seconds=2.0):
    """The packets of MPEG-TS files one after the other, each file within `seconds`."""

    def answer(exchange):
        exchange.begin(Content_Type="video/mp2t")
        for part in parts:
            data = part.read_bytes()
            step = 188 * 8
            pause = seconds * step / len(data)
            for at in range(0, len(data), step):
                exchange.write(data[at : at + step])
                if exchange.closing.wait(pause):
                    return
        exchange.closing.wait(20)

    return answer


def test_motion_jpeg_flows_as_it_comes(media):
    """Pictures arrive at the camera's pace without made-up timestamps, and every one is fresh."""
    clock = SystemClock()
    with WebCamera({"/cam.mjpg": motion_jpeg}) as camera:
        frames = look(camera.url("/cam.mjpg?user=bob"), most=8)
        first = next(frames)
        began = clock.monotonic_ns()
        rest = list(frames)
    assert (clock.monotonic_ns() - began) / NS_PER_S >= 0.3
    assert first.image().shape == (120, 160, 3)
    assert {(picture.pts_ns, picture.age_ns, picture.keyframe) for picture in rest} == {(None, 0, True)}


def test_a_file_behind_a_web_address_plays_at_its_own_speed(media):
    """An mp4 takes as long as it lasts and then ends."""
    data = (media / "yard.mp4").read_bytes()
    clock = SystemClock()
    with WebCamera({"/yard.mp4": lambda exchange: exchange.reply(data, "video/mp4")}) as camera:
        began = clock.monotonic_ns()
        pictures = list(look(camera.url("/yard.mp4")))
    assert len(pictures) == 10
    assert (clock.monotonic_ns() - began) / NS_PER_S >= 0.85


def test_hls_plays_its_segments_evenly(media):
    """A playlist is played like a recording: segments that come in one burst are spread over their time."""
    segment = (media / "yard.ts").read_bytes()
    playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\none.ts\n#EXT-X-ENDLIST\n"
    routes = {
        "/cam.m3u8": lambda exchange: exchange.reply(playlist.encode(), "application/vnd.apple.mpegurl"),
        "/one.ts": lambda exchange: exchange.reply(segment, "video/mp2t"),
    }
    clock = SystemClock()
    with WebCamera(routes) as camera:
        frames = look(camera.url("/cam.m3u8"))
        next(frames)
        began = clock.monotonic_ns()
        assert len(list(frames)) == 19
        assert (clock.monotonic_ns() - began) / NS_PER_S >= 1.7


def test_a_live_playlist_that_does_not_go_on_is_lost_and_not_ended(media):
    """Without an end mark there must be more to come: when there is not, the camera is tried again."""
    segment = (media / "short.ts").read_bytes()
    playlist = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\none.ts\n"
    routes = {
        "/cam.m3u8": lambda exchange: exchange.reply(playlist, "application/vnd.apple.mpegurl"),
        "/one.ts": lambda exchange: exchange.reply(segment, "video/mp2t"),
    }
    pictures = []
    with WebCamera(routes) as camera:
        frames = look(camera.url("/cam.m3u8"))
        with pytest.raises(SourceLost, match=r"sent no picture for|came to its end"):
            pictures.extend(frames)
    assert len(pictures) >= 9


def test_timestamps_that_jump_back_an_hour_do_not_age_the_pictures(media):
    """The stream goes on over two hours ahead and one back; no picture counts as old or as from the future."""
    parts = [media / name for name in ("short.ts", "two.ts", "hour.ts")]
    with WebCamera({"/cam.ts": transport_stream(*parts, seconds=1.0)}) as camera:
        pictures = list(look(camera.url("/cam.ts"), most=28))
    stamps = [picture.pts_ns / NS_PER_S for picture in pictures if picture.pts_ns is not None]
    steps = [after - before for before, after in itertools.pairwise(stamps)]
    assert max(steps) > 2 * HOUR_S - 10, "the jump ahead was there"
    assert min(steps) < 10 - HOUR_S, "the jump back was there"
    assert max(picture.age_ns for picture in pictures) < 2 * NS_PER_S


def test_the_resolution_may_change_in_a_live_stream(media):
    """Pictures go on in the new size without a new connection."""
    with WebCamera({"/cam.ts": transport_stream(media / "yard.ts", media / "big.ts")}) as camera:
        sizes = [picture.image().shape[:2] for picture in look(camera.url("/cam.ts"), most=30)]
        assert camera.asked == ["/cam.ts"]
    assert sizes[0] == (120, 160)
    assert sizes[-1] == (240, 320)


def test_a_codec_that_changes_in_a_live_stream_ends_the_connection(media):
    """Nothing decodes any more: within the read time-out that is a loss, which a new connection cures."""
    sizes, limits = [], replace(QUICK, max_decode_errors=5)
    with WebCamera({"/cam.ts": transport_stream(media / "yard.ts", *[media / "other.ts"] * 3)}) as camera:
        frames = look(camera.url("/cam.ts"), limits=limits)
        with pytest.raises(SourceLost, match=r"codec changed|sent no picture for 1\.5 s"):
            sizes.extend(picture.size for picture in frames)
    assert sizes
    assert set(sizes) == {(160, 120)}


def redirect(to, status=302):
    return lambda exchange: exchange.begin(status, Location=to, Content_Length="0")


def test_an_endless_redirect_is_named(media):
    """Not 'Input/output error'."""
    with WebCamera({"/a": redirect("/b"), "/b": redirect("/a?token=hunter2")}) as camera:
        error = refused(camera.url("/a?token=hunter2"))
    assert "redirects without end (more than 8 times)" in error.reason
    assert "hunter2" not in error.reason


@pytest.mark.parametrize(
    "to", ["file:///etc/hostname", "concat:/etc/hostname", "rtmp://127.0.0.1/x", "data:video/mp4,x"]
)
def test_a_redirect_to_another_protocol_is_refused(media, to):
    """A camera cannot make this machine read its own files, or speak anything but HTTP."""
    with WebCamera({"/a": redirect(to)}) as camera:
        error = refused(camera.url("/a"))
    assert "redirects to" in error.reason
    assert "which is not http; refused" in error.reason
    assert not error.retryable


def test_a_playlist_cannot_lead_to_a_local_file(media):
    """The protocol allow-list holds inside playlists too."""
    for inner in (f"file://{media / 'yard.ts'}", f"concat:{media / 'yard.ts'}", f"{media / 'yard.ts'}"):
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{inner}\n#EXT-X-ENDLIST\n".encode()
        routes = {"/p.m3u8": lambda exchange, text=playlist: exchange.reply(text, "application/x-mpegurl")}
        with WebCamera(routes) as camera, pytest.raises(SourceError):
            list(look(camera.url("/p.m3u8")))


def test_a_web_page_is_not_a_video(media):
    """The most usual mistake, the address of the camera's page, is named."""
    page = b"<html><title>Camera</title>" + b"<p>hello</p>" * 200
    with WebCamera({"/": lambda exchange: exchange.reply(page, "text/html; charset=utf-8")}) as camera:
        error = refused(camera.url("/"))
    assert "is not a video but text/html; give the address of the stream itself" in error.reason
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, SourceRefused, "refuses the user name or password (401)"),
        (403, SourceRefused, "refuses access (403)"),
        (404, SourceLost, "no such stream (404)"),
        (503, SourceLost, "the server answers with an error"),
    ],
)
def test_a_refusing_server_is_told_from_a_broken_one(status, kind, says):
    """What a person must cure is refused, the rest is lost and tried again."""
    with WebCamera({"/cam": lambda exchange: exchange.begin(status, Content_Length="0")}) as camera:
        error = refused(camera.url("/cam").replace("http://", "http://bob:hunter2@"))
    assert type(error) is kind
    assert says in error.reason
    assert "hunter2" not in error.reason


def test_a_server_that_never_answers_is_given_up(media):
    """The opening time-out holds although the connection stands."""
    clock = SystemClock()
    with WebCamera({"/cam": lambda exchange: exchange.closing.wait(20)}) as camera:
        began = clock.monotonic_ns()
        with pytest.raises(SourceLost, match=r"did not answer with video within 0\.4 s"):
            list(look(camera.url("/cam"), limits=replace(QUICK, open_timeout_s=0.4)))
        assert (clock.monotonic_ns() - began) / NS_PER_S < 2


def test_a_camera_that_falls_silent_is_lost(media):
    """After read_timeout_s without a picture the connection is given up, with that reason."""
    with (
        WebCamera({"/cam.ts": transport_stream(media / "yard.ts")}) as camera,
        pytest.raises(SourceLost, match=r"sent no picture for 1\.5 s"),
    ):
        list(look(camera.url("/cam.ts")))


def test_nothing_listens():
    """A closed port says so."""
    with WebCamera({}) as camera:
        url = camera.url("/x?password=hunter2")
    error = refused(url)
    assert "nothing listens there (connection refused)" in error.reason
    assert "hunter2" not in error.reason
    assert error.retryable


def test_sound_alone_is_no_video(tmp_path):
    """An audio stream behind a web address is named as such."""
    path = tmp_path / "sound.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(40):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate, frame.pts = 48_000, index * 1024
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    with WebCamera({"/s.ts": lambda exchange: exchange.reply(data, "video/mp2t")}) as camera:
        assert "has no video in it, only audio" in refused(camera.url("/s.ts")).reason
