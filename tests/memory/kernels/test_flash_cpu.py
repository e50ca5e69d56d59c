"""Parts without a mask, joined by their log-sum-exp, are the softmax over everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memory.kernels.blocks import among
from memory.kernels.flash_cpu import Among, FlashCpu, joined
from memory.kernels.reference import attend, block_causal, spread

CPU = torch.device("cpu")
FLASH = FlashCpu()._flash


@pytest.mark.parametrize("inside", [None, among])
@given(
    before=st.integers(0, 40),
    own=st.integers(0, 9),
    blocks=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    group=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 1000),
)
def test_joined_parts_equal_the_masked_reference(
    inside: Among | None, before: int, own: int, blocks: list[int], group: int, seed: int
) -> None:
    """Any blocks behind any rows, on one slab or two: fp32 to 1e-5 of attention under one mask."""
    n, random = sum(blocks), torch.Generator().manual_seed(seed)
    rows = before + own + n
    query = torch.randn(2 * group, n, 16, generator=random)
    keys, values = (torch.randn(2, rows, 16, generator=random) for _ in range(2))
    bias = spread(block_causal(blocks, device=CPU, dtype=torch.float32), rows=rows, group=group)
    want = attend(query, [(keys, values)], bias, scale=0.25)
    one = joined(query, [(keys, values)], blocks, flash=FLASH, among=inside, scale=0.25)
    two_slabs = [(keys[:, :before], values[:, :before]), (keys[:, before:], values[:, before:])]
    two = joined(query, two_slabs, blocks, flash=FLASH, among=inside, scale=0.25)
    assert (one - want).abs().max() < 1e-5
    assert (two - want).abs().max() < 1e-5


@pytest.mark.parametrize("inside", [None, among])
def test_rows_of_other_blocks_are_never_seen(inside: Among | None) -> None:
    """Garbage in one block does not reach another, padding included."""
    blocks = (2, 5, 3)
    query, keys, values = torch.randn(3, 4, 10, 16, generator=torch.Generator().manual_seed(1)).unbind()
    clean = joined(query, [(keys, values)], blocks, flash=FLASH, among=inside, scale=0.25)
    broken = values.clone()
    broken[:, 2:7] = float("nan")
    got = joined(query, [(keys, broken)], blocks, flash=FLASH, among=inside, scale=0.25)
    assert torch.equal(got[:, :2], clean[:, :2])
    assert torch.equal(got[:, 7:], clean[:, 7:])
    assert bool(got[:, 2:7].isnan().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    query, keys = torch.randn(2, 3, 16).to(dtype), torch.randn(2, 8, 16).to(dtype)
    assert joined(query, [(keys, keys)], (1, 2), flash=FLASH, scale=0.25).dtype == dtype
