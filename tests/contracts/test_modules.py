"""What every module of a kind promises, found by listing the folder: a new file is tested at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from memory import policies
from memory.pool import SlabPool
from memory.rope import Rope
from memory.rows import SlabRows
from memory.types import Kind, KVShape, TokenMeta
from streaming import drop, models
from streaming.drop.base import Cells, Stage


@pytest.mark.parametrize("kind", drop.kinds())
def test_a_drop_rule_decides_per_cell(kind: str) -> None:
    """It is called by its module's name, keeps a camera's first frame and what is forced, and hands on its reference."""
    rule = drop.create(kind)
    assert rule.kind == kind
    assert rule.stage in Stage
    now = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    grids = ((1, 3), (2, 2))
    kept = rule.keep(Cells(now, rule.blank(now), grids))
    assert (kept.mask.dtype, kept.mask.shape) == (torch.bool, (7,))
    assert kept.mask.all()
    assert (kept.change.dtype, kept.change.shape) == (torch.float32, (7,))
    assert kept.reference.shape == rule.blank(now).shape
    assert kept.cut is None or (kept.cut.dtype, kept.cut.shape) == (torch.bool, (2,))
    forced = torch.tensor([True, False] * 3 + [True])
    few = torch.tensor([True, True, False, False, False, True, False])
    again = rule.keep(Cells(now, kept.reference, grids, candidates=few, forced=forced)).mask
    assert again[forced].all()
    assert not again[~forced & ~few].any()
    assert hash(rule) == hash(drop.create(kind))


def random_rows(meta: TokenMeta) -> SlabRows:
    """Arbitrary keys and values for these rows."""
    shape = KVShape(layers=2, kv_heads=2, head_dim=8, dtype=torch.float32, device=torch.device("cpu"))
    pool = SlabPool(shape, slabs=1, rows=len(meta))
    for held in (pool.keys, pool.values):
        held.normal_(generator=torch.Generator().manual_seed(2))
    rope = Rope(1.0 / 10_000 ** (torch.arange(0, 8, 2) / 8), torch.tensor([0, 0, 1, 2]))
    return SlabRows(pool, pool.take(), meta, rope)


@pytest.mark.parametrize("kind", policies.kinds())
@pytest.mark.parametrize("budget", [4, 11, 40])
def test_a_policy_keeps_budget_order_and_prompt(kind: str, budget: int) -> None:
    policy = policies.create(kind)
    assert policy.kind == kind
    frames = np.repeat(np.arange(-1, 7), 4)
    memory = TokenMeta(
        frame=frames,
        t_ns=frames * 1_000_000_000,
        pos=np.tile(np.arange(32), (3, 1)),
        kind=np.where(frames < 0, np.uint8(Kind.PROMPT), np.uint8(Kind.VISION)),
        score=np.linspace(0, 1, 32, dtype=np.float32),
        cell=np.where(frames < 0, -1, np.tile(np.arange(4), 8)).astype(np.int32),
        weight=np.ones(32, np.float32),
    )
    kept = policy.compact(memory, budget, random_rows(memory)).keep
    assert kept.dtype == np.int64
    assert len(kept) <= budget
    assert kept[:4].tolist() == [0, 1, 2, 3]
    assert bool(np.all(np.diff(kept) > 0))


def test_families_and_built_in_models_are_found() -> None:
    """By the checkpoints' `model_type`, and by name."""
    assert all(family.model_type == model_type for model_type, family in models.families().items())
    assert set(models.families()) >= {"qwen2_5_vl", "qwen3_vl"}
    assert set(models.built_in()) >= {"pocket", "tiny-random", "tiny-random-2.5"}
    assert all(models.remark(name) for name in models.built_in()), "none of them knows the world"
    assert "random weights" in models.remark("preset:qwen3-vl-2b")
    assert models.remark("Qwen/Qwen3-VL-2B-Instruct") == ""


@pytest.mark.parametrize("name", sorted(models.built_in()))
def test_a_family_lays_frames_out_one_behind_the_other(name: str, tmp_path: Path) -> None:
    """Ids ascend from frame to frame, no token shares all three with another, and what is promised of a frame holds."""
    model = models.load(name, cache_dir=tmp_path)
    assert model.rope.inv_freq.shape == model.rope.axes.shape == (model.kv.head_dim // 2,)
    assert str(model.attention)
    start, seen = len(model.dialogue.head), set()
    for i in range(6):
        layout = model.layout((2, 3), time_s=i / 2, start=start)
        assert layout.pos.shape == (3, len(layout.ids))
        assert int(layout.visual.sum()) == 6
        assert len(layout.ids) - 6 <= model.frame_overhead()
        assert layout.end >= start
        assert layout.end > int(layout.pos.max())
        new = {tuple(ids) for ids in layout.pos.T.tolist()}
        assert len(new) == len(layout.ids)
        assert not new & seen
        start, seen = layout.end, seen | new
