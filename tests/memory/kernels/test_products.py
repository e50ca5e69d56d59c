"""oneDNN multiplies where it is exact and faster, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from memory.kernels import products
from memory.kernels.products import MATMUL, PLAIN, Products, measured, plainly, shapes_of

SHAPES = {(48, 64): 3, (64, 48): 1}
LINEAR = nn.functional.linear


def timed(faster_from: int) -> object:
    """oneDNN is faster from so many rows on."""

    def times_s(x: torch.Tensor, layers: object) -> tuple[float, float]:
        return 1.0, 0.5 if len(x) >= faster_from else 1.5

    return times_s


@pytest.mark.parametrize(("faster_from", "rows"), [(1, 32), (64, 64), (256, 256), (257, None)])
def test_it_is_taken_from_as_many_rows_on_as_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, faster_from: int, rows: int | None
) -> None:
    monkeypatch.setattr(products, "_times_s", timed(faster_from))
    chosen = measured(SHAPES)
    assert chosen.rows == rows
    assert chosen.name == ("torch" if rows is None else "onednn")
    assert ("has 0.7 times its speed" in str(chosen)) == (rows is None)


@pytest.mark.parametrize("wrong", ["bfloat16", "nan"])
def test_a_processor_that_rounds_keeps_torchs_way(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """As one with AMX does once bfloat16 is allowed inside; however fast that is."""

    def rounding(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if MATMUL.fp32_precision != "bf16":
            return LINEAR(x, weight)
        if wrong == "nan":
            return LINEAR(x, weight) * torch.nan
        return LINEAR(x.bfloat16().float(), weight.bfloat16().float())

    monkeypatch.setattr(nn.functional, "linear", rounding)
    monkeypatch.setattr(products, "_times_s", timed(1))
    chosen = measured(SHAPES)
    assert chosen.rows is None
    assert "would round" in str(chosen)


def test_measuring_leaves_torch_as_it_was() -> None:
    threads, before = torch.get_num_threads(), MATMUL.fp32_precision
    measured(SHAPES)
    assert (torch.get_num_threads(), MATMUL.fp32_precision) == (threads, before)


def test_the_switch_holds_inside_alone() -> None:
    """Nested, and when something is raised inside."""
    before = MATMUL.fp32_precision
    chosen = Products(16, "")

    def inside() -> None:
        with chosen.over(16):
            assert MATMUL.fp32_precision == "bf16"
            with chosen.over(15), chosen.large():
                assert MATMUL.fp32_precision == "bf16"
            with plainly():
                assert MATMUL.fp32_precision == "ieee"
            assert MATMUL.fp32_precision == "bf16"
            with PLAIN.large():
                assert MATMUL.fp32_precision == "ieee"
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert MATMUL.fp32_precision == before


@given(st.integers(1, 5000))
def test_numbers_of_rows_become_few(rows: int) -> None:
    """Up by less than a quarter from 64 rows on; where torch's own way runs they stay as they are."""
    assert Products(64, "").padded(rows) == rows or 64 < rows <= Products(64, "").padded(rows) < rows * 1.25
    assert PLAIN.padded(rows) == rows
    assert len({Products(64, "").padded(each) for each in range(64, 1025)}) == 1 + 12 + 12


def test_only_float32_layers_on_the_cpu_count() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4).bfloat16(), nn.LayerNorm(4))
    assert shapes_of(model) == {(4, 8): 2}
    assert measured(shapes_of(nn.Sequential())) == PLAIN
