"""
Attention over the rows of a memory; one file per way to compute it, chosen once, when a model is loaded.

A fast kernel is taken only where it runs and agrees with the plain one on this very device: `choose` tries it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from .base import Kernel
from .chunked_cpu import ChunkedCpu
from .contest import gain
from .flash import Op
from .flash_cpu import FlashCpu
from .products import PLAIN, Products
from .reference import Reference
from .trial import Case, allowed, disagreement
from .varlen import Varlen, can_page, torch_op

__all__ = ["Case", "Chosen", "Kernel", "allowed", "choose"]

WORTH = 1.1  # what a kernel must be faster by on the whole, and slower on nothing, to replace a simpler one
HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A kernel, and why it and no other, for people."""

    kernel: Kernel
    reason: str

    def __str__(self) -> str:
        return f"{self.kernel.name} ({self.reason})"


def choose(
    device: torch.device, dtype: torch.dtype, case: Case, *, op: Op | None = None, products: Products = PLAIN
) -> Chosen:
    """
    The fastest kernel that is right on this device for models of this shape.

    op: tried in place of torch's varlen attention, whatever the device. products: how a CPU multiplies.
    Where something is tried: blocks for moments, allocates a few MiB, synchronises.
    """
    plain = f"plain torch on {device.type}"
    if op is None:
        if device.type == "cpu":
            return _on_cpu(dtype, case, products)
        if device.type != "cuda":
            return Chosen(Reference(), plain)
        if dtype not in HALF:
            return Chosen(Reference(), f"{plain}; varlen computes in half precision, not {str(dtype)[6:]}")
        try:
            op = torch_op()
        except ImportError as error:
            return Chosen(Reference(), f"{plain}; {error}")
    found = ""
    for paged, heads_first in itertools.product((True, False) if can_page(op) else (False,), (True, False)):
        kernel = Varlen(op, paged=paged, heads_first=heads_first)
        try:
            off = disagreement(kernel, case, device=device, dtype=dtype)
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            found = found or str(error).strip().splitlines()[0]
            continue
        if off <= allowed(dtype):  # not so where it is nan
            how = "slabs read as pages" if paged else "slabs gathered"
            return Chosen(kernel, f"flash varlen, {how}, {off:.0e} off the reference on trial")
        found = found or f"{off:.0e} off the reference"
    return Chosen(Reference(), f"{plain}; varlen failed its trial: {found}")


def _on_cpu(dtype: torch.dtype, case: Case, products: Products) -> Chosen:
    cpu = torch.device("cpu")
    try:
        flash = FlashCpu()
        off = disagreement(flash, case, device=cpu, dtype=dtype)
        # all of the trial's small works in chunks; what is taken leaves such to flash
        chunked_off = (
            disagreement(ChunkedCpu(products, everything=True), case, device=cpu, dtype=dtype)
            if dtype is torch.float32
            else float("nan")
        )
    except (AttributeError, RuntimeError, TypeError, NotImplementedError) as error:  # an operator of torch's inside
        return Chosen(Reference(), f"plain torch on cpu; {str(error).strip().splitlines()[0]}")
    if not off <= allowed(dtype):
        return Chosen(Reference(), f"plain torch on cpu; flash is {off:.0e} off it")
    says = f"flash on cpu, {off:.0e} off the reference on trial"
    if dtype is torch.float32 and not chunked_off <= allowed(dtype):
        return Chosen(flash, f"{says}; chunks are {chunked_off:.0e} off it")
    if dtype is torch.float32:
        chunked = ChunkedCpu(products)
        rules, picture = gain(chunked, flash, case)
        times = f"{rules:.1f} times flash's speed on rules, {picture:.1f} on a picture"
        if min(rules, picture) >= 1.0 and rules * picture >= WORTH**2:
            return Chosen(chunked, f"in chunks on cpu, {times}, {chunked_off:.0e} off the reference on trial")
        says += f"; chunks have {times}"
    return Chosen(flash, says)
