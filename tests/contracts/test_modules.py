"""What every module of a kind promises, found by listing the folder: a new file is tested at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memory import policies
from memory.types import Kind, TokenMeta
from streaming import drop, models
from streaming.drop.base import Cells, Stage


@pytest.mark.parametrize("kind", drop.kinds())
def test_a_drop_rule_decides_per_cell(kind: str) -> None:
    """It is called by its module's name, keeps a camera's first frame whole, and hands back a reference of its shape."""
    rule = drop.create(kind)
    assert rule.kind == kind
    assert rule.stage in Stage
    now = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    kept = rule.keep(Cells(now, torch.zeros_like(now), ((1, 3), (2, 2))))
    assert (kept.mask.dtype, kept.mask.shape) == (torch.bool, (7,))
    assert kept.mask.all()
    assert (kept.change.dtype, kept.change.shape) == (torch.float32, (7,))
    assert kept.reference.shape == now.shape
    assert hash(rule) == hash(drop.create(kind))


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
    )
    kept = policy.compact(memory, budget).keep
    assert kept.dtype == np.int64
    assert len(kept) <= budget
    assert kept[:4].tolist() == [0, 1, 2, 3]
    assert bool(np.all(np.diff(kept) > 0))


def test_families_and_built_in_models_are_found() -> None:
    """By the checkpoints' `model_type`, and by name."""
    assert all(family.model_type == model_type for model_type, family in models.families().items())
    assert "qwen3_vl" in models.families()
    assert "tiny-random" in models.built_in()
