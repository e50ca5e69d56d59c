"""Which of a token's three M-RoPE ids (t, h, w) turns each frequency of its keys, as the families lay them out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def interleaved(sections: Sequence[int], frequencies: int) -> Tensor:
    """
    Qwen3-VL: t h w t h w …, and t alone once h and w have had their share.

    Returns: int64 [frequencies], 0, 1 or 2. sections: how many frequencies each id has.
    """
    axes = torch.zeros(frequencies, dtype=torch.int64)
    for axis in (1, 2):
        axes[axis : sections[axis] * 3 : 3] = axis
    return axes


def chunked(sections: Sequence[int]) -> Tensor:
    """Qwen2.5-VL: all frequencies of t, then those of h, then those of w. Returns: int64 [sum(sections)]."""
    return torch.repeat_interleave(torch.arange(3), torch.tensor(list(sections)))
