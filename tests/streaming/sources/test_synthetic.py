"""Drawn scenes: the picture shows what the truth says, the same every time, live and as a file."""

import itertools
from contextlib import closing

import av
import numpy as np
import pytest

from streaming.clock import NS_PER_S, SystemClock
from streaming.sources import Limits, luma, open_source
from streaming.sources.synthetic import SCENES, Scene, Truth, render_file


@pytest.mark.parametrize("name", SCENES)
def test_the_same_second_is_the_same_picture(name):
    """A scene is a function of time and seed: RGB of the asked size, never a shared buffer."""
    first, again = Scene(name, 96, 80, seed=3), Scene(name, 96, 80, seed=3)
    image = first.render(7.3)
    assert (image.shape, image.dtype) == ((80, 96, 3), np.uint8)
    np.testing.assert_array_equal(image, again.render(7.3))
    assert not np.shares_memory(image, first.render(7.3))


def test_the_seed_varies_the_noise():
    """Two seeds give different grain of the same strength."""
    one, two = (Scene("noise", 96, 80, seed=seed).render(1) for seed in (1, 2))
    assert np.any(one != two)
    assert one.std() == pytest.approx(two.std(), rel=0.05)


def test_the_yard_shows_what_it_says():
    """Where the truth has a person, a car, a lit lamp or an open door, the picture changes just there."""
    yard = Scene("yard")
    empty, height, width = yard.render(0).astype(int), 336, 448
    assert yard.truth(0) == Truth()

    def changed(t_s, x, y):
        return np.abs(yard.render(t_s).astype(int) - empty)[int(y * height), int(x * width)].max() > 20

    assert yard.truth(7).person == pytest.approx(0.32)
    assert changed(7, 0.32, 0.5)
    assert not changed(7, 0.6, 0.5)
    assert (yard.truth(11).person, yard.truth(11).door_open) == (0.6, True)
    assert changed(11, 0.57, 0.33), "the open door"
    assert yard.truth(22.5).car == pytest.approx(0.5)
    assert changed(22.5, 0.5, 0.88)
    assert yard.truth(16).lamp_on
    assert changed(16, 0.225, 0.15)
    assert yard.truth(3.9) == yard.truth(33.9) == Truth()


def test_cuts_and_covers_are_hard():
    """A new shot changes most of the picture at once; a covered lens is dark and flat."""
    cuts = Scene("cuts")
    assert (cuts.truth(3.9).shot, cuts.truth(4.0).shot) == (0, 1)
    assert np.abs(cuts.render(3.9).astype(int) - cuts.render(4.0)).mean() > 30
    covered = Scene("covered")
    assert covered.truth(10).covered
    mean, std = luma(covered.render(10))
    assert mean < 10
    assert std < 1
    assert luma(covered.render(9))[1] > 20


def test_an_unknown_scene_names_the_known_ones():
    """A caller's mistake is answered with what there is."""
    with pytest.raises(ValueError, match="no scene 'moon'; there are yard, static"):
        Scene("moon")


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("mpeg2video", "ts"), ("mjpeg", "avi")])
def test_a_rendered_file_plays_back_as_drawn(tmp_path, codec, suffix):
    """As many frames as seconds x fps, close to the drawing, with key frames where they were asked for."""
    scene = Scene("yard", 160, 128)
    path = tmp_path / f"yard.{suffix}"
    render_file(path, scene, seconds=2, fps=25, start_s=6, codec=codec, gop=10)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 50
    assert frames[20].key_frame
    drawn, played = scene.render(6 + 20 / 25).astype(int), frames[20].to_ndarray(format="rgb24").astype(int)
    assert np.abs(drawn - played).mean() < 8


def test_plays_live_and_draws_only_what_is_used():
    """Pictures come on time with their place in the scene; closing ends the wait."""
    source = open_source("synthetic:yard?fps=20&size=96x80&seed=1", fps=2, limits=Limits())
    clock = SystemClock()
    with closing(source.frames()) as frames:
        began = clock.monotonic_ns()
        pictures = list(itertools.islice(frames, 11))
        assert 0.5 <= (clock.monotonic_ns() - began) / NS_PER_S < 1.0
        assert [picture.pts_ns for picture in pictures] == [i * NS_PER_S // 20 for i in range(11)]
        np.testing.assert_array_equal(pictures[10].image(), Scene("yard", 96, 80, seed=1).render(0.5))
        source.close()
        assert list(frames) == []
