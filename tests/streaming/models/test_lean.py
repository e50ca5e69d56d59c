"""The lean forward computes what the stock one computes, over the same memory, and is taken only where it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memory.kernels.flash_cpu import FlashCpu
from memory.kernels.reference import Reference
from memory.kernels.varlen import Varlen
from memory.kv import KV, Target
from memory.pool import SlabPool
from memory.types import TokenMeta
from streaming import models
from streaming.models import trial
from streaming.models.base import Chunk, Parts
from streaming.models.decoder import attention_of, kv_shape
from streaming.models.forwards import Features, Forward, StockForward
from streaming.models.lean import LINEARS, LeanForward
from streaming.models.ragged import Ragged
from tests.memory.kernels.plain_varlen import plain_varlen

NAMES = ("tiny-random", "tiny-random-2.5")
KERNELS = {"reference": Reference(), "flash-cpu": FlashCpu(), "varlen": Varlen(plain_varlen)}
LAYERS = 3
ROWS = 256  # a page of the varlen kernel


@dataclasses.dataclass(frozen=True)
class Draw:
    """
    One chunk: rows held before it, where it goes ("tail", "part" or "fork"), its blocks and what each continues.

    read, visual: which rows, as bits.
    """

    held: int
    where: str
    blocks: tuple[int, ...]
    after: tuple[int, ...]
    read: int
    visual: int
    queries: bool

    def __len__(self) -> int:
        return sum(self.blocks)


@st.composite
def draws(draw: st.DrawFn) -> Draw:
    blocks = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    where = draw(st.sampled_from(("tail", "part", "fork")))
    after = tuple(draw(st.integers(-1, number - 1)) for number in range(len(blocks)))
    bits = st.integers(0, 2**30)
    held = draw(st.integers(1 if where == "part" else 0, 20))
    return Draw(held, where, blocks, after, draw(bits), draw(bits), draw(st.booleans()))


@pytest.fixture
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Parts]:
    cache = tmp_path_factory.getbasetemp() / "lean-models"

    def fresh(name: str) -> Parts:
        cache.mkdir(exist_ok=True)
        return loaded(name, cache)

    return fresh


@pytest.fixture(scope="module", params=NAMES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, Forward, Forward]:
    """The parts of a family, the stock forward and the lean one over the same weights."""
    parts = loaded(request.param, tmp_path_factory.mktemp("models"))
    text = parts.model.model.language_model
    return parts, StockForward(text), LeanForward(text)


def loaded(name: str, cache: Path, dtype: torch.dtype | None = None) -> Parts:
    parts = models.stock(name, cache_dir=cache, dtype=dtype)
    attention_of(parts, kv_shape(parts))
    return parts


def rows(bits: int, n: int) -> tuple[int, ...]:
    return tuple(i for i in range(n) if bits >> i & 1)


def outcome(parts: Parts, forward: Forward, kernel: str, drawn: Sequence[Draw], deep: int, seed: int) -> list[Tensor]:
    """What is read, every queries list, and all stored rows, of a random batch."""
    random = torch.Generator().manual_seed(seed)
    shape = kv_shape(parts)
    pool, suffixes = SlabPool(shape, slabs=len(drawn), rows=ROWS), SlabPool(shape, slabs=len(drawn), rows=ROWS)
    for each in (pool, suffixes):
        for held in (each.keys, each.values):
            held.normal_(generator=random)
    width = parts.model.config.text_config.hidden_size
    chunks = []
    for one in drawn:
        kv = KV(pool, budget=ROWS)
        kv.commit(TokenMeta.prompt(np.zeros((3, one.held), np.int64)), cursor=one.held)
        target: Target = kv.tail()
        if one.where == "part":
            target = kv.part(np.arange(0, one.held, 2))
        if one.where == "fork":
            target = kv.fork(suffixes)
            target.commit(one.held // 2)
        n = len(one)
        chunks.append(
            Chunk(
                torch.randn(n, width, generator=random),
                torch.randint(0, 400, (3, n), generator=random).numpy(),
                target,
                one.blocks,
                after=one.after,
                read=rows(one.read, n),
                queries=[] if one.queries else None,
            )
        )
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    read = [int(start) + row for start, chunk in zip(starts, chunks, strict=False) for row in chunk.read]
    shown = [int(start) + row for start, one in zip(starts, drawn, strict=False) for row in rows(one.visual, len(one))]
    features = None
    if deep:
        layers = torch.randn(deep, len(shown), width, generator=random).unbind()
        features = Features(np.array(shown, np.int64), layers)
    with torch.inference_mode():
        got = forward(
            Ragged(chunks, kernel=KERNELS[kernel], device=shape.device, dtype=shape.dtype),
            torch.cat([chunk.embeds for chunk in chunks]),
            torch.from_numpy(np.concatenate([chunk.pos for chunk in chunks], axis=1)),
            torch.tensor(read, dtype=torch.long),
            features=features,
        )
    asked = [query for chunk in chunks for query in chunk.queries or ()]
    assert len(asked) == LAYERS * sum(one.queries for one in drawn)
    return [got, *asked, pool.keys, pool.values, suffixes.keys, suffixes.values]


@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=40)
@given(drawn=st.lists(draws(), min_size=1, max_size=5), deep=st.integers(0, LAYERS), seed=st.integers(0, 99))
def test_lean_equals_stock(
    both: tuple[Parts, Forward, Forward], kernel: str, drawn: list[Draw], deep: int, seed: int
) -> None:
    """
    Hidden states, stored keys and values and the queries kept, fp32 to 1e-5 of the largest.

    Over batches of memories, parts of them and forks, with blocks side by side and continued, DeepStack behind any
    number of layers, and any rows read, none too.
    """
    parts, stock, lean = both
    deep = deep if parts.model.config.model_type == "qwen3_vl" else 0
    want, got = (outcome(parts, forward, kernel, drawn, deep, seed) for forward in (stock, lean))
    assert [each.shape for each in got] == [each.shape for each in want]
    for a, b in zip(got, want, strict=True):
        assert not a.numel() or float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max()))


def test_fused_weights_are_the_model_s_own(load: Callable[[str], Parts]) -> None:
    """Every fused layer's parameter lies in the fused matrix: no value changed, and not a byte more is held."""
    for name in NAMES:
        parts, plain = load(name), load(name)
        text = parts.model.model.language_model
        before = held_bytes(text)
        lean = LeanForward(text)
        assert held_bytes(text) == before
        for layer, untouched, fused in zip(
            text.layers, plain.model.model.language_model.layers, lean._layers, strict=True
        ):
            for linear in LINEARS:
                same = zip(
                    layer.get_submodule(linear).parameters(), untouched.get_submodule(linear).parameters(), strict=True
                )
                assert all(torch.equal(a, b) for a, b in same)
            for whole, names in ((fused.qkv, LINEARS[:3]), (fused.gate_up, LINEARS[4:6])):
                linears = [layer.get_submodule(linear) for linear in names]
                assert torch.equal(whole.weight, torch.cat([linear.weight for linear in linears]))
                for linear in linears:
                    assert linear.weight.untyped_storage().data_ptr() == whole.weight.untyped_storage().data_ptr()
                    assert (linear.bias is None) == (whole.bias is None)


