"""Every kernel computes what the plain one computes, and stores the same rows; the faster one is taken where it does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.kernels import Case, choose
from memory.kernels.base import Kernel, Work
from memory.kernels.chunked_cpu import ChunkedCpu, attention
from memory.kernels.contest import gain
from memory.kernels.flash import PAGE_ROWS, in_pages
from memory.kernels.flash_cpu import FlashCpu
from memory.kernels.forest import lines
from memory.kernels.reference import Reference
from memory.kernels.trial import disagreement
from memory.kernels.varlen import Varlen
from memory.kv import KV, Target
from memory.pool import SlabPool
from memory.types import KVShape, TokenMeta

from .forests import Forest, forests
from .plain_varlen import plain_varlen

CPU = torch.device("cpu")
CASES = [
    Case(heads=4, kv_heads=2, head_dim=16, segment_dim=8),
    Case(heads=4, kv_heads=4, head_dim=32, segment_dim=16),
    Case(heads=14, kv_heads=2, head_dim=16, segment_dim=8),
]


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_varlen_equals_the_reference(case: Case, paged: bool) -> None:
    """
    Prompts, frames, rules, forks with and without rows of their own, decoded tokens, in one batch and alone.

    The kernel's operation is torch's as documented, in plain torch; what is tested is everything around it.
    """
    kernel = Varlen(plain_varlen, paged=paged)
    assert disagreement(kernel, case, device=CPU, dtype=torch.float32) <= 1e-5


@pytest.mark.parametrize(
    "kernel",
    [Reference(), FlashCpu(), ChunkedCpu(everything=True), Varlen(plain_varlen), Varlen(plain_varlen, paged=False)],
)
@settings(deadline=None)  # a busy machine is no fault of the kernel
@given(
    held=st.integers(0, 40),
    own=st.one_of(st.none(), st.integers(0, 9)),
    step=st.integers(1, 5),
    forest=forests(),
    seed=st.integers(0, 99),
)
def test_blocks_that_continue_others_equal_each_line_alone(
    kernel: Kernel, held: int, own: int | None, step: int, forest: Forest, seed: int
) -> None:
    """Behind a memory, a part of it, or on a fork (`own` rows in): fp32 to 1e-5 of the whole question as one block."""
    blocks, after = forest
    shape = KVShape(layers=1, kv_heads=2, head_dim=16, dtype=torch.float32, device=CPU)
    random = torch.Generator().manual_seed(seed)
    pools = [SlabPool(shape, slabs=1, rows=256), SlabPool(shape, slabs=1, rows=256)]
    for pool in pools:
        pool.keys.normal_(generator=random)
        pool.values.normal_(generator=random)
    kv = KV(pools[0], budget=256)
    kv.commit(TokenMeta.prompt(np.zeros((3, held), np.int64)), cursor=held)
    target: Target = kv.tail() if step == 1 else kv.part(np.arange(0, held, step))
    if own is not None:
        target = kv.fork(pools[1])
        target.commit(own)
    n = sum(blocks)
    q, k, v = (torch.randn(heads, n, 16, generator=random) for heads in (4, 2, 2))
    together = kernel.plan([Work(target, blocks, after)], device=CPU, dtype=torch.float32)
    got = together.attend(0, q, k, v, scale=0.3)
    starts = [0, *itertools.accumulate(blocks)]
    for line in [(*before, number) for number, before in enumerate(lines(blocks, after))]:
        rows = [row for each in line for row in range(starts[each], starts[each + 1])]
        alone = Reference().plan([Work(target, (len(rows),))], device=CPU, dtype=torch.float32)
        want = alone.attend(0, q[:, rows], k[:, rows], v[:, rows], scale=0.3)
        assert (got[:, rows] - want).abs().max() <= 1e-5


def test_half_precision_stays_near() -> None:
    assert 0 < disagreement(Varlen(plain_varlen), CASES[0], device=CPU, dtype=torch.bfloat16) <= 3e-2


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any))
def test_segments_see_themselves_alone(lengths: list[int]) -> None:
    """Windows and pictures of any sizes, empty ones too, equal each alone."""
    cuts = [0]
    for length in lengths:
        cuts.append(cuts[-1] + length)
    random = torch.Generator().manual_seed(sum(lengths))
    q, k, v = (torch.randn(2, cuts[-1], 8, generator=random) for _ in range(3))
    alone = [
        torch.nn.functional.scaled_dot_product_attention(q[:, a:b], k[:, a:b], v[:, a:b], scale=0.3)
        for a, b in itertools.pairwise(cuts)
        if b > a
    ]
    kernels: list[Kernel] = [Reference(), ChunkedCpu(everything=True), Varlen(plain_varlen)]
    for kernel in kernels:
        assert torch.allclose(kernel.segments(q, k, v, cuts, scale=0.3), torch.cat(alone, dim=1), atol=1e-6)


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        ((1.5, 1.2), "chunked-cpu (in chunks on cpu, 1.5 "),
        ((1.5, 0.9), "flash-cpu (flash on cpu, "),
        ((1.05, 1.05), "flash-cpu (flash"),
    ],
)
def test_a_cpu_runs_what_was_faster_on_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch, gain: tuple[float, float], says: str
) -> None:
    """Chunks are taken where they win on rules and on a picture, and only in float32."""
    monkeypatch.setattr("memory.kernels.gain", lambda *_: gain)
    assert str(choose(CPU, torch.float32, CASES[0])).startswith(says)
    assert choose(CPU, torch.bfloat16, CASES[0]).kernel.name == "flash-cpu"


def test_a_kernel_in_chunks_that_is_wrong_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is."""

    def wrong(*args: Any, **options: Any) -> Any:
        out, weight = attention(*args, **options)
        return out, weight + 1e-3

    monkeypatch.setattr("memory.kernels.gain", lambda *_: (9.0, 9.0))
    monkeypatch.setattr("memory.kernels.chunked_cpu.attention", wrong)
    assert choose(CPU, torch.float32, CASES[0]).kernel.name == "flash-cpu"


