"""IP cameras, against GStreamer's RTSP server: pictures flow in time, and each refusal has its reason."""

import itertools
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from streaming.clock import NS_PER_S
from streaming.sources import open_source, probe
from streaming.sources.synthetic import Scene
from streaming.types import CameraState as State
from tests.conftest import CLIPS
from tests.peers.rtsp import RtspServer, why_not

from .media import QUICK, video
from .watched import Watched
from .web_camera import WebCamera

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds of the empty yard; a loop of it shows no seam."""
    return video(tmp_path_factory.mktemp("clip") / "yard.mp4", seconds=2, start_s=0, gop=5)


@pytest.fixture
def camera(clip):
    with RtspServer(clip) as server:
        yield server


def test_pictures_flow_at_the_cameras_pace(camera):
    """In order, over the seam of the loop, evenly, fresh, and as they were filmed."""
    with closing(open_source(camera.url(), fps=2, limits=QUICK).frames()) as frames:
        pictures = list(itertools.islice(frames, 30))
    stamps = [picture.pts_ns for picture in pictures if picture.pts_ns is not None]
    steps = [after - before for before, after in itertools.pairwise(stamps)]
    assert len(steps) >= 20
    assert all(abs(step - NS_PER_S / 10) < NS_PER_S / 50 for step in steps)
    assert all(picture.age_ns < NS_PER_S for picture in pictures)
    drawn = Scene("yard", 160, 120).render(0).astype(int)
    assert np.abs(pictures[-1].image() - drawn).mean() < 10


def test_frames_are_sampled_from_the_live_camera(camera):
    """2 fps out of 10, each frame within a moment of now."""
    with Watched(camera.url(), fps=2) as watched:
        frames = watched.until_frames(5)
        count = watched.capture.counters
    later = [after.pts_ns - before.pts_ns for before, after in itertools.pairwise(frames[1:])]
    assert all(step == pytest.approx(NS_PER_S / 2, rel=0.2) for step in later)
    assert all(frame.seen_ns - frame.pts_ns < NS_PER_S for frame in frames)
    assert watched.states == [State.LIVE]
    assert count.decoded >= 4 * (count.sampled - 1)


def test_passwords_are_asked_for_and_never_shown(clip):
    """None or a wrong one is refused with 401; the right one works."""
    with RtspServer(clip, auth="admin:hunter2") as camera:
        for userinfo in (None, "admin:wrong-hunter3"):
            probed = probe(camera.url(userinfo), limits=QUICK)
            assert (probed.ok, probed.retryable) == (False, False)
            assert "refuses the user name or password (401)" in probed.text
            assert "hunter" not in probed.text
        probed = probe(camera.url("admin:hunter2"), limits=QUICK)
    assert probed.ok, probed.text
    assert "hunter2" not in probed.text


def test_a_path_that_the_camera_has_not_is_not_found(camera):
    """404 is told from 401, and may cure itself."""
    probed = probe(camera.url().replace("/cam", "/nothing"), limits=QUICK)
    assert (probed.ok, probed.retryable) == (False, True)
    assert "no such stream (404)" in probed.text


def test_something_else_that_listens_is_no_camera():
    """A server that speaks another language is told within the time-out, and tried again."""
    with WebCamera({}) as web:
        probed = probe(web.url("/cam").replace("http:", "rtsp:"), limits=QUICK)
    assert not probed.ok
    assert probed.retryable
    assert "answers, but not with RTSP video" in probed.text


def test_the_resolution_may_change_without_a_new_connection(camera, clip):
    """Frames of the new size follow; nothing is interrupted."""
    big = video(clip.parent / "big.mp4", seconds=2, size=(320, 240), gop=5)
    with Watched(camera.url()) as watched:
        watched.until_frames(3)
        camera.command(f"switch {big}")
        watched.until(lambda: watched.frames[-1].image.shape == (240, 320, 3))
        assert watched.capture.counters.width == 320
    assert watched.states == [State.LIVE]


def test_a_camera_that_films_nothing_is_stale_and_comes_back(camera):
    """
    The connection stands but no picture comes: stale; then live again, with the gap between.

    Its timestamps go on where they stopped; they are not believed, because stale_s is above max_lag_s, as by default.
    """
    with Watched(camera.url(), limits=replace(QUICK, read_timeout_s=10, max_lag_s=0.4)) as watched:
        before = watched.until_frames(3)
        camera.command("pause")
        status = watched.until_state(State.STALE)
        assert status.reason == "no picture for 0.5 s while the connection stands"
        camera.command("resume")
        back = watched.until_state(State.LIVE)
        watched.until_frames(3)
        assert watched.capture.counters.connections == 1
    assert back.gap is not None
    begin, end = back.gap
    assert before[-1].pts_ns <= begin < end
    assert end - begin >= QUICK.stale_s * NS_PER_S


@pytest.mark.clips
@pytest.mark.slow
def test_a_real_recording_flows(tmp_path):
    """The clip of the soak test, as a camera: 2 fps of 768x432."""
    clip = CLIPS / "intel_one_by_one_person.mp4"
    if not clip.exists():
        pytest.skip(f"{clip} is missing")
    with RtspServer(clip) as camera, Watched(camera.url(), fps=2) as watched:
        frames = watched.until_frames(10, within_s=30)
    assert {frame.image.shape for frame in frames} == {(432, 768, 3)}
    steps = [after.pts_ns - before.pts_ns for before, after in itertools.pairwise(frames[2:])]
    assert sum(steps) / len(steps) == pytest.approx(NS_PER_S / 2, rel=0.05)
