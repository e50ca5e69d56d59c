"""Drawn scenes: the picture shows what the truth says, the same every time, live and as a file."""

import itertools
from contextlib import closing

import av
import numpy as np
import pytest

from streaming.clock import NS_PER_S, SystemClock
from streaming.pocket.chapters import CHAPTER_S
from streaming.pocket.lens import LENSES, Lens
from streaming.pocket.types import Colour, Happening, Kind
from streaming.sources import Limits, SourceRefused, luma, open_source
from streaming.sources.synthetic import COVERED_CYCLE_S, SCENES, SHOT_S, YARD_CYCLE_S, Scene, render_file

BARE = Lens(noise=0)


@pytest.mark.parametrize("name", SCENES)
def test_the_same_second_is_the_same_picture(name):
    """A scene is a function of time and seed: RGB of the asked size, never a shared buffer."""
    first, again = Scene(name, 96, 80, seed=3), Scene(name, 96, 80, seed=3)
    image = first.render(7.3)
    assert (image.shape, image.dtype) == ((80, 96, 3), np.uint8)
    again.render(3 * CHAPTER_S + 1)  # what was looked at before leaves nothing behind
    np.testing.assert_array_equal(image, again.render(7.3))
    assert first.truth(7.3) == again.truth(7.3)
    assert not np.shares_memory(image, first.render(7.3))


