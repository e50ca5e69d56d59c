"""Rows that stand for nothing change nothing."""

from __future__ import annotations

import torch

from streaming.models.padding import padded


class Same:
    """Attention that sees nothing but counts its rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, scale: float
    ) -> torch.Tensor:
        self.rows += [query.shape[1], keys.shape[1], values.shape[1]]
        return query + layer * scale


def test_attention_never_sees_them() -> None:
    inner = Same()
    batch, embeds, pos = padded(inner, torch.ones(5, 8), torch.ones(3, 5, dtype=torch.long), rows=16)
    assert (embeds.shape, pos.shape, int(pos.sum())) == ((16, 8), (3, 16), 15)
    out = batch.attend(2, *torch.ones(3, 4, 16, 8), scale=0.5)
    assert inner.rows == [5, 5, 5]
    assert torch.equal(out[:, :5], torch.full((4, 5, 8), 2.0))
    assert not out[:, 5:].any()


def test_a_forward_of_the_right_size_stays_as_it_is() -> None:
    given = Same(), torch.ones(16, 8), torch.ones(3, 16, dtype=torch.long)
    assert all(one is other for one, other in zip(padded(*given, rows=16), given, strict=True))
