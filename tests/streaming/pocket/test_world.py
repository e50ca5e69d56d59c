"""The picture and its truth: functions of seed and time that agree with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from streaming.pocket.lens import LENSES
from streaming.pocket.types import Happening, Kind
from streaming.pocket.world import World, resized, world

from .scripts import BARE, PACE, SECONDS, SEEDS, TIMES, bare

CORNER = 6  # pixels: where wheels and legs round apart, one scene in 140 has two


@given(SEEDS, PACE, TIMES)
@settings(max_examples=30, deadline=None)
def test_a_moment_looks_the_same_every_time(seed: int, pace: str, t_s: float) -> None:
    """Picture and truth; a second picture never shares memory with the first."""
    for lens in LENSES:
        one, two = (world(seed, pace=pace, lens=lens) for _ in range(2))
        image = one.render(t_s)
        assert (image.shape, image.dtype) == ((96, 128, 3), np.uint8)
        np.testing.assert_array_equal(image, two.render(t_s))
        assert not np.shares_memory(image, one.render(t_s))
        assert one.truth(t_s) == two.truth(t_s)


@given(SEEDS, PACE, TIMES)
@settings(max_examples=60, deadline=None)
def test_truth_tells_of_all_that_are_there_and_how_much_shows(seed: int, pace: str, t_s: float) -> None:
    """Shares lie in 0..1; what is outside the picture shows nothing, what is inside and alone shows all."""
    scene = bare(seed, pace)
    truth = scene.truth(t_s)
    present = scene.script.present(t_s)
    assert [one.thing for one in truth.sightings] == [one.number for one in present]
    assert (truth.door_open, truth.lamp_on) == (scene.script.door_open(t_s), scene.script.lamp_on(t_s))
    for one, thing in zip(truth.sightings, present, strict=True):
        assert 0 <= one.visible <= 1
        assert one.visible <= thing.inside(t_s) + 0.35  # its box is not filled evenly
        if thing.inside(t_s) == 0 and not -0.02 < one.x < 1.02:
            assert one.visible < 0.05
    if len(present) == 1 and 0.2 < truth.sightings[0].x < 0.8:
        assert truth.sightings[0].visible == 1


@given(SEEDS, TIMES)
@settings(max_examples=40, deadline=None)
def test_the_picture_differs_from_the_empty_one_just_where_somebody_is(seed: int, t_s: float) -> None:
    """Nothing is drawn away from the things; within them the picture is another nearly everywhere."""
    scene = bare(seed)
    owners, _ = scene.owners(t_s)
    empty = World(replace(scene.script, things=()), BARE, 128, 96)
    changed = np.abs(scene.render(t_s).astype(int) - empty.render(t_s)).max(-1) > 12
    inner = np.zeros_like(changed)
    inner[:, 3:-3] = True  # at the edge the soft rim of a thing may show and the thing itself not
    assert not changed[inner & ~_grown(owners > 0)].any()
    if (owners > 0).sum() > 40:
        assert changed[owners > 0].mean() > 0.7


@given(SEEDS, PACE)
@settings(max_examples=15, deadline=None)
def test_what_came_is_seen_and_what_was_taken_is_not(seed: int, pace: str) -> None:
    """Half of a thing shows about when it is told to have come; a bag that was taken has no sighting any more."""
    scene = bare(seed, pace)
    for event in scene.script.events():
        later = {one.thing: one for one in scene.truth(event.t_s + 1e-3).sightings}
        if event.what is Happening.CAME and event.kind is not Kind.PERSON and event.thing in later:
            alone = len(later) == 1
            assert not alone or later[event.thing].visible > 0.35
        if event.what is Happening.DROPPED:
            assert event.thing in later
        if event.what is Happening.TAKEN:
            assert event.thing not in later


@given(SEEDS, TIMES)
@settings(max_examples=40, deadline=None)
def test_a_mirrored_scene_has_its_things_on_the_other_side(seed: int, t_s: float) -> None:
    """The truth is mirrored exactly but for the rounding to pixels; the picture's things lie there, but for a corner."""
    scene, other = bare(seed), bare(seed, mirror=True)
    for one, seen in zip(scene.truth(t_s).sightings, other.truth(t_s).sightings, strict=True):
        assert (seen.thing, seen.kind, seen.colour, seen.y, seen.at_door) == (
            one.thing, one.kind, one.colour, one.y, one.at_door,
        )  # fmt: skip
        assert (seen.x, seen.heading) == (pytest.approx(1 - one.x), -one.heading)
        assert seen.visible == pytest.approx(one.visible, abs=0.2)
    here, there = scene.owners(t_s)[0] > 0, other.owners(t_s)[0][:, ::-1] > 0
    assert (here & ~_grown(there)).sum() <= CORNER
    assert (there & ~_grown(here)).sum() <= CORNER


@given(SEEDS, TIMES)
@settings(max_examples=20, deadline=None)
def test_the_truth_does_not_depend_on_the_size(seed: int, t_s: float) -> None:
    """It is worked out at one size; a larger picture reduced to that one shows about the same."""
    small = bare(seed)
    large = resized(small, 512, 384)
    assert large.truth(t_s) == small.truth(t_s)
    reduced = large.render(t_s).reshape(96, 4, 128, 4, 3).mean((1, 3))
    assert np.abs(reduced - small.render(t_s)).mean() < 8  # levels of 255; edges alone make up to 6


def test_an_unknown_lens_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no lens 'foggy'; there are clean, noisy, exposure, drift"):
        world(1, lens="foggy")


def test_a_scene_stays_as_it_ended() -> None:
    """After its seconds nothing new comes."""
    scene = bare(5)
    last = max(event.t_s for event in scene.script.events())
    assert last < SECONDS + 60
    assert scene.truth(last + 500).sightings == scene.truth(last + 900).sightings


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and all pixels beside it."""
    wide = np.pad(mask, 2)
    shifts = [np.roll(wide, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)]
    return np.logical_or.reduce(shifts)[2:-2, 2:-2]
