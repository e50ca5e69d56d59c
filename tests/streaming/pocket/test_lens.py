"""What a camera adds: as strong as it says, the same at the same moment, and never the course of events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.pocket.lens import LENSES, Lens, compressed
from streaming.pocket.script import Layout, Script
from streaming.pocket.world import World

from .scripts import SEEDS


def grey(lens: Lens, t_s: float, seed: int = 0, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    return lens.take(np.full((*size, 3), 128, np.float32), t_s, seed)


def test_no_noise_is_no_noise() -> None:
    assert np.all(grey(Lens(noise=0), 3.1) == 128)


@pytest.mark.parametrize("size", [(96, 128), (336, 448), (1200, 1600)])
def test_noise_is_as_strong_as_it_says_and_new_at_every_moment(size: tuple[int, int]) -> None:
    """Its standard deviation in levels, at any size; the next picture's is another; a seed has its own."""
    lens = Lens(noise=9)
    one = grey(lens, 1.0, size=size)
    assert one.std() == pytest.approx(9, rel=0.05)
    for other in (grey(lens, 1.1, size=size), grey(lens, 1.0, 1, size=size)):
        assert np.corrcoef(one[..., 0].ravel(), other[..., 0].ravel())[0, 1] < 0.1


@given(SEEDS, st.floats(0, 1e6))
def test_exposure_steps_are_bounded_and_last(seed: int, t_s: float) -> None:
    """Within `step` of the brightness, and constant until the next step."""
    lens = LENSES["exposure"]
    assert abs(lens.brightness(t_s, seed) - 1) <= lens.step
    begin = (t_s // lens.steps_s) * lens.steps_s
    assert lens.brightness(t_s, seed) == lens.brightness((begin + t_s) / 2, seed)


@given(st.floats(0, 1e6))
def test_drift_is_slow_and_bounded(t_s: float) -> None:
    """Never farther than `sway`; less than a pixel of 128 between two pictures of 4 a second."""
    lens = LENSES["drift"]
    here, next_ = np.array(lens.shift(t_s)), np.array(lens.shift(t_s + 0.25))
    assert np.abs(here).max() <= lens.sway
    assert np.abs(next_ - here).max() < 1 / 128


def test_drift_moves_the_picture_whole() -> None:
    """The drifted picture is the still one, elsewhere; the edge is filled with what is beside it."""
    empty = Script(30.0, Layout(), ())
    still, sways = (World(empty, Lens(noise=0, sway=sway), 128, 96) for sway in (0.0, 0.05))
    t_s = 22.5  # a quarter of the period: farthest to the right
    dx, dy = (round(share * 128) for share in sways.lens.shift(t_s))
    assert dx == 6
    here, there = still.render(t_s), sways.render(t_s)
    rows = slice(10, 80)
    np.testing.assert_array_equal(there[rows, 20:100], np.roll(here, (dy, dx), (0, 1))[rows, 20:100])
    assert np.all(there[:, :dx] == there[:, dx : dx + 1])


def test_compression_costs_detail() -> None:
    image = World(Script(30.0, Layout(), ()), Lens(noise=4), 128, 96).render(0)
    errors = [np.abs(compressed(image, quality).astype(int) - image).mean() for quality in (95, 30)]
    assert 0 < errors[0] < errors[1] < 12
    np.testing.assert_array_equal(compressed(image, 30), compressed(image, 30))