def test_a_contest_tells_how_much_faster() -> None:
    """It runs, and nothing is infinitely faster."""
    assert all(0 < each < 100 for each in gain(ChunkedCpu(), FlashCpu(), CASES[0]))


def test_a_kernel_that_passes_its_trial_is_taken() -> None:
    chosen = choose(CPU, torch.float32, CASES[0], op=plain_varlen)
    assert isinstance(chosen.kernel, Varlen)
    assert "slabs read as pages" in str(chosen)


@pytest.mark.parametrize("refuses", [True, False])
def test_an_operation_that_cannot_page_reads_gathered_rows(refuses: bool) -> None:
    """Whether it knows no block table, or this card's kernel refuses one."""

    def refused(*args: Any, block_table: Any = None, seqused_k: Any = None, **options: Any) -> Any:
        if block_table is not None:
            raise RuntimeError("no pages on this card")
        return plain_varlen(*args, **options)

    def unpaged(*args: Any, **options: Any) -> Any:
        assert "block_table" not in options
        return plain_varlen(*args, **options)

    chosen = choose(CPU, torch.float32, CASES[0], op=refused if refuses else unpaged)
    assert isinstance(chosen.kernel, Varlen)
    assert "slabs gathered" in str(chosen)


def test_a_log_sum_exp_by_token_is_understood() -> None:
    """torch's documentation and its code disagree on the layout; the trial finds out which it is."""

    def by_token(*args: Any, return_aux: Any = None, **options: Any) -> Any:
        found = plain_varlen(*args, return_aux=return_aux, **options)
        return found if return_aux is None else (found[0], found[1].T)

    assert isinstance(choose(CPU, torch.float32, CASES[0], op=by_token).kernel, Varlen)


@pytest.mark.parametrize("fault", ["shifted", "refuses", "nan", "other shape"])
def test_a_kernel_that_fails_its_trial_is_not_taken(fault: str) -> None:
    """Wrong by a little, not a number, laid out otherwise, or refused: the plain one runs, and the reason is told."""

    def broken(*args: Any, return_aux: Any = None, **options: Any) -> Any:
        if fault == "refuses":
            raise RuntimeError("no kernel image is available for execution on the device\nstack")
        found = plain_varlen(*args, return_aux=return_aux, **options)
        if return_aux is None:
            return found
        out, lse = found
        if fault == "other shape":
            return out, lse[:, :-1]
        return out, lse + (
            0.2 if fault == "shifted" and options["window_size"] == (-1, 0) else torch.nan if fault == "nan" else 0
        )

    chosen = choose(CPU, torch.float32, CASES[0], op=broken)
    assert isinstance(chosen.kernel, Reference)
    assert "varlen failed its trial: " in str(chosen)
    assert ("no kernel image" in str(chosen)) == (fault == "refuses")
    assert "\n" not in str(chosen)


def test_what_is_not_a_number_in_an_encoder_alone_is_found() -> None:
    """Everything a decoder asks for is right; pictures, which are tried last, are not."""

    def blind(*args: Any, return_aux: Any = None, **options: Any) -> Any:
        found = plain_varlen(*args, return_aux=return_aux, **options)
        return found if return_aux is not None else found * torch.nan

    assert isinstance(choose(CPU, torch.float32, CASES[0], op=blind).kernel, Reference)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "case",
    [
        Case(heads=32, kv_heads=8, head_dim=128, segment_dim=72),
        Case(heads=16, kv_heads=8, head_dim=128, segment_dim=64),
        Case(heads=28, kv_heads=4, head_dim=128, segment_dim=80),
        Case(heads=16, kv_heads=2, head_dim=128, segment_dim=80),
    ],
)
def test_a_gpu_takes_varlen_for_every_published_shape(case: Case, dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    chosen = choose(torch.device("cuda"), dtype, case)
    assert chosen.kernel.name == "varlen", str(chosen)


@given(rows=st.integers(0, 5000))
def test_slabs_fill_their_last_page(rows: int) -> None:
    """So that no odd budget keeps a paged kernel from reading in place; what is less than a page is no larger."""
    filled = in_pages(rows)
    assert filled == rows if rows < PAGE_ROWS else filled % PAGE_ROWS == 0
    assert rows <= filled < rows + PAGE_ROWS
