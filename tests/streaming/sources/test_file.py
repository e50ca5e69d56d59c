"""Files: played at their own speed inside the media folder, and every bad one refused with its reason."""

import itertools
import os
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from streaming.clock import NS_PER_S, SystemClock
from streaming.sources import SourceEnded, SourceError, SourceRefused, open_source, probe
from streaming.sources.ffmpeg import fit
from streaming.sources.synthetic import Scene
from streaming.sources.timing import Pacer

from .media import QUICK, huge_jpegs, joined, sound, truncated, video


def play(name, media_dir, *, limits=QUICK):
    """All pictures of a file, from the first to the end or the error."""
    with closing(open_source(f"file:{name}", fps=2, limits=limits, media_dir=media_dir).frames()) as frames:
        yield from frames


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    video(folder / "yard.mp4")
    video(folder / "yard.ts", gop=5)
    video(folder / "big.ts", size=(320, 240), gop=5)
    video(folder / "other.ts", codec="mpeg2video", size=(160, 128))
    video(folder / "long.mp4", seconds=8)
    return folder


def test_plays_every_picture_at_its_own_speed(media):
    """Ten pictures of 10 fps take 0.9 s from first to last; they look as drawn; then the source ends."""
    clock, seen, images = SystemClock(), [], []
    for picture in play("yard.mp4", media):
        seen.append(clock.monotonic_ns())
        images.append(picture.image())
    assert len(seen) == 10
    assert 0.85 <= (seen[-1] - seen[0]) / NS_PER_S < 1.3
    drawn = Scene("yard", 160, 120).render(6.5).astype(int)
    assert np.abs(drawn - images[5]).mean() < 10
    assert images[5].flags.c_contiguous
    assert images[5].dtype == np.uint8


def test_a_loop_goes_on_over_the_seam(media):
    """Media time never steps back and keeps its rhythm, and key frames are marked."""
    pictures = list(itertools.islice(play("yard.mp4?loop=1", media), 14))
    assert [picture.pts_ns for picture in pictures] == [i * NS_PER_S // 10 for i in range(14)]
    assert pictures[0].keyframe
    assert not pictures[1].keyframe
    assert pictures[10].keyframe


def test_close_ends_a_wait_between_pictures(media, tmp_path, monkeypatch):
    """A file of one picture in eight seconds waits for the next one, and ends at once when another thread closes it."""
    video(tmp_path / "slow.mp4", seconds=32, fps=1 / 8)
    source = open_source("file:slow.mp4", fps=1, limits=QUICK, media_dir=tmp_path)
    frames = source.frames()
    next(frames)
    further = []
    waiting = threading.Thread(target=lambda: further.extend(frames))
    waits, wait_ns = threading.Event(), Pacer.wait_ns

    def noticed(*args):
        if (ns := wait_ns(*args)) > 5 * NS_PER_S:
            waits.set()
        return ns

    monkeypatch.setattr(Pacer, "wait_ns", noticed)
    waiting.start()
    assert waits.wait(10)
    source.close()
    waiting.join(2)
    assert not waiting.is_alive()
    assert further == []


def test_a_time_lapse_is_shown_at_once_and_is_not_truncated(media, tmp_path):
    """A picture in half a minute: nobody waits for the next, and the last one lasts as long as the others."""
    video(tmp_path / "lapse.mp4", seconds=120, fps=1 / 30)
    pictures = list(play("lapse.mp4", tmp_path))
    assert [picture.pts_ns // NS_PER_S for picture in pictures] == [0, 30, 60, 90]


def test_a_large_picture_is_scaled_while_it_is_converted(media):
    """convert_max_pixels bounds what is allocated and keeps the shape; `size` still says what was sent."""
    picture = next(play("big.ts", media, limits=replace(QUICK, convert_max_pixels=160 * 120)))
    assert picture.size == (320, 240)
    assert picture.image().shape == (120, 160, 3)


@pytest.mark.parametrize(("width", "height"), [(16384, 16384), (1921, 1080), (2, 4_000_000), (7680, 4320)])
def test_fitting_never_exceeds_the_bound(width, height):
    """Even sides of at least 2, at most max_pixels, and the same shape but for slivers."""
    w, h = fit(width, height, 1920 * 1080)
    assert w % 2 == h % 2 == 0
    assert w * h <= 1920 * 1080
    assert w == 2 or w / h == pytest.approx(width / height, rel=0.01)


@pytest.mark.parametrize(
    "name", ["../secret.mp4", "/etc/hostname", "a/../../secret.mp4", "link.mp4", "folder/secret.mp4"]
)
def test_nothing_outside_the_media_folder_can_be_read(tmp_path, name):
    """Neither through .., nor an absolute path, nor a link to a file or a folder."""
    outside, inside = tmp_path / "outside", tmp_path / "media"
    outside.mkdir()
    inside.mkdir()
    video(outside / "secret.mp4")
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    (inside / "folder").symlink_to(outside)
    with pytest.raises(SourceRefused, match="outside the media folder"):
        open_source(f"file:{name}", fps=2, media_dir=inside)


def test_a_link_that_appears_later_is_caught_at_opening(tmp_path):
    """The path is judged again when it is opened, not only when the camera was added."""
    source = open_source("file:later.mp4", fps=2, limits=QUICK, media_dir=tmp_path)
    (tmp_path / "later.mp4").symlink_to("/etc/hostname")
    with pytest.raises(SourceRefused, match="outside the media folder"):
        next(source.frames())


BAD = {
    "missing.mp4": "does not exist in the media folder",
    "empty.mp4": r"is empty \(0 bytes\)",
    "folder.mp4": "is not a regular file",
    "pipe.mp4": "is not a regular file",
    "text.mp4": "is not a video",
    "noise.mp4": "is not a video, or is damaged or truncated",
    "picture.png": "is not a video of a permitted format",
    "playlist.m3u8": "is not a video of a permitted format",
    "list.ffconcat": "is not a video of a permitted format",
    "sound.m4a": "has no video in it, only audio",
    "headless.mp4": "is not a video, or is damaged or truncated",
    "huge.mjpeg": "no picture in it can be decoded; .* larger than the limit of 33.2 megapixels",
    "hollow.mp4": "no picture in it can be decoded",
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory, media):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "text.mp4").write_text("This is no video.\n" * 500)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(100_000))
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "playlist.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n")
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {media / 'yard.mp4'}\n")
    sound(folder / "sound.m4a")
    truncated(folder / "headless.mp4", media / "yard.mp4", 0.5)  # the index of an mp4 comes last
    huge_jpegs(folder / "huge.mjpeg")
    whole = bytearray((media / "yard.mp4").read_bytes())
    begin, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    whole[begin:end] = b"\xff" * (end - begin)
    (folder / "hollow.mp4").write_bytes(bytes(whole))
    return folder