def test_the_seed_varies_the_noise():
    """Two seeds give different grain of the same strength."""
    one, two = (Scene("noise", 96, 80, seed=seed).render(1) for seed in (1, 2))
    assert np.any(one != two)
    assert one.std() == pytest.approx(two.std(), rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_the_seed_never_changes_the_course_of_the_yard(seed):
    """Truth and, but for the grain, picture of every second are those of seed 0."""
    for t_s in np.arange(0, YARD_CYCLE_S, 0.7):
        assert Scene("yard", seed=seed).truth(t_s) == Scene("yard").truth(t_s)
        one, two = (Scene("yard", 96, 80, seed=each, lens=BARE).render(t_s) for each in (0, seed))
        np.testing.assert_array_equal(one, two)


def test_the_yard_shows_what_it_says():
    """Where the truth has a person, a car, a lit lamp or an open door, the picture changes just there."""
    yard = Scene("yard")
    empty, height, width = yard.render(0).astype(int), 336, 448

    def changed(t_s, x, y):
        return np.abs(yard.render(t_s).astype(int) - empty)[int(y * height), int(x * width)].max() > 20

    def only(t_s):
        (one,) = yard.truth(t_s).sightings
        return one

    for t_s in (0, 3.9, 33.9):
        truth = yard.truth(t_s)
        assert (truth.sightings, truth.door_open, truth.lamp_on) == ((), False, False)
    person = only(7)
    assert (person.kind, person.heading, person.at_door) == (Kind.PERSON, 1, False)
    assert person.x == pytest.approx(0.342)
    assert changed(7, person.x, person.y - 0.15)
    assert not changed(7, 0.6, 0.5)
    assert (only(11).at_door, only(11).heading, yard.truth(11).door_open) == (True, 0, True)
    assert changed(11, 0.575, 0.33), "the open door"
    car = only(22.5)
    assert (car.kind, car.colour, car.visible) == (Kind.CAR, Colour.RED, 1.0)
    assert changed(22.5, 0.5, 0.88)
    assert yard.truth(16).lamp_on
    assert changed(16, 0.22, 0.12)


def test_events_come_once_and_in_order():
    """Round after round the same, the seam of two rounds included; a stretch is told whole or in parts alike."""
    yard = Scene("yard")
    told = list(yard.events(0, 2 * YARD_CYCLE_S))
    assert [event.t_s for event in told] == sorted(event.t_s for event in told)
    assert [event.what for event in told].count(Happening.LAMP_ON) == 2
    assert [event.t_s for event in told if event.what is Happening.LAMP_OFF] == [YARD_CYCLE_S]
    cuts = [0, 9.5, 20, YARD_CYCLE_S, 31, 2 * YARD_CYCLE_S]
    assert [event for pair in itertools.pairwise(cuts) for event in yard.events(*pair)] == told


def test_pocket_goes_on_for_days():
    """After a week as on the first day something happens, in the same yard, and never the same."""
    scene = Scene("pocket", 64, 64, seed=3, pace="busy")
    week = 7 * 86_400.0
    days = [list(scene.events(begin, begin + 300)) for begin in (0.0, 86_400.0, week)]
    assert all(len(events) > 20 for events in days)
    assert len({tuple((event.what, event.kind) for event in events) for events in days}) == 3
    assert {scene.script(begin).layout for begin in (0.0, 86_400.0, week)} == {scene.script(0).layout}
    np.testing.assert_array_equal(scene.render(week + 31.7), Scene("pocket", 64, 64, 3, "busy").render(week + 31.7))


def test_pocket_is_another_course_for_every_seed():
    one, two = (list(Scene("pocket", seed=seed).events(0, 200)) for seed in (1, 2))
    assert one != two


def test_static_shows_nobody_and_noise_hides_nothing_else():
    """Both are the empty yard; the noise is dark and strong."""
    static, noise = Scene("static", 96, 80), Scene("noise", 96, 80)
    assert static.truth(17).sightings == noise.truth(17).sightings == ()
    calm = np.abs(static.render(1).astype(int) - static.render(2)).mean()
    assert calm < 2
    assert np.abs(noise.render(1).astype(int) - noise.render(2)).mean() > 3 * calm
    assert noise.render(1).mean() < 0.5 * static.render(1).mean()


def test_cuts_and_covers_are_hard():
    """A new shot changes most of the picture at once; a covered lens is dark and flat."""
    cuts = Scene("cuts")
    last = SHOT_S - 0.1
    np.testing.assert_array_equal(cuts.render(0), cuts.render(last))
    assert np.abs(cuts.render(last).astype(int) - cuts.render(SHOT_S)).mean() > 30
    covered, half = Scene("covered"), COVERED_CYCLE_S / 2
    mean, std = luma(covered.render(half))
    assert mean < 10
    assert std < 1
    assert luma(covered.render(half - 1))[1] > 20


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"name": "moon"}, "no scene 'moon'; there are yard, pocket"),
        ({"pace": "wild"}, "no pace 'wild'; there are still"),
    ],
)
def test_an_unknown_scene_or_pace_names_the_known_ones(asked, sentence):
    """A caller's mistake is answered with what there is."""
    with pytest.raises(ValueError, match=sentence):
        Scene(**{"name": "pocket"} | asked)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("pocket?pace=wild", "option pace must be one of still, normal, busy, not 'wild'"),
        ("pocket?lens=foggy", "option lens must be one of clean, noisy, exposure, drift, not 'foggy'"),
        ("pocket?mirror=yes", "option mirror must be 0 or 1"),
        ("pocket?seed=-1", "option seed must be a number from 0"),
        ("pocket?weather=rain", "unknown option 'weather'; there are fps, lens, mirror, pace, seed, size"),
        ("yard?pace=busy", "scene yard takes no option 'pace'; it takes fps, seed, size, lens, mirror"),
        ("noise?lens=clean", "scene noise takes no option 'lens'; it takes fps, seed, size"),
        ("yard?size=448", "option size must look like 448x336, each side 64 to 2048, not '448'"),
        ("yard?size=2049x64", "each side 64 to 2048, not '2049x64'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(address, sentence):
    """The sentence names the option and what it may be."""
    with pytest.raises(SourceRefused, match=sentence.replace("?", r"\?")):
        open_source(f"synthetic:{address}", fps=2, limits=Limits())


def test_every_option_reaches_the_picture():
    """What the address says is what is drawn."""
    address = "synthetic:pocket?seed=3&pace=busy&lens=noisy&size=96x80&fps=20&mirror=1"
    source = open_source(address, fps=2, limits=Limits())
    scene = Scene("pocket", 96, 80, seed=3, pace="busy", lens=LENSES["noisy"], mirror=True)
    with closing(source.frames()) as frames:
        first, second = itertools.islice(frames, 2)
    np.testing.assert_array_equal(first.image(), scene.render(0))
    np.testing.assert_array_equal(second.image(), scene.render(1 / 20))


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
