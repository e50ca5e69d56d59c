"""The gate: what is noise stays out, what moves comes in, however dark, and nothing drifts away unseen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import drop
from streaming.drop.base import Cells, Kept
from streaming.drop.pixel import Pixel
from streaming.glance import ACROSS

HW = (6, 8)
N, POINTS = HW[0] * HW[1], ACROSS * ACROSS
Luma = np.ndarray


def room(level: float = 120.0) -> Luma:
    """A textured picture without noise, float [n, points]."""
    return level * (0.6 + 0.4 * np.random.default_rng(5).random((N, POINTS)))


def noisy(picture: Luma, sigma: float, seed: int) -> Luma:
    return picture + np.random.default_rng(seed).normal(0, sigma, picture.shape)


def show(pictures: Iterable[Luma], rule: Pixel | None = None) -> list[Kept]:
    """One camera that sees these pictures."""
    rule = rule or Pixel()
    reference, out = None, []
    for picture in pictures:
        now = torch.from_numpy(np.clip(picture, 0, 255).astype(np.uint8))
        kept = rule.keep(Cells(now, rule.blank(now) if reference is None else reference, (HW,)))
        reference = kept.reference
        out.append(kept)
    return out


def opened(kept: list[Kept]) -> list[int]:
    """The numbers of the pictures that opened the gate, the first one aside."""
    return [i for i, each in enumerate(kept) if i and bool(each.mask.any())]


@pytest.mark.parametrize("sigma", [0.0, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("level", [25.0, 120.0])
def test_noise_alone_never_opens_the_gate(sigma: float, level: float) -> None:
    """Sensor noise of any usual strength, from the second picture on, at night as by day."""
    assert opened(show(noisy(room(level), sigma, i) for i in range(60))) == []


def test_what_moves_where_nothing_matters_does_not_open_the_gate_for_the_rest() -> None:
    """A cell that trembles between its threshold and a clear movement stays out, however much goes on elsewhere."""
    rule, matters = Pixel(), torch.zeros(N, dtype=torch.bool)
    matters[:8] = True

    def after(tremble: float, *, candidates: torch.Tensor | None) -> list[int]:
        """The cells that pass, where cell 3 trembles and the lower half of the picture moves."""
        moving = room()
        moving[3, : POINTS // 2] += tremble
        moving[24:] = moving[24:, ::-1]
        reference = rule.blank(torch.from_numpy(room().astype(np.uint8)))
        for picture in (room(), room(), moving):
            now = torch.from_numpy(picture.astype(np.uint8))
            kept = rule.keep(Cells(now, reference, (HW,), candidates=candidates))
            reference = kept.reference
        return torch.nonzero(kept.mask)[:, 0].tolist()

    assert after(4.0, candidates=matters) == []
    assert 3 in after(4.0, candidates=None)
    assert after(8.0, candidates=matters) == [3]


def test_noise_that_lives_in_some_cells_is_learnt_there() -> None:
    """Flicker of a compressed edge, every fourth picture: it opens the gate for some minutes, and then no more."""
    edge = np.zeros((N, POINTS))
    edge[7, : POINTS // 2] = 20.0
    kept = show(noisy(room(), 1.0, i) + edge * (i % 4 == 0) for i in range(400))
    assert opened(kept)[0] == 1
    assert opened(kept)[-1] < 350


@pytest.mark.parametrize("by", [-30.0, 12.0, 40.0])
def test_an_exposure_step_does_not_open_the_gate(by: float) -> None:
    """The whole picture grows brighter or darker at once; the median takes it out."""
    assert opened(show(noisy(room(), 1.5, i) + by * (i >= 30) for i in range(60))) == []


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_a_faint_figure_in_a_dark_noisy_picture_opens_it(sigma: float) -> None:
    """Half a cell, 30 luma levels: seen in the picture where it comes, through the noise of a sensor at full gain (a glance
    averages 16 pixels a point: sigma 8 on the sensor), and nowhere else.
    """
    shade = np.zeros((N, POINTS))
    shade[20, : POINTS // 2] = 30.0
    kept = show(noisy(room(25.0), sigma, i) + shade * (i >= 40) for i in range(60))
    assert opened(kept) == [40]
    assert kept[40].mask.nonzero().flatten().tolist() == [20]


def test_the_flat_side_of_a_van_is_seen_and_a_passing_cloud_is_not() -> None:
    """Cells that turn into another plain colour, all of them and not only at the edges; light on all cells is none."""
    plain = np.full((N, POINTS), 100.0)
    van, cloud = plain.copy(), plain - np.linspace(20, 35, N)[:, None]
    van[8:14] = 160.0
    van[8, : POINTS // 2] = 100.0  # it begins inside a cell
    kept = show(noisy(van if i >= 20 else plain, 1.5, i) for i in range(40))
    assert kept[20].mask.nonzero().flatten().tolist() == [8, 9, 10, 11, 12, 13]
    clouded = show(noisy(cloud if i >= 20 else plain, 1.5, i) for i in range(40))
    assert opened(clouded) == []


def test_what_stays_is_not_new_and_what_leaves_is() -> None:
    """The reference moves with a cell that was let through: a parked car opens once when it comes, once when it goes."""
    car = np.zeros((N, POINTS))
    car[10:13, ::2] = 60.0
    assert opened(show(noisy(room(), 1.5, i) + car * (20 <= i < 50) for i in range(70))) == [20, 50]


def test_slow_drift_adds_up_until_it_is_seen() -> None:
    """Half a level a picture is below every threshold, yet a shadow that creeps in is seen, and seen again."""
    shadow = np.zeros((N, POINTS))
    shadow[5, : POINTS // 2] = 1.0
    steps = opened(show(noisy(room(), 1.0, i) - 0.5 * i * shadow for i in range(150)))
    assert len(steps) >= 3
    assert steps[0] > 5


def test_a_busy_road_stays_visible() -> None:
    """Noise is believed up to a bound only: after ten minutes of traffic a car still opens the gate."""

    def street(i: int) -> Luma:
        cars = np.zeros((N, POINTS))
        cars[24:32][np.random.default_rng(i).random(8) < 0.5] = np.tile([0.0, 90.0], POINTS // 2)
        return noisy(room(), 1.5, i) + cars

    kept = show(street(i) for i in range(1200))
    assert len([i for i in opened(kept) if i > 1100]) > 90


def test_a_cell_that_trembles_at_its_threshold_opens_nothing_alone() -> None:
    """Only what moves clearly opens a frame; then all that moved at all comes with it."""

    def picture(*levels: float) -> Luma:
        shade = np.zeros((N, POINTS))
        for cell, level in enumerate(levels):
            shade[cell, : POINTS // 2] = level
        return room() + shade

    rule = Pixel(times=0.0, least=4.0, clear=2.0)  # thresholds: moved from 4 levels of the measure, clearly from 8
    faint, clear = 10.0, 20.0  # half the cell: 5 and 10 levels of the measure
    assert not show([picture(), picture(), picture(faint)], rule)[2].mask.any()
    both = show([picture(), picture(), picture(faint, clear)], rule)[2].mask
    assert both.nonzero().flatten().tolist() == [0, 1]


def test_another_scene_is_a_cut_and_a_passing_lorry_is_not() -> None:
    """A cut changes most cells and how they relate; the whole of it is let through."""
    lorry = np.zeros((N, POINTS))
    lorry[: N // 3, ::2] = 80.0
    other = room()[::-1] * np.linspace(0.3, 1.8, N)[:, None]
    kept = show([noisy(room(), 1.0, i) for i in range(9)] + [noisy(room(), 1.0, 9) + lorry, noisy(other, 1.0, 10)])
    assert [bool(each.cut) for each in kept] == [False] * 10 + [True]
    assert not kept[9].mask.all()
    assert kept[10].mask.all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_cameras_in_one_operation_decide_as_alone(seed: int, grids: list[tuple[int, int]]) -> None:
    """Over several frames: noise, opening and cuts never reach into another camera."""
    random = torch.Generator().manual_seed(seed)
    counts = [h * w for h, w in grids]
    rule = Pixel()
    now = torch.randint(0, 255, (sum(counts), 16), generator=random, dtype=torch.uint8)
    together, alone = rule.blank(now), [rule.blank(part) for part in now.split(counts)]
    for _ in range(4):
        changes = torch.rand(sum(counts), 1, generator=random) < 0.3
        fresh = torch.randint(0, 255, now.shape, generator=random, dtype=torch.uint8)
        now = torch.where(changes, fresh, now)
        kept = rule.keep(Cells(now, together, tuple(grids)))
        together = kept.reference
        for at, (part, hw) in enumerate(zip(now.split(counts), grids, strict=True)):
            one = rule.keep(Cells(part, alone[at], (hw,)))
            alone[at] = one.reference
            assert torch.equal(one.mask, kept.mask.split(counts)[at])
            assert kept.cut is not None
            assert one.cut is not None
            assert bool(one.cut[0]) == bool(kept.cut[at])


@pytest.mark.parametrize(
    "options", [{"times": -1.0}, {"clear": 0.5}, {"quantile": 2.0}, {"most_noise": 0.0}, {"key_s": -1.0}]
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        drop.create("pixel", **options)
