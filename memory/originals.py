"""
Keys as the model wrote them, for rows whose ids were moved since: what a memory in 16 bits is turned from.

Turning a turned key again rounds it again; in bfloat16 a hundred rebases would cost a percent. From the bits the model
wrote it is one rounding, however often ids move. The copy is made when a row is first turned and lies in host memory:
most rows are forgotten before, and in 32 bits none is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rope import rotate


class Originals:
    """
    The first len(self) rows of a memory: keys [layers, kv_heads, n, head_dim] on the host, and how far each has moved.

    Grows to the rows that a rebase turns, at most the memory's budget.
    """

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._moved = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._moved)

    def turn(self, keys: Tensor, shift: NDArray[np.int64], inv_freq: Tensor) -> Tensor:
        """
        The keys of all rows [layers, kv_heads, n, head_dim] after a further `shift` [n], on their device.

        keys: as they stand; of rows not yet known they are the originals, and are copied. Synchronises.
        """
        fresh = keys[:, :, len(self) :].to("cpu", copy=True)  # never the pool itself, where that is on the host
        self._keys = fresh if self._keys is None else torch.cat((self._keys, fresh), dim=2)
        self._moved = np.append(self._moved, np.zeros(fresh.shape[2], np.int64)) + shift
        return rotate(self._keys.to(keys.device), torch.from_numpy(self._moved).to(keys.device), inv_freq)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Follow a compaction to these rows of the memory."""
        known = rows[rows < len(self)]
        self._moved = self._moved[known]
        if self._keys is not None:
            self._keys = self._keys[:, :, torch.from_numpy(known)]

    def replace(self, rows: NDArray[np.int64], keys: Tensor) -> None:
        """Rows of the memory got other keys [layers, kv_heads, m, head_dim], which are their originals from now on."""
        known = rows < len(self)
        self._moved[rows[known]] = 0
        if self._keys is not None:
            self._keys[:, :, torch.from_numpy(rows[known])] = keys.cpu()[:, :, torch.from_numpy(known)]