@pytest.mark.parametrize(("name", "says"), BAD.items())
def test_a_bad_file_is_refused_with_its_reason(bad, name, says):
    """One sentence that names the file and what is wrong; a person must act."""
    with pytest.raises(SourceRefused, match=says) as refused:
        list(play(name, bad))
    assert str(bad) not in refused.value.reason
    assert (
        refused.value.__context__ is None or "file:" in refused.value.reason or "pictures are" in refused.value.reason
    )
    probed = probe(f"file:{name}", limits=QUICK, media_dir=bad)
    assert (probed.ok, probed.text, probed.retryable) == (False, refused.value.reason, False)


def test_probe_tells_what_a_good_file_gives(media):
    """The size as sent, and how long the first picture took."""
    probed = probe("file:big.ts", limits=QUICK, media_dir=media)
    assert probed.ok
    assert (probed.width, probed.height) == (320, 240)
    assert probed.text.startswith("file:big.ts gives 320x240 pictures, the first after ")
    assert 0 < probed.took_ms < 3000


def test_a_truncated_file_plays_what_is_there_and_says_so(tmp_path):
    """With the index in front, the first half plays; the end tells how much is missing."""
    whole = video(tmp_path / "whole.mkv", seconds=8, fps=10)
    truncated(tmp_path / "half.mkv", whole, 0.3)
    pictures, clock = [], SystemClock()
    began = clock.monotonic_ns()
    frames = play("half.mkv", tmp_path)
    with pytest.raises(SourceEnded, match=r"file:half.mkv is truncated: it ends after \d\.\d of 8\.0 s"):
        pictures.extend(frames)
    assert 3 <= len(pictures) <= 60
    assert (clock.monotonic_ns() - began) / NS_PER_S < 8


def test_a_corrupt_stretch_costs_its_pictures_only(media, tmp_path):
    """Garbage in the middle of a stream is stepped over; pictures before and after it come."""
    data = bytearray((video(tmp_path / "fine.ts", seconds=3, gop=5)).read_bytes())
    third = len(data) // 3
    data[third : third + third // 4] = np.random.default_rng(2).bytes(third // 4)
    (tmp_path / "torn.ts").write_bytes(data)
    pictures = list(play("torn.ts", tmp_path))
    assert 15 <= len(pictures) <= 30
    assert pictures[-1].pts_ns > 2.5 * NS_PER_S


def test_the_resolution_may_change_midway(media, tmp_path):
    """Both halves play, each in its own size, and the clock goes on although the timestamps start over."""
    joined(tmp_path / "both.ts", media / "yard.ts", media / "big.ts")
    pictures = list(play("both.ts", tmp_path))
    assert [picture.image().shape[:2] for picture in pictures[::19]] == [(120, 160), (240, 320)]
    assert len(pictures) == 20


def test_a_change_to_a_huge_resolution_is_refused_midway(media, tmp_path):
    """A stream that becomes too large is stopped before such a picture is converted."""
    joined(tmp_path / "grows.ts", media / "yard.ts", media / "big.ts")
    with pytest.raises(SourceRefused, match="320x240; the limit is"):
        list(play("grows.ts", tmp_path, limits=replace(QUICK, max_pixels=200 * 200)))


def test_a_change_of_codec_midway_ends_in_a_reason_or_in_pictures(media, tmp_path):
    """Whatever FFmpeg makes of so short a file, a half of it plays, nothing crashes, and it comes to an end."""
    joined(tmp_path / "mixed.ts", media / "yard.ts", media / "other.ts")
    pictures = []
    try:
        frames = play("mixed.ts", tmp_path, limits=replace(QUICK, max_decode_errors=5))
        pictures.extend(picture.image().shape for picture in frames)
    except SourceError as error:
        assert "codec changed" in error.reason or "truncated" in error.reason
    assert set(pictures) <= {(120, 160, 3), (128, 160, 3)}
    assert len(pictures) >= 5
