"""Parts without a mask, joined by their log-sum-exp, are the softmax over everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memory.kernels.blocks import among
from memory.kernels.flash_cpu import FlashCpu, joined
from memory.kernels.reference import attend, block_causal, spread

from .forests import Forest, forests

CPU = torch.device("cpu")
FLASH = FlashCpu()._flash


@given(
    before=st.integers(0, 40),
    own=st.integers(0, 9),
    forest=forests(),
    group=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 1000),
)
def test_joined_parts_equal_the_masked_reference(before: int, own: int, forest: Forest, group: int, seed: int) -> None:
    """Any blocks behind any rows, on one slab or two: fp32 to 1e-5 of attention under one mask."""
    blocks, after = forest
    n, random = sum(blocks), torch.Generator().manual_seed(seed)
    rows = before + own + n
    query = torch.randn(2 * group, n, 16, generator=random)
    keys, values = (torch.randn(2, rows, 16, generator=random) for _ in range(2))
    bias = spread(block_causal(blocks, after, device=CPU, dtype=torch.float32), rows=rows, group=group)
    want = attend(query, [(keys, values)], bias, scale=0.25)
    one = joined(query, [(keys, values)], blocks, after, flash=FLASH, scale=0.25)
    two_slabs = [(keys[:, :before], values[:, :before]), (keys[:, before:], values[:, before:])]
    two = joined(query, two_slabs, blocks, after, flash=FLASH, scale=0.25)
    assert (one - want).abs().max() < 1e-5
    assert (two - want).abs().max() < 1e-5


@pytest.mark.parametrize("at", [0, 2, 7])
def test_rows_of_other_blocks_are_never_seen(at: int) -> None:
    """Garbage in one block does not reach another, padding included."""
    blocks, after = (2, 5, 3), ()
    stop = {0: 2, 2: 7, 7: 10}[at]
    query, keys, values = torch.randn(3, 4, 10, 16, generator=torch.Generator().manual_seed(1)).unbind()
    clean = joined(query, [(keys, values)], blocks, after, flash=FLASH, scale=0.25)
    broken = values.clone()
    broken[:, at:stop] = float("nan")
    got = joined(query, [(keys, broken)], blocks, after, flash=FLASH, scale=0.25)
    others = [row for row in range(10) if not at <= row < stop]
    assert torch.equal(got[:, others], clean[:, others])
    assert bool(got[:, at:stop].isnan().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    query, keys = torch.randn(2, 3, 16).to(dtype), torch.randn(2, 8, 16).to(dtype)
    assert joined(query, [(keys, keys)], (1, 2), flash=FLASH, scale=0.25).dtype == dtype


@given(forest=forests(), seed=st.integers(0, 1000))
def test_what_is_too_much_at_once_is_computed_head_by_head(forest: Forest, seed: int) -> None:
    """The same to the last bits."""
    blocks, after = forest
    random = torch.Generator().manual_seed(seed)
    query, keys, values = (torch.randn(heads, sum(blocks), 16, generator=random) for heads in (6, 3, 3))
    want, want_weight = among(query, keys, values, blocks, after, 0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memory.kernels.blocks.MOST_SCORES", 1)
        out, weight = among(query, keys, values, blocks, after, 0.25)
    assert torch.allclose(out, want, atol=1e-6)
    assert torch.allclose(weight, want_weight, atol=1e-6)


@given(forest=forests(), seed=st.integers(0, 1000))
def test_half_types_are_computed_in_float32(forest: Forest, seed: int) -> None:
    """Among blocks only what goes in and comes out is rounded."""
    blocks, after = forest
    n, random = sum(blocks), torch.Generator().manual_seed(seed)
    query, keys, values = (torch.randn(2, n, 16, generator=random).bfloat16() for _ in range(3))
    out, weight = among(query, keys, values, blocks, after, 0.25)
    want, want_weight = among(query.float(), keys.float(), values.float(), blocks, after, 0.25)
    assert torch.equal(out, want.bfloat16())
    assert torch.equal(weight, want_weight)
