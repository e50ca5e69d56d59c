from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import drop
from streaming.drop.base import Cells
from streaming.drop.dtdr import Reference

PLAIN = Reference(floor=0, cap=1.0, cut=1.0)


def unit(*degrees: float) -> torch.Tensor:
    """Tokens of two dimensions at these angles."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def scene(n: int, seed: int = 0) -> torch.Tensor:
    """Tokens of which no two are alike."""
    return torch.eye(n)[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]


def test_slow_drift_adds_up_until_it_is_seen() -> None:
    """Compared with the token last kept, not with the frame before: 4.6 degrees a frame are kept every 14th time."""
    reference, kept = torch.zeros(1, 2), []
    for step in range(40):
        result = PLAIN.keep(Cells(unit(4.6 * step), reference, ((1, 1),)))
        reference = result.reference
        kept.append(bool(result.mask))
    assert [i for i, k in enumerate(kept) if k] == [0, 14, 28]


def test_a_shift_by_one_cell_is_no_change_and_by_two_is() -> None:
    """In any of the eight directions, across rows too; what comes in from outside is new."""
    before = scene(36).view(6, 6, 36)
    for by in (1, 2):
        now = before.roll((by, by), dims=(0, 1)).reshape(36, 36)
        mask = PLAIN.keep(Cells(now, before.reshape(36, 36), ((6, 6),))).mask.view(6, 6)
        assert bool(mask[2:, 2:].any()) == (by == 2)
        assert bool(mask[0].all())


def test_the_reference_moves_only_where_a_token_was_kept() -> None:
    before, now = unit(0, 0, 0), unit(10, 90, 0)
    result = Reference(floor=0, cap=1.0, cut=1.0, threshold=0.9).keep(Cells(now, before, ((1, 3),)))
    assert result.mask.tolist() == [False, True, False]
    assert torch.equal(result.reference, torch.stack((before[0], now[1], before[2])))


def test_a_frame_leaves_at_least_the_floor_of_its_candidates() -> None:
    """Those that changed most, also when all of them look alike; never a cell that the gate held back."""
    now, before = unit(0, 1, 2, 3, 4, 5), unit(0, 0, 0, 0, 0, 0)
    assert Reference(floor=2).keep(Cells(now, before, ((1, 6),))).mask.tolist() == [False] * 4 + [True] * 2
    some = torch.tensor([True, True, True, False, False, False])
    assert Reference(floor=2).keep(Cells(now, before, ((1, 6),), candidates=some)).mask.tolist() == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert Reference(floor=9).keep(Cells(now, before, ((1, 6),), candidates=some)).mask.equal(some)


def test_a_frame_takes_at_most_the_cap_and_a_cut_all() -> None:
    """The cap keeps what changed most; from the share of a cut on the whole frame is kept; forced cells come besides."""
    rule = Reference(floor=0, cap=0.25, cut=0.8)
    before = unit(*[0] * 8)
    now = unit(61, 62, 63, 64, 65, 0, 0, 0)
    one_row = ((8, 1),)
    assert rule.keep(Cells(now, before, one_row)).mask.nonzero().flatten().tolist() == [3, 4]
    forced = torch.tensor([False] * 7 + [True])
    assert rule.keep(Cells(now, before, one_row, forced=forced)).mask.nonzero().flatten().tolist() == [3, 4, 7]
    assert rule.keep(Cells(unit(*[70] * 7, 0), before, one_row)).mask.all()


@settings(deadline=None)
@given(st.integers(0, 2**31), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5))
def test_cameras_in_one_operation_decide_as_alone(seed: int, grids: list[tuple[int, int]]) -> None:
    """Floor, cap, cut and tolerance never reach into another camera."""
    random = torch.Generator().manual_seed(seed)
    counts = [h * w for h, w in grids]
    now, reference = (torch.randn(sum(counts), 4, generator=random) for _ in range(2))
    candidates = torch.rand(sum(counts), generator=random) > 0.3
    rule = Reference(floor=2)
    together = rule.keep(Cells(now, reference, tuple(grids), candidates=candidates)).mask.split(counts)
    for at, (mask, hw) in enumerate(zip(together, grids, strict=True)):
        a, b, c = (each.split(counts)[at] for each in (now, reference, candidates))
        assert torch.equal(mask, rule.keep(Cells(a, b, (hw,), candidates=c)).mask)


@pytest.mark.parametrize("options", [{"threshold": 1.1}, {"cap": -0.1}, {"cut": 2.0}, {"floor": -1}, {"key_s": -1.0}])
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        drop.create("dtdr", **options)
