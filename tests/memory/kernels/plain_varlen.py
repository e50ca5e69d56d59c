"""torch's `varlen_attn` as its documentation states it, sequence by sequence in plain torch: runs on a CPU, in fp32."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor


def plain_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """
    query: [t, heads, d]. key, value: [t_k, kv_heads, d], or pages [pages, page, kv_heads, d] with a block table.

    Returns: [t, heads, d], and where it is asked for the log-sum-exp [heads, t].
    """
    starts = cu_seq_q.tolist()
    assert cu_seq_q.dtype == torch.int32
    assert max_q == max(b - a for a, b in itertools.pairwise(starts))
    assert enable_gqa or query.shape[1] == key.shape[-2]
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    outs, lses = [], []
    for i, (a, b) in enumerate(itertools.pairwise(starts)):
        if block_table is not None:
            assert seqused_k is not None
            assert key.shape[1] % 256 == 0, "flash reads pages of multiples of 256 rows"
            rows = int(seqused_k[i])
            assert rows <= max_k
            pages = block_table[i].long()
            k, v = (each[pages].flatten(0, 1)[:rows] for each in (key, value))
        else:
            assert cu_seq_k is not None
            k, v = (each[int(cu_seq_k[i]) : int(cu_seq_k[i + 1])] for each in (key, value))
            assert len(k) <= max_k
        group = query.shape[1] // k.shape[1]
        q = query[a:b].transpose(0, 1)
        k, v = (each.transpose(0, 1).repeat_interleave(group, dim=0) for each in (k, v))
        scores = (q @ k.transpose(1, 2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
        if window_size == (-1, 0):
            n, m = scores.shape[1:]
            scores = scores.masked_fill(torch.ones(n, m, dtype=torch.bool).triu(m - n + 1), float("-inf"))
        outs.append((scores.softmax(-1) @ v).transpose(0, 1))
        lses.append(scores.logsumexp(-1))
    out = torch.cat(outs)
    return (out, torch.cat(lses, dim=1)) if return_aux is not None and return_aux.lse else out
