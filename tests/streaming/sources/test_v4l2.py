"""Cameras plugged into this machine: what can be judged without one, and a real one where there is one."""

import itertools
from pathlib import Path

import pytest

from streaming.sources import SourceLost, SourceRefused, open_source, probe
from streaming.sources.v4l2 import check_device

from .media import QUICK


def test_a_camera_that_is_not_plugged_in_may_come_back():
    """A missing device is lost, not refused: someone may plug it in."""
    probed = probe("v4l2:/dev/video63", limits=QUICK)
    assert (probed.ok, probed.retryable) == (False, True)
    assert probed.text == "/dev/video63 is not there; is the camera plugged in?"


def test_a_file_is_no_device(tmp_path):
    """Only a character device can be a camera."""
    (tmp_path / "video0").touch()
    with pytest.raises(SourceRefused, match="is not a video device"):
        check_device(tmp_path / "video0")
    with pytest.raises(SourceLost, match="plugged in"):
        check_device(tmp_path / "video1")


@pytest.mark.parametrize("name", ["/dev/video0", "///dev/video12", "/dev/v4l/by-id/usb-Cam_1-video-index0"])
def test_names_of_devices_are_accepted(name):
    """Plain, as an address, and by a stable name."""
    source = open_source(f"v4l2:{name}?size=1280x720", fps=2)
    source.close()


@pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no camera at /dev/video0")
def test_a_real_camera_gives_pictures():
    """Three pictures, each newer than the one before."""
    frames = open_source("v4l2:/dev/video0", fps=2).frames()
    stamps = [picture.pts_ns for picture in itertools.islice(frames, 3)]
    frames.close()
    assert stamps == sorted(set(stamps))
