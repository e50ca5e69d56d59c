"""Brightness and its spread on a grid agree with the whole picture."""

import numpy as np
import pytest

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
