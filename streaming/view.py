"""What the engine remembers of one camera: its KV memory and everything between two of its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from memory.kv import KV
from memory.policies import Policy, room_for
from memory.rope import rebase

from .drop import Drop
from .types import CameraSettings, Frame


@dataclass(slots=True)
class View:
    """
    One open camera. Owned by the engine's thread.

    reference: what the drop rule asked to remember [n, d] on the device, and the grid it belongs to; None keeps the
        next frame whole.
    waiting: frames that wait for their temporal neighbour.
    origin_ns: the time of its first frame; the model reads seconds since then.
    newest: number and time of the newest frame taken in; None while nothing was seen.
    key: the number of the last frame that was kept whole.
    """

    settings: CameraSettings
    kv: KV
    drop: Drop
    policy: Policy
    reference: tuple[Tensor, tuple[int, int]] | None = None
    waiting: list[Frame] = field(default_factory=list)
    origin_ns: int | None = None
    newest: tuple[int, int] | None = None
    key: int = -1

    def reference_for(self, hw: tuple[int, int]) -> Tensor | None:
        """The drop rule's reference where it fits this grid."""
        return self.reference[0] if self.reference is not None and self.reference[1] == hw else None

    def make_room(self, incoming: int, *, low: float) -> None:
        """
        Compact so that `incoming` rows fit into the budget; once the key frame is gone, ask for a new one.

        Mutates device memory. Raises: PoolExhausted: a fork reads the rows and no spare slab is left.
        """
        room = room_for(incoming, used=len(self.kv), budget=self.kv.budget, low=low)
        if room is None:
            return
        self.kv.apply(self.policy.compact(self.kv.meta, max(room, self.kv.pinned)))
        if not bool(np.any(self.kv.meta.frame == self.key)):
            self.reference = None

    def rebase(self, limit: int, inv_freq: Tensor) -> None:
        """Bring the next free id down to `limit`. Mutates device memory. Raises: PoolExhausted, as above."""
        shift, cursor = rebase(self.kv.meta, self.kv.cursor, limit=limit)
        self.kv.shift(shift, inv_freq, cursor=cursor)

    def forget(self) -> None:
        """Back to the prompt alone. Raises: PoolExhausted, as above."""
        self.kv.forget()
        self.reference = None
        self.waiting.clear()
        self.origin_ns = None
        self.newest = None
        self.key = -1
