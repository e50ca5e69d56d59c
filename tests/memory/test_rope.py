from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from memory.rope import rebase, rotate
from memory.types import TokenMeta

from .rows import meta

INV_FREQ = 1.0 / 1e6 ** (torch.arange(0, 32, 2) / 32)


def stock_rotation(x: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
    """transformers' rotation of plain (not yet rotated) keys, in fp64."""
    angle = pos.double()[:, None] * INV_FREQ.double()
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    low, high = x.double().chunk(2, -1)
    return x.double() * cos + torch.cat((-high, low), -1) * sin


def test_rotating_on_equals_rotating_there_at_once() -> None:
    """Keys at ids p turned by s equal keys rotated to p + s, also far out and backwards."""
    keys = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    pos = torch.tensor([0, 7, 1000, 60_000, 90_000])
    shift = torch.tensor([5, -7, 250_000, -59_999, 0])
    got = rotate(stock_rotation(keys, pos).float(), shift, INV_FREQ)
    assert (got - stock_rotation(keys, pos + shift)).abs().max() < 1e-5


def test_rotation_keeps_the_type() -> None:
    assert rotate(torch.ones(1, 2, 32, dtype=torch.bfloat16), torch.tensor([1, 2]), INV_FREQ).dtype is torch.bfloat16


def blocks(gaps: list[int], sizes: list[int]) -> tuple[TokenMeta, int]:
    """A prompt and frames of the given sizes, each behind its gap; the last gap lies before the cursor."""
    parts, at = [], 0
    for number, (size, gap) in enumerate(zip(sizes, gaps, strict=True)):
        parts.append(meta([number - 1] * size, start=at))
        at += size + gap
    return TokenMeta.concat(parts), at


def test_rebase_closes_the_widest_gap_and_leaves_the_rest() -> None:
    """The hole that eviction left behind the prompt goes; frames keep their distances, so attention among them is exact."""
    memory, cursor = blocks([900, 3, 0, 5], [4, 10, 10, 10])
    shift, new = rebase(memory, cursor, limit=100)
    assert new == 100
    assert shift[:4].tolist() == [0] * 4
    assert len(set(shift[4:].tolist())) == 1


def test_rebase_moves_everything_to_zero_even_if_it_fits() -> None:
    """A uniform shift is free of loss."""
    memory = meta([-1, -1, 0, 0], start=5000)
    shift, new = rebase(memory, 5010, limit=100)
    assert (shift.tolist(), new) == ([-5000] * 4, 10)


def test_an_empty_memory_starts_over() -> None:
    shift, cursor = rebase(TokenMeta.empty(), 70_000, limit=10)
    assert (len(shift), cursor) == (0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 20)), min_size=1, max_size=12),
    st.integers(0, 600),
)
def test_rebase_fits_keeps_order_and_never_widens_a_gap(frames: list[tuple[int, int]], limit: int) -> None:
    """For any memory: within the limit unless the frames alone are wider, ids ascend, rows of a frame move together."""
    memory, cursor = blocks([gap for gap, _ in frames], [size for _, size in frames])
    shift, new = rebase(memory, cursor, limit=limit)
    pos = memory.pos[0] + shift
    assert new <= max(limit, len(memory))
    assert new <= cursor
    assert pos[0] == 0
    assert bool(np.all(np.diff(pos) >= 1))
    assert bool(np.all(np.diff(pos) <= np.diff(memory.pos[0])))
    same = np.diff(memory.frame) == 0
    assert bool(np.all(np.diff(shift)[same] == 0))
    assert new > pos[-1]
