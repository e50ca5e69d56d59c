"""A capture runs for ever: it samples, stamps, reports, reconnects, and stops when it is told to."""

import itertools
import threading
import time
from dataclasses import replace

import pytest

from streaming.clock import NS_PER_S, SystemClock
from streaming.mailbox import Mailbox
from streaming.sources import Capture, registry
from streaming.types import CameraState as State

from .media import QUICK, truncated, video
from .watched import Watched
from .web_camera import WebCamera


def test_frames_are_sampled_numbered_and_stamped():
    """20 pictures a second become 5 frames: numbered from 0, evenly timed, seen when they were taken, read-only."""
    with Watched("synthetic:yard?fps=20&size=96x80", fps=5) as watched:
        watched.until_frames(6)
    frames = watched.frames[:6]
    assert [frame.seq for frame in frames] == list(range(6))
    assert {frame.camera for frame in frames} == {"cam"}
    assert {frame.image.shape for frame in frames} == {(80, 96, 3)}
    assert not frames[0].image.flags.writeable
    steps = [after.pts_ns - before.pts_ns for before, after in itertools.pairwise(frames)]
    assert sum(steps) / len(steps) == pytest.approx(NS_PER_S / 5, rel=0.1)
    assert abs(frames[0].pts_ns - time.time_ns()) < 10 * NS_PER_S
    assert all(0 <= frame.seen_ns - frame.pts_ns < NS_PER_S for frame in frames)


def test_it_is_live_from_the_first_picture_and_counts():
    """One status, with the size; the counters tell decoded from sampled, and the source's own rate."""
    with Watched("synthetic:yard?fps=30&size=96x80", fps=2) as watched:
        watched.until(lambda: watched.capture.counters.fps_in > 0 or len(watched.frames) > 5)
        count = watched.capture.counters
        assert watched.capture.status.state is State.LIVE
    (status,) = watched.statuses
    assert (status.state, status.reason, status.gap) == (State.LIVE, None, None)
    assert (status.width, status.height) == (96, 80)
    assert count.fps_in == pytest.approx(30, rel=0.2)
    assert count.decoded > 10 * count.sampled / 2
    assert (count.connections, count.failures) == (1, 0)


def test_a_file_without_loop_ends(tmp_path):
    """`ended`, without a reason, and the threads are gone by themselves."""
    video(tmp_path / "yard.mp4", seconds=0.5)
    with Watched("file:yard.mp4", media_dir=tmp_path) as watched:
        assert watched.until_state(State.ENDED).reason is None
    assert watched.states == [State.LIVE, State.ENDED]
    assert len(watched.frames) == 5


def test_a_truncated_file_ends_with_the_reason(tmp_path):
    """It is not played again and again."""
    whole = video(tmp_path / "whole.mkv", seconds=8, size=(320, 240))
    truncated(tmp_path / "half.mkv", whole, 0.2)
    with Watched("file:half.mkv", media_dir=tmp_path) as watched:
        assert "is truncated: it ends after" in (watched.until_state(State.ENDED).reason or "")


def test_what_needs_a_person_is_failed_and_tried_again(tmp_path):
    """A file that is missing fails, and plays as soon as someone puts it there."""
    with Watched("file:yard.mp4?loop=1", media_dir=tmp_path) as watched:
        assert watched.until_state(State.FAILED).reason == "file:yard.mp4 does not exist in the media folder"
        video(tmp_path / "made.mp4", seconds=0.5).rename(tmp_path / "yard.mp4")
        status = watched.until_state(State.LIVE)
        assert status.gap is None, "there was nothing before"
        watched.until_frames(3)
    assert watched.capture.counters.failures >= 1


def test_an_address_that_makes_no_sense_is_failed():
    """Refused by its scheme, in words, with the credentials gone."""
    with Watched("rtmp://admin:hunter2@cam/live") as watched:
        reason = watched.until_state(State.FAILED).reason
    assert reason is not None
    assert reason.startswith("scheme 'rtmp' is not supported")
    assert "hunter2" not in reason


