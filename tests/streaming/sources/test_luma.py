"""Brightness and its spread on a grid agree with the whole picture."""

import numpy as np
import pytest

from streaming.privacy import GREY, Privacy
from streaming.sources import luma
from streaming.sources.synthetic import Scene


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (64, 64), (1080, 1920)])
def test_a_flat_picture_has_its_own_brightness_and_no_spread(size):
    """Any size works; grey 128 is 128."""
    mean, std = luma(np.full((*size, 3), 128, np.uint8))
    assert mean == pytest.approx(128)
    assert std == pytest.approx(0, abs=1e-3)


def test_the_grid_stands_for_the_whole():
    """Within a few percent of every pixel's luma."""
    image = Scene("yard", 640, 480).render(11)
    every = image @ np.array([0.299, 0.587, 0.114])
    mean, std = luma(image)
    assert mean == pytest.approx(every.mean(), rel=0.02)
    assert std == pytest.approx(every.std(), rel=0.05)


def test_green_is_brighter_than_blue():
    """The weights are the eye's."""
    colours = np.zeros((3, 1, 1, 3), np.uint8)
    for channel in range(3):
        colours[channel, ..., channel] = 255
    red, green, blue = (luma(colour)[0] for colour in colours)
    assert blue < red < green


def test_what_is_masked_says_nothing_of_the_light():
    """A covered lens behind a painted mask is as flat as without; where all is masked, the picture is what it is."""
    mask = ((0.2, 0.1), (0.7, 0.1), (0.7, 0.8), (0.2, 0.8))
    dark = np.full((270, 480, 3), 6, np.uint8)
    painted = Privacy([mask]).paint(dark.copy())
    assert luma(painted)[1] > 20
    assert luma(painted, masks=(mask,)) == pytest.approx((6, 0), abs=1e-3)
    everything = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    assert luma(Privacy([everything]).paint(dark), masks=(everything,)) == pytest.approx((GREY, 0), abs=1e-3)
