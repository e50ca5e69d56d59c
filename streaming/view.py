"""What the engine remembers of one camera: its KV memory and everything between two of its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from memory.kv import KV
from memory.policies import Policy, room_for
from memory.rope import Rope, rebase
from memory.types import Kind

from .drop import Stages
from .models.canvas import Canvas
from .types import CameraSettings, Frame, Polygon
from .zones import cells_in


@dataclass(slots=True)
class View:
    """
    One open camera. Owned by the engine's thread.

    drop: the rules its frames pass.
    pixels, reference: what the rules on pixels and on features asked to remember [n, k] on the device, and the grid it
        belongs to.
    hw, key_ns: grid and time of the last frame that was kept whole. key_due: the next frame is to be kept whole.
    grid_since: the number of the first frame of that grid in a row; cells of older rows are other places.
    waiting: frames that wait for their temporal neighbour.
    origin_ns: the time of its first frame; the model reads seconds since then.
    newest: number and time of the newest frame taken in; None while nothing was seen.
    canvas: what the encoder remembers of its picture; None where every picture is encoded whole.
    repainted: pictures' worth of cells that were encoded in portions since the last whole one.
    """

    settings: CameraSettings
    kv: KV
    drop: Stages
    policy: Policy
    pixels: tuple[Tensor, tuple[int, int]] | None = None
    reference: tuple[Tensor, tuple[int, int]] | None = None
    hw: tuple[int, int] | None = None
    key_ns: int | None = None
    key_due: bool = True
    grid_since: int = 0
    waiting: list[Frame] = field(default_factory=list)
    origin_ns: int | None = None
    newest: tuple[int, int] | None = None
    canvas: Canvas | None = None
    repainted: float = 0.0

    def close(self) -> None:
        """Give back all that it holds on the device."""
        self.kv.close()
        if self.canvas is not None:
            self.canvas.close()

    def saw_whole(self, hw: tuple[int, int], seq: int, pts_ns: int) -> None:
        """Note that a frame of this grid was kept whole."""
        if hw != self.hw:
            self.grid_since = seq
        self.hw, self.key_ns, self.key_due = hw, pts_ns, False

    def rows_in(self, zone: Polygon) -> NDArray[np.int64]:
        """
        The rows of the memory that show this part of the picture, with the prompt and the text of their frames.

        Ascending; empty where none shows it. A frame that shows nothing of it is left out whole, as one is of which
        nothing was kept.
        """
        meta = self.kv.meta
        if self.hw is None:
            return np.empty(0, np.int64)
        shown = (meta.cell >= 0) & (meta.frame >= self.grid_since)
        shown[shown] = cells_in((zone,), self.hw)[meta.cell[shown]]
        if not shown.any():
            return np.empty(0, np.int64)
        text = ~meta.visual & np.isin(meta.frame, meta.frame[shown])
        return np.flatnonzero(shown | text | (meta.kind == Kind.PROMPT)).astype(np.int64)

    def make_room(self, incoming: int, *, low: float) -> None:
        """
        Compact so that `incoming` rows fit into the budget; once some cell is no longer held, ask for a key frame.

        Mutates device memory. Raises: PoolExhausted: a fork reads the rows and no spare slab is left.
        """
        room = room_for(incoming, used=len(self.kv), budget=self.kv.budget, low=low)
        if room is None:
            return
        self.kv.compact(self.policy, max(room, self.kv.pinned))
        if self.hw is not None and not self._whole(self.hw):
            self.key_due = True

    def _whole(self, hw: tuple[int, int]) -> bool:
        """Whether the memory still holds a token of every cell of the grid, and so the whole standing picture."""
        held = self.kv.meta.cell
        return len(np.unique(held[held >= 0])) >= hw[0] * hw[1]

    def seconds(self, at_ns: int) -> float:
        """How long after its first frame that was; where ids tell the time, a rebase moves the origin."""
        return 0.0 if self.origin_ns is None else max(0.0, (at_ns - self.origin_ns) / 1e9)

    def rebase(self, limit: int, rope: Rope, *, ids_per_second: float) -> None:
        """
        Bring the next free id down to `limit`; where ids tell the time, the time goes on from there.

        Mutates device memory. Raises: PoolExhausted, as above.
        """
        old = self.kv.cursor
        shift, cursor = rebase(self.kv.meta, old, limit=limit, moving=rope.moving)
        self.kv.shift(shift, rope.drift, cursor=cursor)
        if ids_per_second and self.origin_ns is not None:
            self.origin_ns += round((old - cursor) / ids_per_second * 1e9)

    def forget(self) -> None:
        """Back to the prompt alone. Raises: PoolExhausted, as above."""
        self.kv.forget()
        self.pixels = self.reference = None
        self.hw = self.key_ns = None
        self.key_due = True
        self.waiting.clear()
        self.origin_ns = None
        self.newest = None
        if self.canvas is not None:
            self.canvas.wipe()