def held_bytes(module: nn.Module) -> int:
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in module.parameters()}
    return sum(storages.values())


def chosen(parts: Parts) -> str:
    shape = kv_shape(parts)
    return str(trial.choose(parts, shape, FlashCpu()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lean_is_chosen_where_it_is_right(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """On both families, in full and half precision, with how far it is off."""
    parts = loaded(name, tmp_path, dtype)
    assert chosen(parts).startswith("lean (")
    assert chosen(parts).endswith("off stock on trial)")


class Scaled(nn.Linear):
    """A linear layer that does something else besides."""


class Packed(nn.Parameter):
    """As a quantised weight is."""


@pytest.mark.parametrize("linear", LINEARS)
def test_a_replaced_linear_stays_stock(linear: str, load: Callable[[str], Parts]) -> None:
    """A layer that is no plain one is never taken apart; the reason names it and no weight has moved."""
    parts = load("tiny-random")
    layer = parts.model.model.language_model.layers[1]
    old = layer.get_submodule(linear)
    layer.set_submodule(linear, Scaled(old.in_features, old.out_features, bias=False))
    before = [p.data_ptr() for p in parts.model.parameters()]
    assert chosen(parts) == f"stock (layers.1.{linear} is a Scaled)"
    assert [p.data_ptr() for p in parts.model.parameters()] == before


def test_a_quantised_weight_and_a_hook_stay_stock(load: Callable[[str], Parts]) -> None:
    """A weight of another type, and a layer that something else runs around."""
    parts = load("tiny-random")
    linear = parts.model.model.language_model.layers[2].mlp.down_proj
    hook = linear.register_forward_hook(lambda *_: None)
    assert chosen(parts) == "stock (layers.2.mlp.down_proj is hooked)"
    hook.remove()
    linear.weight = Packed(linear.weight.data, requires_grad=False)
    assert chosen(parts) == "stock (layers.2.mlp.down_proj is made of Packed)"


def test_layers_that_cannot_be_one_stay_stock(load: Callable[[str], Parts]) -> None:
    """Keys without a bias beside queries with one, norms of another kind each: the model runs as published."""
    parts = load("tiny-random-2.5")
    parts.model.model.language_model.layers[1].self_attn.k_proj.bias = None
    assert chosen(parts) == "stock (of layers that read the same, one has a bias, one has none)"
    parts = load("tiny-random")
    parts.model.model.language_model.layers[1].self_attn.k_norm.variance_epsilon = 0.5
    assert chosen(parts) == "stock (the norms of queries and keys differ)"


def test_a_family_built_otherwise_stays_stock(load: Callable[[str], Parts]) -> None:
    """A part that is missing, a part that computes something else, and one that yields no number."""
    parts = load("tiny-random")
    text = parts.model.model.language_model
    norm = text.layers[0].input_layernorm
    text.layers[0].input_layernorm = nn.LayerNorm(norm.weight.shape[0])
    assert chosen(parts) == "stock ('LayerNorm' object has no attribute 'variance_epsilon')"
    text.layers[0].input_layernorm = norm
    norm.forward = lambda hidden: 2 * type(norm).forward(norm, hidden)
    assert "stock (lean is" in chosen(parts)
    norm.forward = lambda hidden: float("nan") * hidden
    assert chosen(parts) == "stock (lean is nan off it)"


def test_the_model_answers_alike_either_way(load: Callable[[str], Parts], tmp_path: Path) -> None:
    """Through the family: the logits of a picture's rows and of words, with the forward that was chosen and the other."""
    for name in NAMES:
        model: Any = models.load(name, cache_dir=tmp_path)
        assert model.decoder.forward.name == "lean"
        logits = [frame_logits(model)]
        model.decoder = trial.ChosenForward(StockForward(model._parts.model.model.language_model), "by a test")
        logits.append(frame_logits(model))
        assert float((logits[0] - logits[1]).abs().max()) <= 1e-5 * float(logits[1].abs().max())


@torch.inference_mode()
def frame_logits(model: Any) -> Tensor:
    layout = model.layout((4, 4), time_s=1.0, start=9)
    n, visual = len(layout.ids), np.flatnonzero(layout.visual)
    random = torch.Generator().manual_seed(1)
    embeds = model.embed(torch.from_numpy(layout.ids))
    deep = len(getattr(model._parts.model.config.vision_config, "deepstack_visual_indexes", ()))
    features = torch.randn(deep, len(visual), embeds.shape[1], generator=random).unbind()
    kv = KV(SlabPool(model.kv, slabs=1, rows=64), budget=64)
    chunk = Chunk(embeds, layout.pos, kv.tail(), (n,), read=(0, n - 1), visual=visual, deepstack=features)
    logits: Tensor = model.forward([chunk, dataclasses.replace(chunk, visual=None, deepstack=())])
    return logits
