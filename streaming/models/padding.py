"""Rows behind a ragged batch that stand for nothing: they pass through the layers, and attention never sees them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from memory.kernels.base import Batch


@dataclass(frozen=True, slots=True)
class Padded:
    """The batch of the first `rows` rows. A Batch."""

    batch: Batch
    rows: int

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """As the batch; zeros for the rows behind its own."""
        more = query.shape[1] - self.rows
        query, keys, values = (each[:, : self.rows] for each in (query, keys, values))
        return nn.functional.pad(self.batch.attend(layer, query, keys, values, scale=scale), (0, 0, 0, more))


def padded(batch: Batch, embeds: Tensor, pos: Tensor, *, rows: int) -> tuple[Batch, Tensor, Tensor]:
    """
    A forward's batch, embeddings [total, hidden] and ids [3, total], as if it had `rows` rows.

    Returns: the same three where it has. The rows behind are zeros, and their results are to be passed over.
    """
    more = rows - len(embeds)
    if not more:
        return batch, embeds, pos
    return Padded(batch, len(embeds)), nn.functional.pad(embeds, (0, 0, 0, more)), nn.functional.pad(pos, (0, more))
