"""A decoding step recorded as a CUDA graph: one launch a token, whatever the model's depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from memory.kv import Fork

from .static import StaticDecode

WARM: Final = 3  # steps before the recording: libraries choose their algorithms and take their workspaces in these


class Captured:
    """
    A StaticDecode whose step is replayed. A Step.

    What the recording allocates lies in a memory pool that the graphs share, since one runs at a time.
    """

    @torch.inference_mode()
    def __init__(self, static: StaticDecode, *, pool: Any) -> None:
        """
        Records the step; the static one must be loaded, and its seats' rows be nobody's: they are written.

        pool: of `torch.cuda.graph_pool_handle`. Blocks, synchronises, allocates device memory.
        Raises: RuntimeError: the step does something that cannot be recorded.
        """
        self.size = static.size
        self.tokens: Tensor = static.tokens
        self._static = static
        device = static.tokens.device
        kept = static.numbers.clone(), static.tokens.clone()
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM):
                static.step()
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: other threads of the process may talk to the device meanwhile
        with torch.cuda.graph(self._graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            static.step()
        static.numbers.copy_(kept[0])
        static.tokens.copy_(kept[1])

    def load(self, forks: Sequence[Fork], cursors: Sequence[int], tokens: Tensor) -> None:
        self._static.load(forks, cursors, tokens)

    def step(self) -> None:
        self._graph.replay()
