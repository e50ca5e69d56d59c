"""
Attention on a CPU in parts that need no mask, joined by the log-sum-exp of their scores, which is exact.

Rules side by side see many held rows and little of each other: a mask over all of it would be larger than the keys, and
a fork's rows lie in two slabs. Here held rows are read by one flash call a part, and the blocks by padded products. One
block on one slab is left to the reference, which is as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from memory.types import Pair

from .base import Work
from .blocks import among
from .forest import rooted
from .products import plainly
from .reference import Reference, attend, block_causal, spread

Flash = Callable[..., tuple[Tensor, Tensor]]  # output and log-sum-exp
Among = Callable[[Tensor, Tensor, Tensor, tuple[int, ...], tuple[int, ...], float], tuple[Tensor, Tensor]]  # likewise


class FlashCpu(Reference):
    """The reference where that is fast, else torch's own flash attention for CPUs. A Kernel."""

    name: ClassVar[str] = "flash-cpu"

    def __init__(self) -> None:
        """Raises: AttributeError: this torch has no such operator."""
        self._flash: Flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default  # noqa: SLF001

    def plan(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> FlashCpuBatch:  # type: ignore[override]  # a Batch, too
        return FlashCpuBatch(work, flash=self._flash, device=device, dtype=dtype)


class FlashCpuBatch:
    """Each work against its own target, one after the other. A Batch."""

    def __init__(
        self,
        work: Sequence[Work],
        *,
        flash: Flash,
        device: torch.device,
        dtype: torch.dtype,
        side_by_side: Among = among,
    ) -> None:
        """side_by_side: computes several blocks among themselves."""
        self._side_by_side = side_by_side
        self._work = work
        self._flash = flash
        self._device, self._dtype = device, dtype
        self._lengths = [len(each) for each in work]
        self._biases: dict[int, Tensor | None] = {}

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        with plainly():
            return self._attend(layer, query, keys, values, scale)

    def _attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        group = query.shape[0] // keys.shape[0]
        split = (torch.split(each, self._lengths, dim=1) for each in (query, keys, values))
        out = []
        for at, (work, q, k, v) in enumerate(zip(self._work, *split, strict=True)):
            parts = work.target.extend(layer, k, v)
            if len(work.blocks) == 1:
                out.append(self._one(at, q, parts, group=group, scale=scale))
            elif rooted(work.after):  # to the others, the first block's tokens are held rows like all that are held
                first, *others = work.blocks
                out.append(self._one(at, q[:, :first], _without(parts, sum(others)), group=group, scale=scale))
                after = tuple(each - 1 for each in work.after[1:])
                out.append(self._joined(q[:, first:], parts, tuple(others), scale, after))
            else:
                out.append(self._joined(q, parts, work.blocks, scale, work.after))
        return torch.cat(out, dim=1)

    def _one(self, at: int, query: Tensor, parts: Sequence[Pair], *, group: int, scale: float) -> Tensor:
        """One block of [heads, n, head_dim], the last n rows of the parts."""
        n = query.shape[1]
        if len(parts) > 1:
            return self._joined(query, parts, (n,), scale)
        if at not in self._biases:  # in the first layer
            mask = block_causal((n,), device=self._device, dtype=self._dtype)
            self._biases[at] = spread(mask, rows=parts[0][0].shape[1], group=group)
        return attend(query, parts, self._biases[at], scale=scale)

    def _joined(
        self,
        query: Tensor,
        parts: Sequence[Pair],
        blocks: tuple[int, ...],
        scale: float,
        after: tuple[int, ...] = (),
    ) -> Tensor:
        return joined(query, parts, blocks, after, flash=self._flash, side_by_side=self._side_by_side, scale=scale)


def joined(
    query: Tensor,
    parts: Sequence[Pair],
    blocks: tuple[int, ...],
    after: tuple[int, ...] = (),
    *,
    flash: Flash,
    scale: float,
    side_by_side: Among = among,
) -> Tensor:
    """
    Softmax attention of n = sum(blocks) new tokens over all rows before them, the blocks that theirs continue (see
    `forest`) and, inside their block, causally.

    Args:
        query: [heads, n, head_dim]; neighbouring heads share a kv head.
        parts: keys and values [kv_heads, rows, head_dim]; the last n rows of the last part are the new tokens' own.
        flash: torch's operator for CPUs. side_by_side: computes several blocks among themselves.
    Returns: [heads, n, head_dim].
    """
    heads, n, dim = query.shape
    kv_heads = parts[0][0].shape[0]
    packed = query.reshape(1, kv_heads, heads // kv_heads * n, dim)  # all queries of a kv head: keys need no repeating
    *before, (keys, values) = parts
    if n > 1:  # a single token sees all there is
        before.append((keys[:, :-n], values[:, :-n]))
        own = query, keys[:, -n:], values[:, -n:]
        several = len(blocks) > 1
        out, weight = side_by_side(*own, blocks, after, scale) if several else _causal(*own, flash, scale)
    else:
        out, weight = _over(packed, (keys, values), flash, scale, like=query)
    for part in before:
        if part[0].shape[1]:
            out, weight = _join(out, weight, *_over(packed, part, flash, scale, like=query))
    return out


def _without(parts: Sequence[Pair], n: int) -> list[Pair]:
    """The parts, the last of them without its last n rows."""
    *before, (keys, values) = parts
    rows = keys.shape[1] - n
    return [*before, (keys[:, :rows], values[:, :rows])]


def _over(packed: Tensor, part: Pair, flash: Flash, scale: float, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Everything over all rows of a part: output as `like` [heads, n, head_dim], log-sum-exp [heads, n]."""
    out, weight = flash(packed, part[0][None], part[1][None], 0.0, is_causal=False, scale=scale)
    return out.reshape(like.shape), weight.reshape(like.shape[:2])


def _causal(query: Tensor, keys: Tensor, values: Tensor, flash: Flash, scale: float) -> tuple[Tensor, Tensor]:
    """One block among itself."""
    group = query.shape[0] // keys.shape[0]
    k, v = (each.repeat_interleave(group, 0)[None] for each in (keys, values))
    out, weight = flash(query[None], k, v, 0.0, is_causal=True, scale=scale)
    return out[0], weight[0]


def _join(one: Tensor, one_weight: Tensor, two: Tensor, two_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Two parts of one softmax: outputs [heads, n, head_dim], log-sum-exps [heads, n]."""
    share = torch.sigmoid(two_weight - one_weight)[..., None].to(one.dtype)
    return one + (two - one) * share, torch.logaddexp(one_weight, two_weight)
