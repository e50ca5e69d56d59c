"""Attention in chunks is softmax attention, whatever the sizes and however large the scores."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.kernels import chunked_cpu
from memory.kernels.base import Portion
from memory.kernels.chunked_cpu import ChunkedCpu, attention
from memory.kernels.products import Products
from memory.kernels.reference import Reference
from memory.pool import SlabPool
from memory.types import KVShape

CPU = torch.device("cpu")


def book(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    scores = query.double() @ keys.double().transpose(1, 2) * scale
    return scores.softmax(-1) @ values.double(), scores.logsumexp(-1)


@settings(deadline=None)
@given(
    heads=st.integers(1, 3),
    n=st.integers(1, 70),
    rows=st.integers(1, 90),
    most=st.integers(1, 2000),
    step=st.sampled_from([1, 16, 64]),
    size=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 999),
)
def test_stretches_equal_the_book(heads: int, n: int, rows: int, most: int, step: int, size: float, seed: int) -> None:
    """In one stretch or many, shifted or not: output to 1e-5 of the values, the log-sum-exp to 1e-6 of the scores."""
    random = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(heads, count, 16, generator=random) * size for count in (n, rows, rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked_cpu, "MOST_SCORES", most)
        out, weight = attention(q, k, v, scale=0.25, step=step)
    want, want_weight = book(q, k, v, 0.25)
    scores = max(1.0, float((q.norm(dim=2).amax() * k.norm(dim=2).amax()) * 0.25))
    assert (out - want).abs().max() <= 1e-5 * size * max(1.0, scores / 30)
    assert (weight - want_weight).abs().max() <= 3e-6 * max(1.0, scores)


def test_scores_that_would_overflow_are_shifted() -> None:
    """2^200 is no float32."""
    q = torch.full((1, 30, 16), 8.0)
    k = torch.cat([torch.full((1, 20, 16), 8.0), torch.full((1, 20, 16), -8.0)], dim=1)
    for step in (1, 64):
        for sign in (1.0, -1.0):  # the largest is far above and far below what padding scores
            out, weight = attention(q, *((k, k) if sign > 0 else (-k[:, :20], k[:, :20])), scale=0.25, step=step)
            assert torch.equal(out, torch.full((1, 30, 16), 8.0))
            assert torch.allclose(weight, torch.full((1, 30), sign * 256.0 + math.log(20.0)))


def test_what_is_not_a_number_stays_so() -> None:
    keys = torch.full((1, 5, 16), torch.nan)
    assert bool(attention(torch.ones(1, 3, 16), keys, keys, scale=1.0)[0].isnan().all())


def test_rows_between_others_are_read_where_they_lie() -> None:
    """Keys and queries as the encoder and a slab hand them over; garbage beside them does no harm."""
    random = torch.Generator().manual_seed(1)
    packed = torch.randn(40, 3, 2, 16, generator=random)
    q, k, v = packed.permute(1, 2, 0, 3).unbind()
    slab = torch.full((2, 2, 99, 16), float("nan"))
    slab[0, :, :40], slab[1, :, :40] = k, v
    want, _ = book(q, k, v, 0.25)
    assert (attention(q, k, v, scale=0.25)[0] - want).abs().max() < 1e-6
    assert (attention(q, slab[0, :, :40], slab[1, :, :40], scale=0.25)[0] - want).abs().max() < 1e-6


@pytest.mark.parametrize("products", [Products(None, ""), Products(1, "")])
def test_large_pictures_are_computed_in_chunks(products: Products) -> None:
    """Whole ones and portions, as without chunks; few patches go the other way."""
    kernel, random = ChunkedCpu(products), torch.Generator().manual_seed(2)
    q, k, v = torch.randn(3, 2, 300, 32, generator=random).unbind()
    cuts = (0, 280, 290, 290, 300)
    want = Reference().segments(q, k, v, cuts, scale=0.2)
    assert (kernel.segments(q, k, v, cuts, scale=0.2) - want).abs().max() <= 1e-5
    shape = KVShape(layers=1, kv_heads=2, head_dim=32, dtype=torch.float32, device=CPU)
    outs = []
    for each in (kernel, Reference()):
        pool = SlabPool(shape, slabs=2, rows=512)
        pool.keys.fill_(0.1)
        pool.values.fill_(0.2)
        work = [Portion(1, torch.arange(0, 280).numpy(), 512), Portion(0, torch.arange(20).numpy(), 30)]
        outs.append(each.portions(pool, work, device=CPU).attend(0, q, k, v, scale=0.2))
    assert (outs[0] - outs[1]).abs().max() <= 1e-5
