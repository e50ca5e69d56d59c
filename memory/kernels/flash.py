"""One call of a flash varlen operation, and how calls over parts of the keys are joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Op = Callable[..., Any]  # with the signature of torch.nn.attention.varlen.varlen_attn

PAGE_ROWS = 256  # flash kernels read pages of multiples of so many rows; other slabs are gathered
ALL, CAUSAL = (-1, -1), (-1, 0)


@dataclass(frozen=True, slots=True)
class Flash:
    """
    op: what computes. heads_first: its log-sum-exp is [heads, tokens], as torch's is, and not [tokens, heads], as
    torch's documentation has it.
    """

    op: Op
    heads_first: bool

    def __call__(self, query: Tensor, keys: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """
        What it computes, and the log-sum-exp [t, heads, 1] of the scores.

        Raises: RuntimeError: that has another shape; going on would read beyond it.
        """
        tokens, heads = query.shape[:2]
        grouped = heads != keys.shape[-2]
        out, lse = self.op(query, keys, *rest, return_aux=_with_lse(), enable_gqa=grouped, **options)
        if self.heads_first:
            lse = lse.T
        if lse.shape != (tokens, heads):
            raise RuntimeError(f"a log-sum-exp of {tuple(lse.shape)} for {tokens} tokens and {heads} heads")
        return out, lse[..., None]


def join(out: Tensor, lse: Tensor, old: Tensor, old_lse: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor]:
    """
    Two parts of one softmax, out [total, heads, head_dim] and lse [total, heads, 1], as if computed together.

    old, old_lse: of `tokens` alone, or of all where that is None.
    """
    if tokens is not None:
        part, part_lse = join(out[tokens], lse[tokens], old, old_lse, None)
        return out.index_copy(0, tokens, part), lse.index_copy(0, tokens, part_lse)
    both = torch.logaddexp(lse, old_lse)
    return out * (lse - both).exp() + old * (old_lse - both).exp(), both


def _with_lse() -> Any:
    from torch.nn.attention.varlen import AuxRequest  # noqa: PLC0415  # not in every torch

    return AuxRequest(lse=True)


def in_pages(rows: int) -> int:
    """So many rows of a slab, and those that fill its last page; a slab below one page stays as it is."""
    return rows if rows < PAGE_ROWS else -(-rows // PAGE_ROWS) * PAGE_ROWS
