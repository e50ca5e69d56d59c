"""
Attention of one new token each of several questions, with every length on the device.

Where shapes and addresses never change, a step needs nothing from the host: it can be repeated by itself, and recorded
as a graph. Seats that nobody takes are filled like the first one, but store their rows where nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memory.pool import SlabPool

from .flash import ALL, Flash, join


@dataclass(frozen=True, slots=True)
class Seats:
    """
    The questions of a step.

    prefixes, suffixes: where the cameras' rows and the questions' own ones lie.
    slab, rows: int32 [n], whose first rows each question sees. own_slab, own: likewise, its own rows, the new one too.
    write: int32 [n], the row of its own slab that the new one is stored in.
    """

    prefixes: SlabPool
    suffixes: SlabPool
    slab: Tensor
    rows: Tensor
    own_slab: Tensor
    own: Tensor
    write: Tensor


class Masked:
    """In plain torch, on any device: reads whole slabs and hides what is not there. A Batch."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._slab, self._place = seats.slab.long(), (seats.own_slab.long(), seats.write.long())
        parts = ((seats.prefixes, seats.rows), (seats.suffixes, seats.own))
        seen = [torch.arange(pool.rows, device=rows.device) < rows[:, None] for pool, rows in parts]
        self._mask = torch.cat(seen, dim=1)[:, None, None]  # [n, 1, 1, all rows]

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        seats = self._seats
        _store(seats.suffixes, layer, self._place, keys, values)
        k, v = (
            torch.cat((first[:, layer][self._slab], second[:, layer][self._place[0]]), dim=2)
            for first, second in (
                (seats.prefixes.keys, seats.suffixes.keys),
                (seats.prefixes.values, seats.suffixes.values),
            )
        )
        out = torch.nn.functional.scaled_dot_product_attention(
            query.transpose(0, 1)[:, :, None], k, v, attn_mask=self._mask, scale=scale, enable_gqa=True
        )
        return out[:, :, 0].transpose(0, 1)


class Paged:
    """Through a flash operation that reads slabs as pages where they lie, and of them what is there. A Batch."""

    def __init__(self, seats: Seats, flash: Flash) -> None:
        self._seats = seats
        self._flash = flash
        self._place = seats.own_slab.long(), seats.write.long()
        self._cu = torch.arange(len(seats.slab) + 1, dtype=torch.int32, device=seats.slab.device)

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        seats = self._seats
        _store(seats.suffixes, layer, self._place, keys, values)
        q = query.transpose(0, 1)
        out, lse = self._over(seats.prefixes, layer, q, seats.slab, seats.rows, scale)
        own, own_lse = self._over(seats.suffixes, layer, q, seats.own_slab, seats.own, scale)
        joined, _ = join(out.float(), lse, own.float(), own_lse, None)
        return joined.to(query.dtype).transpose(0, 1)

    def _over(
        self, pool: SlabPool, layer: int, query: Tensor, slab: Tensor, used: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The tokens over the rows of one pool: [n, heads, head_dim], log-sum-exp [n, heads, 1]."""
        return self._flash(
            query,
            pool.keys[:, layer].transpose(1, 2),  # pages [slabs, rows, kv_heads, head_dim], not copied
            pool.values[:, layer].transpose(1, 2),
            self._cu,
            None,
            1,
            pool.rows,
            scale=scale,
            window_size=ALL,
            seqused_k=used,
            block_table=slab[:, None],
        )


def _store(pool: SlabPool, layer: int, place: tuple[Tensor, Tensor], keys: Tensor, values: Tensor) -> None:
    """Put keys and values [kv_heads, n, head_dim] into one row each. Does not synchronise."""
    slabs, rows = place
    pool.keys[:, layer][slabs, :, rows] = keys.transpose(0, 1)
    pool.values[:, layer][slabs, :, rows] = values.transpose(0, 1)
