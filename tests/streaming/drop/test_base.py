"""Cells of many cameras in one batch, and rules of both stages by their names."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import drop
from streaming.drop.base import cameras_of

GRIDS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=5)
CPU = torch.device("cpu")


@settings(deadline=None)
@given(st.integers(0, 2**31), GRIDS)
def test_reductions_are_those_of_each_camera_alone(seed: int, grids: list[tuple[int, int]]) -> None:
    """Mean, maximum, median and rank over ragged cameras equal a loop over them."""
    counts = [h * w for h, w in grids]
    values = torch.randint(0, 9, (sum(counts),), generator=torch.Generator().manual_seed(seed)).float()
    cameras = cameras_of(tuple(grids), CPU)
    parts = values.split(counts)
    assert cameras.mean(values).tolist() == pytest.approx([float(part.mean()) for part in parts])
    assert cameras.largest_of(values).tolist() == [float(part.max()) for part in parts]
    assert cameras.median(values).tolist() == [float(part.median()) for part in parts]
    for ranks, part in zip(cameras.rank(values).split(counts), parts, strict=True):
        assert sorted(ranks.tolist()) == list(range(len(part)))
        assert bool((part[ranks.argsort()].diff() <= 0).all())


def test_around_a_cell_are_its_neighbours_of_the_same_camera() -> None:
    """Nine of them inside, itself in place of those beyond the edge; never a cell of the camera before."""
    around = cameras_of(((2, 2), (3, 3)), CPU).around
    assert sorted(around[:, 4 + 4].tolist()) == list(range(4, 13))
    assert set(around[:, 4].tolist()) == {4, 5, 7, 8}
    assert set(around[:, 0].tolist()) == {0, 1, 2, 3}


def test_a_camera_has_one_rule_of_each_stage() -> None:
    """In either order of their names; the other stage lets everything through."""
    both = drop.stages("dtdr+pixel", {"pixel": {"times": 3.0}, "dtdr": {"floor": 2}})
    assert both == drop.stages("pixel+dtdr", {"pixel": {"times": 3.0}, "dtdr": {"floor": 2}})
    assert both.pixels == drop.create("pixel", times=3.0)
    assert drop.stages("feature").pixels is None
    assert drop.stages("pixel").features == drop.create("none")


def test_the_shorter_time_between_key_frames_counts() -> None:
    """And none asks for any where both say never, as the paper's rule does."""
    assert drop.stages("pixel+dtdr", {"pixel": {"key_s": 20.0}}).key_s == 20.0
    assert drop.stages("pixel+dtdr", {"pixel": {"key_s": 0.0}}).key_s == 30.0
    assert drop.stages("feature").key_s == 0.0


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("feature+dtdr", "'feature' and 'dtdr' both look at features; name one of them"),
        ("pixel+", "no drop rule ''"),
        ("pixel+magic", "no drop rule 'magic'"),
    ],
)
def test_rules_that_do_not_go_together_are_refused(names: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        drop.stages(names)
