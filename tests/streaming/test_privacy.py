"""What a mask touches is gone, wherever its edges lie; everything else is as it was."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streaming.privacy import GREY, Privacy, covered, rectangles
from streaming.types import Image, Polygon

SHARE = st.floats(0, 1)
POLYGON = st.lists(st.tuples(SHARE, SHARE), min_size=3, max_size=7).map(tuple)
SIZE = st.tuples(st.integers(1, 24), st.integers(1, 24))
STAR: Polygon = tuple((0.5 + 0.5 * np.sin(4 * np.pi * i / 5), 0.5 - 0.5 * np.cos(4 * np.pi * i / 5)) for i in range(5))
FINE = 5  # points across a pixel that the plain reference looks at


def wound(polygon: Polygon, x: float, y: float) -> bool:
    """Whether the polygon winds around a point: the angles to its corners, added up."""
    angles = [np.arctan2(cy - y, cx - x) for cx, cy in polygon]
    turns = sum((b - a + np.pi) % (2 * np.pi) - np.pi for a, b in zip(angles, [*angles[1:], angles[0]], strict=True))
    return abs(turns) > np.pi


def noise(size: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def inside(polygon: Polygon, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of which some point of a fine grid lies inside."""
    h, w = size
    points = [
        (row, column, wound(polygon, (column + (i + 0.5) / FINE) / w, (row + (j + 0.5) / FINE) / h))
        for row in range(h)
        for column in range(w)
        for i in range(FINE)
        for j in range(FINE)
    ]
    found = np.zeros(size, np.bool_)
    for row, column, is_inside in points:
        found[row, column] |= is_inside
    return found


@settings(max_examples=30, deadline=None)
@given(POLYGON, st.tuples(st.integers(1, 9), st.integers(1, 9)))
@example(STAR, (9, 9))
@example(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), (4, 6))
@example(((0.41, 0.0), (0.42, 0.0), (0.42, 1.0), (0.41, 1.0)), (7, 7))
def test_every_pixel_that_a_mask_touches_is_covered(polygon: Polygon, size: tuple[int, int]) -> None:
    """Against a plain reference: points in every pixel, and the angle that the polygon winds around each."""
    assert not (inside(polygon, size) & ~covered((polygon,), size)).any()


def test_a_star_has_no_hole() -> None:
    """What its edges wind around twice is inside as well."""
    assert covered((STAR,), (40, 40))[14:24, 15:25].all()


def test_a_mask_is_covered_with_the_pixel_around_it_and_no_further() -> None:
    """Colour is stored more coarsely than light: the pixel beside a mask may hold some of its colour."""
    found = covered((((0.25, 0.25), (0.5, 0.25), (0.5, 0.75), (0.25, 0.75)),), (40, 80))
    assert found[9:32, 19:42].all()
    assert int(found.sum()) == 23 * 23


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), SIZE)
def test_rectangles_are_the_mask(seed: int, size: tuple[int, int]) -> None:
    """Each of its pixels once, and no other."""
    mask = np.random.default_rng(seed).random(size) < 0.5
    count = np.zeros(size, np.int64)
    for rows, columns in rectangles(mask):
        count[rows, columns] += 1
    assert np.array_equal(count, mask.astype(np.int64))


@settings(max_examples=30, deadline=None)
@given(st.lists(POLYGON, min_size=1, max_size=3), SIZE)
def test_pictures_that_differ_under_a_mask_alone_are_one_picture(masks: list[Polygon], size: tuple[int, int]) -> None:
    """No value of what is hidden is left; no other pixel is touched."""
    where = covered(masks, size)
    one, two = noise(size, 1), noise(size, 1)
    two[where] = noise(size, 2)[where]
    privacy = Privacy(masks)
    assert np.array_equal(privacy.paint(one.copy()), privacy.paint(two.copy()))
    painted = privacy.paint(one.copy())
    assert (painted[where] == GREY).all()
    assert np.array_equal(painted[~where], one[~where])


def test_a_mask_follows_the_size_of_the_picture() -> None:
    """A camera that changes its resolution is masked in the same place."""
    privacy = Privacy([((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))])
    for size in ((8, 8), (20, 32), (8, 8)):
        painted = privacy.paint(noise(size))
        assert (painted[:, size[1] // 2 :] == GREY).all()
        assert not (painted[:, : size[1] // 2 - 1] == GREY).all()


def test_a_picture_that_may_not_be_written_is_copied() -> None:
    shown = noise((6, 6))
    before = shown.copy()
    shown.flags.writeable = False
    painted = Privacy([STAR]).paint(shown)
    assert np.array_equal(shown, before)
    assert not np.array_equal(painted, before)
    assert Privacy([]).paint(shown) is shown
