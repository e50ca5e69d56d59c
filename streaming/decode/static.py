"""A decoding step of fixed shapes: up to `size` questions, one token each, fed from where the last step left it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from memory.kernels.seats import Seats
from memory.kv import Fork
from memory.pool import SlabPool
from streaming.models import VisionLanguageModel

SLAB, ROWS, OWN_SLAB, OWN, WRITE, POS, LIVE = range(7)  # rows of the numbers
MOVING: Final = slice(OWN, POS + 1)  # those that a step moves on by LIVE, which is 0 where nobody sits


class Step(Protocol):
    """Something that can be loaded with questions and stepped."""

    size: int
    tokens: Tensor

    def load(self, forks: Sequence[Fork], cursors: Sequence[int], tokens: Tensor) -> None: ...

    def step(self) -> None: ...


class StaticDecode:
    """
    The buffers of a step, and the step. A Step.

    tokens: int64 [size], the newest token of each question; numbers: int32 [7, size], where it stands and is stored.
    Seats that nobody takes repeat the first question, but store their row in the last one of its own slab: no question
    reaches that, since its last token is told and never stored.
    """

    @torch.inference_mode()
    def __init__(self, model: VisionLanguageModel, size: int, *, prefixes: SlabPool, suffixes: SlabPool) -> None:
        """prefixes, suffixes: where the cameras' rows and the questions' own ones lie. Allocates a few KiB."""
        device = model.kv.device
        self.size = size
        self.tokens = torch.zeros(size, dtype=torch.int64, device=device)
        self.numbers = torch.zeros(7, size, dtype=torch.int32, device=device)
        self._model = model
        self._prefixes = prefixes
        self._suffixes = suffixes

    def load(self, forks: Sequence[Fork], cursors: Sequence[int], tokens: Tensor) -> None:
        """
        Seat these questions: their forks, the ids of their newest tokens, and those tokens [n] on the device.

        Does not synchronise.
        """
        n = len(forks)
        numbers = np.ones((7, self.size), np.int32)
        for seat, (fork, cursor) in enumerate(zip(forks, cursors, strict=True)):
            seen, own = fork.held
            numbers[:LIVE, seat] = seen.slab, seen.rows, own.slab, own.rows + 1, own.rows, cursor
        numbers[:, n:] = numbers[:, :1]
        numbers[WRITE, n:] = self._suffixes.rows - 1
        numbers[LIVE, n:] = 0
        self.numbers.copy_(torch.from_numpy(numbers), non_blocking=True)
        self.tokens[:n] = tokens
        self.tokens[n:] = tokens[:1]

    def step(self) -> None:
        """Store the newest tokens' rows, put the most likely next ones in their place, and move on."""
        numbers = self.numbers
        seats = Seats(
            self._prefixes,
            self._suffixes,
            slab=numbers[SLAB],
            rows=numbers[ROWS],
            own_slab=numbers[OWN_SLAB],
            own=numbers[OWN],
            write=numbers[WRITE],
        )
        batch = self._model.attention.kernel.seated(seats)
        self.tokens.copy_(self._model.following(batch, self.tokens, numbers[POS]))
        numbers[MOVING].add_(numbers[LIVE])


class Steps:
    """Steps of several sizes; a batch takes the smallest that holds it."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """steps: ascending in size."""
        self._steps = steps

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(step.size for step in self._steps)

    def run(self, forks: Sequence[Fork], cursors: Sequence[int], tokens: Tensor, *, count: int) -> list[Tensor]:
        """
        `count` tokens more of each: int64 [n] a step, on the device. Does not synchronise.

        The rows are stored in the forks, and are the caller's to commit.
        """
        step = next(step for step in self._steps if step.size >= len(forks))
        step.load(forks, cursors, tokens)
        said = []
        for _ in range(count):
            step.step()
            said.append(step.tokens[: len(forks)].clone())
        return said


def sizes_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 4 … up to the first that holds `most`."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)
