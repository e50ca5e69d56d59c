"""
Which library multiplies float32 matrices on a CPU: torch's own choice (MKL), or oneDNN where that is faster.

MKL takes its AVX2 path on processors that are not Intel's, also where they have AVX-512. Torch leads float32 products
to oneDNN where it may round them to bfloat16, which oneDNN does on processors with AMX alone; elsewhere it computes in
float32. So both ways are tried on the very machine: oneDNN is taken where it is exact and faster, for as many rows as
it needs, since a call of it costs more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

MATMUL: Final = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # a module replaced by an object of it
ROWS: Final = (256, 64, 32)  # tried in this order, until oneDNN is not faster; padding costs fewer rows more than that
FINE, COARSE, FEW = 16, 64, 256  # steps of the number of rows, up to FEW and above
WIDEST: Final = 1024  # matrices are tried up to so many rows and columns: no more is to be learnt
SHAPES: Final = 6  # the most frequent ones
TIMES: Final = 5
GAIN: Final = 1.1  # what oneDNN must be faster by
EXACT: Final = 2e-6  # of |x| |w|; float32 is off by 2e-7, TF32 by 5e-5, bfloat16 by 2e-4
SEED: Final = 3

Shapes = Mapping[tuple[int, int], int]  # (inputs, outputs) of a layer: how often it occurs


@dataclass(frozen=True, slots=True)
class Products:
    """
    What was chosen, and why, for people.

    rows: from so many on, oneDNN multiplies; None is never.
    """

    rows: int | None
    reason: str

    @property
    def name(self) -> str:
        """In a word."""
        return "torch" if self.rows is None else "onednn"

    def __str__(self) -> str:
        return self.reason if self.rows is None else f"oneDNN from {self.rows} rows on ({self.reason})"

    def over(self, rows: int) -> AbstractContextManager[None]:
        """Inside, products of so many rows run as chosen; for the whole process, so one thread at a time."""
        return _Leading(on=self.rows is not None and rows >= self.rows)

    def padded(self, rows: int) -> int:
        """
        How many rows to multiply instead of so many, where their number changes from one forward to the next.

        oneDNN makes new code for every number of rows, half a millisecond for every shape of a layer, and keeps the
        last thousand of them.
        """
        if self.rows is None or rows < self.rows:
            return rows
        return rounded(rows, FINE if rows <= FEW else COARSE)

    def large(self) -> AbstractContextManager[None]:
        """Inside, products run as chosen for large ones."""
        return _Leading(on=self.rows is not None)


def rounded(number: int, step: int) -> int:
    """Up to a multiple of `step`."""
    return -(-number // step) * step


def plainly() -> AbstractContextManager[None]:
    """Inside, products run torch's own way: for operators that make many small ones."""
    return _Leading(on=False)


PLAIN: Final = Products(None, "torch's own")


def shapes_of(model: nn.Module) -> Shapes:
    """Its float32 layers on the CPU."""
    weights = (each.weight for each in model.modules() if isinstance(each, nn.Linear))
    return Counter(
        (weight.shape[1], weight.shape[0])
        for weight in weights
        if weight.device.type == "cpu" and weight.dtype == torch.float32
    )


def measured(shapes: Shapes) -> Products:
    """
    The faster exact way for layers of these shapes on this CPU.

    Blocks for moments, on one thread. While it runs, no other thread should multiply.
    """
    if not shapes:
        return PLAIN
    most = sorted(shapes, key=lambda shape: -shapes[shape] * shape[0] * shape[1])[:SHAPES]
    with one_thread(), torch.inference_mode():
        return _chosen({shape: shapes[shape] for shape in most})


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: what is timed is the code, not who else is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chosen(shapes: Shapes) -> Products:
    random = torch.Generator().manual_seed(SEED)
    layers = [
        (torch.randn(min(outputs, WIDEST), min(inputs, WIDEST), generator=random), often)
        for (inputs, outputs), often in shapes.items()
    ]
    x = torch.randn(max(ROWS), WIDEST, generator=random)
    off = max(_error(x[:, : weight.shape[1]].contiguous(), weight) for weight, _ in layers)
    if not off <= EXACT:
        return Products(None, f"torch's own; oneDNN would round, {off:.0e}")
    least, gain = None, 1.0
    for rows in ROWS:
        own_s, onednn_s = _times_s(x[:rows], layers)
        if own_s / onednn_s < GAIN:
            if least is None:
                return Products(None, f"torch's own; oneDNN has {own_s / onednn_s:.1f} times its speed")
            break
        gain, least = max(gain, own_s / onednn_s), rows
    return Products(least, f"up to {gain:.1f} times torch's own speed, {off:.0e} off float64")


def _times_s(x: Tensor, layers: list[tuple[Tensor, int]]) -> tuple[float, float]:
    """One pass through all layers: torch's own way, and oneDNN; in turns, the best of each."""
    own_s = onednn_s = 0.0
    for weight, often in layers:
        rows = x[:, : weight.shape[1]].contiguous()
        found = {False: float("inf"), True: float("inf")}
        for turn in range(2 * TIMES + 2):
            on = bool(turn % 2)
            with _Leading(on=on):
                began = time.thread_time()
                torch.nn.functional.linear(rows, weight)
                took_s = time.thread_time() - began
            if turn > 1:  # the first of each warms
                found[on] = min(found[on], took_s)
        own_s += often * found[False]
        onednn_s += often * found[True]
    return own_s, onednn_s


def _error(x: Tensor, weight: Tensor) -> float:
    """How far oneDNN is off float64, as a share of |x| |w|."""
    with _Leading(on=True):
        got = torch.nn.functional.linear(x, weight)
    x, weight = x.double(), weight.double()
    off = (got - x @ weight.T).abs() / (x.norm(dim=1)[:, None] * weight.norm(dim=1))
    return float(off.max())


class _Leading:
    """Torch's switch for the whole process, set and put back; a microsecond."""

    __slots__ = ("_before", "_wanted")

    def __init__(self, *, on: bool) -> None:
        self._wanted = "bf16" if on else "ieee"

    def __enter__(self) -> None:
        self._before = MATMUL.fp32_precision
        MATMUL.fp32_precision = self._wanted

    def __exit__(self, *_: object) -> None:
        MATMUL.fp32_precision = self._before
