"""A camera that dies, freezes, drips and comes back, against a real RTSP server; and what all that costs in memory."""

import gc
import itertools
import time
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from streaming.clock import NS_PER_S, SystemClock
from streaming.mailbox import Mailbox
from streaming.sources import Capture, open_source
from streaming.types import CameraState as State
from tests.peers.rtsp import RtspServer, why_not
from tests.streaming.sources.media import QUICK, video
from tests.streaming.sources.watched import Watched
from tests.streaming.sources.web_camera import WebCamera

needs_rtsp = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return video(tmp_path_factory.mktemp("clip") / "yard.mp4", seconds=2, start_s=0, gop=5)


@pytest.fixture
def camera(clip):
    with RtspServer(clip) as server:
        yield server


@needs_rtsp
def test_a_killed_camera_is_offline_and_live_again_with_a_gap(camera):
    """Frames stop, the loss is told; when it returns on the same port they flow on, numbered on, with one gap."""
    with Watched(camera.url()) as watched:
        before = watched.until_frames(3)
        camera.kill()
        watched.until_state(State.OFFLINE)
        camera.start()
        back = watched.until_state(State.LIVE)
        after = watched.until_frames(3)
        assert watched.capture.counters.connections == 2
    assert watched.states == [State.LIVE, State.OFFLINE, State.LIVE]
    assert back.gap is not None
    assert before[-1].pts_ns <= back.gap[0] < back.gap[1] <= after[0].pts_ns
    assert [frame.seq for frame in watched.frames] == list(range(len(watched.frames)))
    assert [frame.pts_ns for frame in watched.frames] == sorted({frame.pts_ns for frame in watched.frames})


@needs_rtsp
def test_a_frozen_camera_is_stale_while_the_decoder_is_blocked_then_offline(camera):
    """SIGSTOP: the watch speaks up although the read hangs; the read is given up in time; SIGCONT heals all."""
    with Watched(camera.url()) as watched:
        watched.until_frames(3)
        camera.freeze()
        began = time.monotonic()
        watched.until_state(State.STALE)
        assert time.monotonic() - began < QUICK.stale_s + 0.5
        status = watched.until_state(State.OFFLINE)
        assert time.monotonic() - began < QUICK.read_timeout_s + 1.5
        assert "sent no picture for 1.5 s" in (status.reason or "")
        camera.thaw()
        back = watched.until_state(State.LIVE)
        watched.until_frames(3)
    assert watched.states == [State.LIVE, State.STALE, State.OFFLINE, State.LIVE]
    assert back.gap is not None
    assert back.gap[1] - back.gap[0] > QUICK.stale_s * NS_PER_S


@needs_rtsp
def test_a_short_freeze_needs_no_new_connection_and_leaves_no_lag(camera):
    """What piled up behind a freeze is worked off: the newest frames are fresh again."""
    with Watched(camera.url(), limits=replace(QUICK, read_timeout_s=10)) as watched:
        watched.until_frames(3)
        camera.freeze()
        watched.until_state(State.STALE)
        camera.thaw()
        watched.until_state(State.LIVE)
        watched.until_frames(15)
        newest = watched.until_frames(3)
        assert watched.capture.counters.connections == 1
    assert all(frame.seen_ns - frame.pts_ns < NS_PER_S for frame in newest)


@needs_rtsp
def test_a_reader_that_was_held_up_catches_up_without_decoding(camera):
    """Three seconds of pictures pile up behind a busy core: all but the newest are passed over, and counted."""
    with closing(open_source(camera.url(), fps=2, limits=QUICK).frames()) as frames:
        fresh = list(itertools.islice(frames, 20))[-1]
        busy = time.monotonic() + 3
        while time.monotonic() < busy:
            sum(range(10_000))
        after = list(itertools.islice(frames, 12))
    assert fresh.age_ns < NS_PER_S
    assert sum(picture.skipped for picture in after) >= 10
    assert after[-1].age_ns < NS_PER_S
    assert all(picture.age_ns <= QUICK.max_lag_s * NS_PER_S for picture in after)


