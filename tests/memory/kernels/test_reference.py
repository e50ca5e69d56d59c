from __future__ import annotations

import pytest
import torch

from memory.kernels.reference import attend, block_causal, spread

CPU = torch.device("cpu")


def plain(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Softmax attention as in the book, in fp64, one query head at a time."""
    group = query.shape[0] // keys.shape[0]
    heads = []
    for head in range(query.shape[0]):
        scores = query[head].double() @ keys[head // group].double().T * 0.25
        heads.append(scores.masked_fill(~visible, float("-inf")).softmax(-1) @ values[head // group].double())
    return torch.stack(heads)


@pytest.mark.parametrize("before", [0, 9])
@pytest.mark.parametrize("own", [0, 3])
@pytest.mark.parametrize(
    ("blocks", "after", "seen"),
    [
        ((1,), (), ["0"]),
        ((6,), (-1,), ["0"]),
        ((2, 3, 1), (), ["0", "1", "2"]),
        ((4, 2, 3, 1), (-1, 0, 0, 0), ["0", "01", "02", "03"]),
        ((2, 1, 3, 2, 1, 2), (-1, 0, 1, 0, -1, 3), ["0", "01", "012", "03", "4", "035"]),
    ],
)
def test_attention_over_parts_equals_the_book(
    before: int, own: int, blocks: tuple[int, ...], after: tuple[int, ...], seen: list[str]
) -> None:
    """
    One part or two, one block or several that continue others or none, grouped heads: fp32 to 1e-6.

    seen: of each block the numbers of the blocks that its tokens see.
    """
    n, random = sum(blocks), torch.Generator().manual_seed(before + own)
    query = torch.randn(4, n, 16, generator=random)
    keys, values = (torch.randn(2, before + own + n, 16, generator=random) for _ in range(2))
    owner = [number for number, length in enumerate(blocks) for _ in range(length)]
    among = torch.tensor([[str(owner[j]) in seen[owner[i]] and j <= i for j in range(n)] for i in range(n)])
    visible = torch.cat([torch.ones(n, before + own, dtype=torch.bool), among], dim=1)
    want = plain(query, keys, values, visible)
    bias = spread(block_causal(blocks, after, device=CPU, dtype=torch.float32), rows=before + own + n, group=2)
    whole = attend(query, [(keys, values)], bias, scale=0.25)
    assert (whole - want).abs().max() < 1e-6
    split = [(keys[:, :before], values[:, :before]), (keys[:, before:], values[:, before:])]
    assert (attend(query, split, bias, scale=0.25) - want).abs().max() < 1e-6


def test_a_single_token_needs_no_mask() -> None:
    assert block_causal((1,), device=CPU, dtype=torch.float32) is None


def test_keys_of_a_slab_are_read_where_they_lie() -> None:
    """Rows beyond the view are never touched: garbage there does no harm."""
    slab = torch.full((2, 64, 16), float("nan"))
    slab[:, :5] = 1.0
    out = attend(torch.ones(4, 1, 16), [(slab[:, :5], slab[:, :5])], None, scale=1.0)
    assert torch.equal(out, torch.ones(4, 1, 16))
