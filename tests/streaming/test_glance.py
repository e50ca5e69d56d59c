from __future__ import annotations

import numpy as np

from streaming.glance import ACROSS, glance


def test_a_cell_is_the_brightness_of_its_part_of_the_picture() -> None:
    """Row-major cells, 0..255, whatever the picture's size."""
    for height, width in ((96, 160), (1080, 1920), (37, 61)):
        image = np.zeros((height, width, 3), np.uint8)
        image[height // 2 :, : width // 2] = 200
        cells = glance([image], (2, 2)).astype(float).mean(axis=1)
        np.testing.assert_allclose(cells, [0, 0, 200, 0], atol=9)


def test_colours_weigh_as_the_eye_sees_them() -> None:
    cells = [int(glance([np.full((64, 64, 3), rgb, np.uint8)], (1, 1))[0, 0]) for rgb in ([255, 0, 0], [0, 255, 0])]
    assert cells == [76, 150]


def test_pictures_of_one_patch_lie_side_by_side() -> None:
    """And nobody's pictures give no columns, one row a cell."""
    dark, bright = (np.full((32, 48, 3), level, np.uint8) for level in (10, 90))
    both = glance([dark, bright], (2, 3))
    assert both.shape == (6, 2 * ACROSS**2)
    assert set(both[:, : ACROSS**2].flat) == {10}
    assert set(both[:, ACROSS**2 :].flat) == {90}
    assert glance([], (2, 3)).shape == (6, 0)


def test_a_point_averages_the_noise_of_the_pixels_under_it() -> None:
    noise = np.random.default_rng(0).normal(128, 8, (320, 576, 1)).repeat(3, axis=2).astype(np.uint8)
    assert glance([noise], (10, 18)).astype(float).std() < 8 / 3