def test_an_unreachable_camera_is_offline_and_waits_longer_each_time():
    """Told once, tried again and again, never faster than the backoff allows."""
    with WebCamera({}) as camera:
        url = camera.url("/cam?token=hunter2")
    with Watched(url, limits=replace(QUICK, retry_first_s=0.05, retry_max_s=0.1)) as watched:
        watched.until_state(State.OFFLINE)
        began = time.monotonic()
        watched.until(lambda: watched.capture.counters.failures >= 8)
        assert time.monotonic() - began > 7 * 0.05 * 0.75
    assert watched.states == [State.OFFLINE]
    assert len(watched.statuses) == 1, "the same reason again is no news"
    assert "hunter2" not in (watched.statuses[0].reason or "")


def test_a_source_that_sends_too_many_pictures_is_refused(tmp_path):
    """The bound on the input rate is a reason, not a melted core."""
    video(tmp_path / "fast.mp4", seconds=3, fps=100)
    with Watched("file:fast.mp4", fps=1, limits=replace(QUICK, max_input_fps=50), media_dir=tmp_path) as fast:
        reason = fast.until_state(State.FAILED).reason
    assert reason is not None
    assert "pictures a second, over the limit of 50 (max_input_fps)" in reason
    assert len(fast.frames) >= 1


def test_a_defect_of_ours_is_told_and_the_camera_goes_on(monkeypatch, caplog):
    """An error that nobody foresaw is a reason and a log line without credentials, and the next attempt works."""
    attempts, real = itertools.count(), registry.open_source

    def broken_once(url, **how):
        if next(attempts) == 0:
            raise ZeroDivisionError(f"while opening {url}")
        return real("synthetic:static", **how)

    monkeypatch.setattr("streaming.sources.capture.open_source", broken_once)
    with Watched("rtsp://admin:hunter2@cam/") as watched:
        watched.until_state(State.LIVE)
    assert watched.states == [State.FAILED, State.LIVE]
    assert watched.statuses[0].reason == "internal error while reading (ZeroDivisionError); see the log"
    assert "ZeroDivisionError: while opening rtsp://***@cam/" in caplog.text
    assert "hunter2" not in caplog.text


def test_stop_returns_at_once_and_nothing_is_called_after_it():
    """From a wait between pictures, with both threads gone."""
    calls = []
    mailbox = Mailbox()
    first = threading.Event()

    def on_frame():
        calls.append("frame")
        first.set()

    capture = Capture(
        "cam",
        "synthetic:static?fps=0.1",
        2,
        limits=QUICK,
        media_dir=None,
        mailbox=mailbox,
        clock=SystemClock(),
        on_status=calls.append,
        on_frame=on_frame,
    )
    capture.start()
    assert first.wait(5)
    began = time.monotonic()
    assert capture.stop()
    assert time.monotonic() - began < 0.5
    assert capture.stop(), "twice is harmless"
    assert [getattr(call, "state", call) for call in calls] == [State.LIVE, "frame"]


def test_stop_before_start_is_harmless():
    """A camera that was removed before it began."""
    watched = Watched("synthetic:static")
    assert watched.capture.stop()


def test_stop_returns_in_time_when_the_opening_is_blocked():
    """A server that accepts and says nothing: stop returns within its time, the thread ends by FFmpeg's interrupt."""
    with WebCamera({"/cam": lambda exchange: exchange.closing.wait(20)}) as camera:
        watched = Watched(camera.url("/cam"), limits=replace(QUICK, open_timeout_s=1.5))
        watched.capture.start()
        watched.until(lambda: bool(camera.asked))
        began = time.monotonic()
        assert not watched.capture.stop(0.3)
        assert time.monotonic() - began < 0.6
        assert watched.capture.stop(3), "gone by itself after the opening time-out"
        assert watched.statuses == []