@needs_rtsp
def test_stop_returns_while_the_camera_is_frozen(camera):
    """The read hangs inside FFmpeg; stop does not, nothing is told afterwards, and the thread leaves by itself."""
    watched = Watched(camera.url())
    watched.capture.start()
    watched.until_frames(3)
    camera.freeze()
    watched.until_state(State.STALE)
    told = len(watched.statuses), len(watched.frames)
    began = time.monotonic()
    watched.capture.stop(0.2)
    assert time.monotonic() - began < 0.5
    camera.thaw()
    assert watched.capture.stop(QUICK.read_timeout_s + 2)
    assert (len(watched.statuses), len(watched.frames)) == told


@needs_rtsp
@pytest.mark.slow
def test_eight_cameras_come_back_together(clip):
    """One server behind eight captures dies and returns: all are live again, each with its gap."""
    with RtspServer(clip) as camera:
        captures = [Watched(camera.url(), fps=2) for _ in range(8)]
        try:
            for watched in captures:
                watched.capture.start()
            for watched in captures:
                watched.until_state(State.LIVE)
            camera.kill()
            for watched in captures:
                watched.until_state(State.OFFLINE)
            camera.start()
            for watched in captures:
                assert watched.until_state(State.LIVE).gap is not None
        finally:
            for watched in captures:
                watched.capture.stop()


def test_a_thousand_pictures_are_never_queued():
    """A consumer that takes nothing holds one frame, and the capture goes on at the camera's pace."""
    box = Mailbox()
    capture = Capture(
        "cam",
        "synthetic:static?fps=100&size=64x64",
        100.0,
        limits=QUICK,
        media_dir=None,
        mailbox=box,
        clock=SystemClock(),
        on_status=lambda _status: None,
        on_frame=lambda: None,
    )
    capture.start()
    deadline = time.monotonic() + 10
    while box.counters.put < 100 and time.monotonic() < deadline:
        capture._over.wait(0.02)
    assert capture.stop()
    newest = box.take()
    assert newest is not None
    assert newest.dropped_before == box.counters.dropped >= 99
    assert box.counters.put == capture.counters.sampled


@pytest.mark.slow
def test_two_hundred_reconnections_leak_nothing(tmp_path):
    """Memory, file descriptors and threads after 200 more connections are what they were after 60."""
    path = video(tmp_path / "yard.ts", seconds=0.5, size=(640, 480), gop=5)
    data, process, served = path.read_bytes(), psutil.Process(), []

    def serve(exchange):
        served.append(None)
        exchange.reply(data, "video/mp2t")

    limits = replace(QUICK, retry_first_s=0.001, retry_max_s=0.001)
    with (
        WebCamera({"/cam.ts": serve}) as camera,
        Watched(camera.url("/cam.ts"), fps=30, limits=limits, keep=False) as watched,
    ):

        def held(connections):
            watched.until(lambda: len(served) >= connections, within_s=60)
            gc.collect()
            return process.memory_info().rss, process.num_fds(), process.num_threads()

        early = held(60)
        late = held(260)
        assert watched.capture.counters.connections >= 200, "they were good connections"
    grown = late[0] - early[0]
    assert grown < 8 * 2**20, f"{grown / 2**20:.1f} MiB more after 200 reconnections"
    assert late[1] - early[1] <= 4
    assert late[2] - early[2] <= 4


@pytest.mark.slow
@needs_rtsp
def test_connections_that_die_at_once_leak_nothing(clip):
    """A server that is killed and returned over and over, and one that is gone: only time is lost."""
    process = psutil.Process()
    camera = RtspServer(clip)
    camera.start()
    url = camera.url()
    try:
        with Watched(url, limits=replace(QUICK, retry_first_s=0.01, retry_max_s=0.02)) as watched:
            watched.until_state(State.LIVE)
            camera.kill()
            watched.until(lambda: watched.capture.counters.failures >= 30, within_s=30)
            gc.collect()
            early = process.memory_info().rss, process.num_fds()
            watched.until(lambda: watched.capture.counters.failures >= 230, within_s=30)
            gc.collect()
            late = process.memory_info().rss, process.num_fds()
    finally:
        camera.kill()
    assert late[0] - early[0] < 4 * 2**20
    assert late[1] - early[1] <= 2
