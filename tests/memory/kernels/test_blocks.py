"""Blocks in batches: every token once, and shown what it may see."""

from __future__ import annotations

import torch
from hypothesis import given

from memory.kernels.blocks import SHORT, padded
from memory.kernels.forest import visible

from .forests import Forest, forests


@given(forests())
def test_batches_hold_every_token_once_and_show_it_what_is_visible(forest: Forest) -> None:
    """No batch is filled up by more than half, but for short blocks."""
    seen = torch.zeros_like(visible(*forest))
    found: list[int] = []
    for batch in padded(*forest):
        count = len(batch.last)
        queries, keys = batch.queries.reshape(count, -1), batch.keys.reshape(count, -1)
        shown = torch.arange(batch.most) <= batch.last
        for row in batch.real.tolist():
            block, place = divmod(row, batch.longest)
            seen[queries[block, place], keys[block][shown[block, place]]] = True
        assert torch.equal(batch.queries[batch.real], batch.tokens)
        assert len(batch.queries) <= max(2 * len(batch.tokens), SHORT * count)
        found += batch.tokens.tolist()
    assert torch.equal(seen, visible(*forest))
    assert sorted(found) == list(range(sum(forest[0])))
