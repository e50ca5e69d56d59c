"""Logits of some words are those columns of all logits, whatever kind of head the checkpoint has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streaming.models.decoder import _logits

WORDS = torch.tensor([7, 2, 7, 30])


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_of_some_words_are_columns_of_all(wrapped: bool, bias: bool, dtype: torch.dtype) -> None:
    """A plain head computes these rows of its weight alone; one of another kind all of them; both in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        plain = nn.Linear(16, 40, bias=bias, dtype=dtype)
        hidden = torch.randn(6, 16).to(dtype)
    head = nn.Sequential(plain) if wrapped else plain
    with torch.inference_mode():
        everything, some = _logits(head, hidden, None), _logits(head, hidden, WORDS)
    assert everything.dtype == some.dtype == torch.float32
    assert everything.shape == (6, 40)
    assert torch.allclose(some, everything[:, WORDS], atol=1e-6 if dtype == torch.float32 else 2e-2)


def test_nothing_is_read_where_nothing_is_wanted() -> None:
    """A frame's forward reads no row: no logits, and no error."""
    with torch.inference_mode():
        assert _logits(nn.Linear(16, 40), torch.empty(0, 16), None).shape == (0, 40)
