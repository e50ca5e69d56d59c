"""Attention in plain torch over contiguous parts, without copying their rows: the CPU's way and the yardstick."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memory.types import Pair


def block_causal(blocks: Sequence[int], *, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """
    The additive mask [n, n] among n = sum(blocks) new tokens: causal inside a block, blind to the other blocks.

    One block is a frame or a question; several are questions side by side. None where there is nothing to hide (n = 1).
    """
    n = sum(blocks)
    if n == 1:
        return None
    number = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
    order = torch.arange(n)
    visible = (number[:, None] == number) & (order[:, None] >= order)
    return torch.zeros(n, n, dtype=dtype).masked_fill(~visible, float("-inf")).to(device)


def spread(mask: Tensor | None, *, rows: int, group: int) -> Tensor | None:
    """
    The mask [n, n] of the new tokens widened to all `rows` keys and all `group` query heads of a kv head.

    Returns: additive [group * n, rows], or None; every row before the new ones is visible. Build it once a forward.
    """
    if mask is None:
        return None
    return torch.nn.functional.pad(mask, (rows - mask.shape[0], 0)).repeat(group, 1)


def attend(query: Tensor, parts: Sequence[Pair], bias: Tensor | None, *, scale: float) -> Tensor:
    """
    Softmax attention of n new tokens over everything before them and, as far as `bias` allows, over themselves.

    Args:
        query: [heads, n, head_dim]; `group` neighbouring heads share a kv head.
        parts: keys and values [kv_heads, rows, head_dim], oldest first; the last n rows of the last part are the new
            tokens' own.
        bias: additive [group * n, all rows] as `spread` builds it, or None.
    Returns: [heads, n, head_dim]. Does not synchronise, does not copy keys or values.
    """
    heads, n, dim = query.shape
    kv_heads = parts[0][0].shape[0]
    packed = query.reshape(kv_heads, heads // kv_heads * n, dim)  # all queries of a kv head: keys need no repeating
    out = _whole(packed, parts[0], bias, scale) if len(parts) == 1 else _split(packed, parts, bias, scale)
    return out.reshape(heads, n, dim)


def _whole(packed: Tensor, part: Pair, bias: Tensor | None, scale: float) -> Tensor:
    keys, values = part
    out = torch.nn.functional.scaled_dot_product_attention(
        packed[None], keys[None], values[None], attn_mask=bias, scale=scale
    )
    return out[0]


def _split(packed: Tensor, parts: Sequence[Pair], bias: Tensor | None, scale: float) -> Tensor:
    scores = torch.cat([packed @ keys.transpose(1, 2) for keys, _ in parts], dim=-1).float() * scale
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1).to(packed.dtype)
    out = torch.zeros_like(packed)
    at = 0
    for keys, values in parts:
        out = out + weights[:, :, at : at + keys.shape[1]] @ values
        at += keys.shape[1]
    return out
