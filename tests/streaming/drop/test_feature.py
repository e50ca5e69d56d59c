from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming import drop
from streaming.drop.base import Cells
from streaming.drop.feature import Feature


def cells(now: list[list[float]], reference: list[list[float]]) -> Cells:
    return Cells(torch.tensor(now), torch.tensor(reference), ((1, len(now)),))


def test_alike_cells_go_and_unlike_ones_stay() -> None:
    """By direction, not by length: s = 1, 0.6, 0, -1 at a threshold of 0.5."""
    kept = Feature(threshold=0.5).keep(cells([[2, 0], [3, 4], [0, 1], [-1, 0]], [[1, 0]] * 4))
    assert kept.mask.tolist() == [False, False, True, True]
    assert kept.change.tolist() == pytest.approx([0, 0.4, 1, 2], abs=1e-6)


def test_a_cosine_at_the_threshold_is_kept() -> None:
    """Dropped iff s > threshold."""
    assert Feature(threshold=0.0).keep(cells([[0, 1]], [[1, 0]])).mask.tolist() == [True]


def test_without_a_reference_everything_is_kept() -> None:
    """The first frame of a camera, at any threshold."""
    assert Feature(threshold=0.0).keep(cells([[1, 2], [3, 4]], [[0, 0], [0, 0]])).mask.all()


def test_a_threshold_of_one_keeps_everything() -> None:
    """Rounding of a cosine beyond 1 does not count."""
    now = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    assert Feature(threshold=1.0).keep(Cells(now, now.clone(), ((10, 20),))).mask.all()


def test_the_reference_is_the_previous_frame_also_where_it_was_dropped() -> None:
    """Paper-exact, with its known flaw: slow drift is never seen."""
    angle = torch.linspace(0, 3.14, 40)
    frames = torch.stack((angle.cos(), angle.sin()), dim=-1)[:, None]
    rule, reference, kept = Feature(), torch.zeros(1, 2), []
    for now in frames:
        result = rule.keep(Cells(now, reference, ((1, 1),)))
        reference = result.reference
        kept.append(bool(result.mask))
    assert kept == [True] + [False] * 39


@given(st.integers(0, 2**31), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5))
def test_cameras_in_one_operation_decide_as_alone(seed: int, grids: list[tuple[int, int]]) -> None:
    """One batched call equals a call per camera."""
    random = torch.Generator().manual_seed(seed)
    counts = [h * w for h, w in grids]
    now, reference = (torch.randn(sum(counts), 8, generator=random) for _ in range(2))
    together = Feature().keep(Cells(now, reference, tuple(grids))).mask.split(counts)
    for mask, a, b, hw in zip(together, now.split(counts), reference.split(counts), grids, strict=True):
        assert torch.equal(mask, Feature().keep(Cells(a, b, (hw,))).mask)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        drop.create("feature", threshold=threshold)


def test_unknown_rules_and_options_are_named() -> None:
    with pytest.raises(ValueError, match="no drop rule 'magic'; there are: dtdr, feature, none, pixel"):
        drop.create("magic")
    with pytest.raises(ValueError, match=r"drop rule 'feature'.*tau"):
        drop.create("feature", tau=1)
