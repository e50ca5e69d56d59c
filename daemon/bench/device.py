"""
`vigild bench device`: how near the engine comes to what the device can do.

Two ceilings are measured first, in the model's own type: multiply-adds of one large matrix product, and bytes of one
large copy. Beside them: encoding and reading 16 whole pictures, as a share of the first (only weights are counted as
work, so that attention makes the share smaller), and decoding one answer over a full memory, as a multiple of the time
in which its weights and keys and values can be read once. Where decoding runs as recorded graphs, it is timed without
them, too.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from daemon.devices import resolve
from daemon.errors import DaemonError
from memory.kv import KV
from memory.pool import SlabPool
from streaming import models
from streaming.decode import Decoding
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk
from streaming.models.patches import patchify
from streaming.sources.synthetic import Scene
from streaming.types import Ask, AskStatus, CameraSettings, Frame, StepPlan

from ._model import dtype_on, loaded
from .form import Options, Report, Say, quantile

SUMMARY: Final = "share of the device's measured ceilings in encoder, prefill and decode"

PICTURES: Final = 16
CPU_PX, GPU_PX = 224, 448
MEMORY_TOKENS: Final = 4096
DECODED: Final = 16
QUESTION: Final = "Describe everything that you have seen."


@dataclass(frozen=True, slots=True)
class Weights:
    """
    Parameters by what they are applied to: a patch, a token behind the encoder (mergers), a token of the decoder, a row
    whose logits are read. item_bytes: of one parameter. Embeddings, of which a row is looked up, are no work.
    """

    patch: int
    merged: int
    decoder: int
    head: int
    item_bytes: int

    @classmethod
    def of(cls, network: Any) -> Weights:
        """Counted on the stock class."""
        counts = {"patch": 0, "merged": 0}
        for name, weight in network.model.visual.named_parameters():
            if name.startswith(("blocks.", "patch_embed.")):
                counts["patch"] += weight.numel()
            elif "merger" in name:
                counts["merged"] += weight.numel()
        return cls(
            **counts,
            decoder=sum(weight.numel() for weight in network.model.language_model.layers.parameters()),
            head=sum(weight.numel() for weight in network.lm_head.parameters()),
            item_bytes=int(next(network.parameters()).element_size()),
        )


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for seconds, and as long as the model takes to load, twice."""
    device = resolve([options.device])[0]
    times = 5 if options.short else 20
    side_px = GPU_PX if device.startswith("cuda") else CPU_PX
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        say("counting weights")
        weights = Weights.of(
            models.stock(options.model, device=device, dtype=dtype_on(device), cache_dir=Path(folder)).model
        )
        gc.collect()
        say("loading the model")
        model = loaded(options.model, device, Path(folder), max_pixels=side_px**2)
        clock = Clock(model.kv.device, times)
        say("measuring the ceilings")
        flops_s = matrix_product(model, clock)
        bytes_s = copy(model, clock)
        say("encoding and reading")
        encode_ms, read_ms, patches, tokens = see(model, side_px, clock)
        say("decoding")
        decode_ms, held, decoding = decode(model, side_px, options.seed)
        eager_ms = decode_ms
        if decoding.steps is not None:
            eager_ms, *_ = decode(model, side_px, options.seed, graphs=False)
    floor_ms = 1000 * ((weights.decoder + weights.head) * weights.item_bytes + held) / bytes_s
    merged = patches // model.vision.merge**2
    encoder_flops = 2 * (weights.patch * patches + weights.merged * merged)
    prefill_flops = 2 * weights.decoder * tokens
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "dtype": str(model.kv.dtype).removeprefix("torch."),
            "attention": model.attention.kernel.name,
            "decoder": model.decoder.forward.name,
            "decode": str(decoding),
            "products": model.products.name,
            "side_px": side_px,
            "pictures": PICTURES,
            "patches": patches,
            "tokens": tokens,
            "memory_tokens": MEMORY_TOKENS,
            "weights": dataclasses.asdict(weights),
        },
        rows=[
            {"what": "matrix product", "ms": None, "per_s": flops_s, "unit": "flop", "share": 1.0},
            {"what": "copy", "ms": None, "per_s": bytes_s, "unit": "byte", "share": 1.0},
            _row("encoder", encode_ms, encoder_flops, flops_s),
            _row("prefill", read_ms, prefill_flops, flops_s),
            {
                "what": "decode, a token, eager",
                "ms": eager_ms,
                "per_s": None,
                "unit": "byte",
                "share": floor_ms / eager_ms,
            },
            {"what": "decode, a token", "ms": decode_ms, "per_s": None, "unit": "byte", "share": floor_ms / decode_ms},
        ],
        figures={
            "encoder_share": 1000 * encoder_flops / encode_ms / flops_s,
            "prefill_share": 1000 * prefill_flops / read_ms / flops_s,
            "decode_over_floor": decode_ms / floor_ms,
            "decode_ms": decode_ms,
            "decode_eager_ms": eager_ms,
        },
        notes=("shares: only weights count as work; decode: a step of the engine over its tokens, with its host part",),
    )


@dataclass(frozen=True, slots=True)
class Clock:
    """Times what a device does, `times` after one that warms."""

    device: torch.device
    times: int

    def median_ms(self, do: Callable[[], object]) -> float:
        took = []
        for _ in range(self.times + 1):
            self._wait()
            began = time.perf_counter()
            do()
            self._wait()
            took.append(1000 * (time.perf_counter() - began))
        return quantile(took[1:], 0.5)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def matrix_product(model: VisionLanguageModel, clock: Clock) -> float:
    """Floating-point operations a second of one large product."""
    side = 8192 if clock.device.type == "cuda" else 1024
    one, two = torch.randn(2, side, side, device=clock.device).to(model.kv.dtype)
    return 1000 * 2 * side**3 / clock.median_ms(lambda: one @ two)


def copy(model: VisionLanguageModel, clock: Clock) -> float:
    """Bytes a second, read and written, of a copy far larger than the caches."""
    size = (2 << 30) if clock.device.type == "cuda" else (256 << 20)
    source = torch.zeros(size // model.kv.dtype.itemsize, dtype=model.kv.dtype, device=clock.device)
    target = torch.empty_like(source)
    return 1000 * 2 * size / clock.median_ms(lambda: target.copy_(source))


@torch.inference_mode()
def see(model: VisionLanguageModel, side_px: int, clock: Clock) -> tuple[float, float, int, int]:
    """Milliseconds to encode and to read the pictures, all in one call each; how many patches and tokens they are."""
    picture = Scene("yard", side_px, side_px).render(0.0)
    grids = [patchify([picture] * model.vision.temporal, model.vision)] * PICTURES
    encode_ms = clock.median_ms(lambda: model.encode(grids))
    pool = SlabPool(model.kv, slabs=PICTURES, rows=1024)
    chunks = []
    for code in model.encode(grids):
        layout = model.layout(code.hw, time_s=0.0, start=0)
        embeds = model.embed(torch.from_numpy(layout.ids).to(clock.device)).clone()
        embeds[torch.from_numpy(layout.visual).to(clock.device)] = code.embeds.to(embeds.dtype)
        chunks.append(
            Chunk(
                embeds=embeds,
                pos=layout.pos,
                target=KV(pool, budget=1024).tail(),
                blocks=(len(layout.ids),),
                visual=np.flatnonzero(layout.visual),
                deepstack=code.deepstack,
            )
        )
    read_ms = clock.median_ms(lambda: model.forward(chunks))  # rows that are never committed are written anew
    return encode_ms, read_ms, sum(len(grid.patches) for grid in grids), sum(len(chunk) for chunk in chunks)


def decode(model: VisionLanguageModel, side_px: int, seed: int, *, graphs: bool = True) -> tuple[float, int, Decoding]:
    """Milliseconds a token of one answer over a full memory, the bytes of keys and values that it reads, and how."""
    settings = EngineSettings(
        max_cameras=1, max_asks=1, max_budget_tokens=MEMORY_TOKENS, max_pixels=side_px**2, graphs=graphs
    )
    engine = Engine(model, settings=settings)
    engine.open(CameraSettings("yard", budget_tokens=MEMORY_TOKENS, drop="none"))
    scene = Scene("yard", side_px, side_px, seed=seed)
    seq = 0
    while engine.memory("yard").tokens < 0.8 * MEMORY_TOKENS:
        at_ns = seq * 500_000_000
        engine.step(StepPlan(frames=(Frame("yard", seq, at_ns, at_ns, scene.render(seq / 2)),)))
        seq += 1
    took: list[float] = []
    for number in range(8):  # an answer may end by itself: several are begun, and each is measured once
        ask = Ask(f"q{number}", "yard", QUESTION, max_tokens=2 * DECODED)
        (begun,) = engine.step(StepPlan(start=(ask,))).answers
        if begun.status is AskStatus.RUNNING:
            began = time.perf_counter()
            engine.step(StepPlan(advance=(ask.id,), decode_tokens=DECODED))
            took.append(1000 * (time.perf_counter() - began) / DECODED)
        engine.step(StepPlan(cancel=(ask.id,)))
    if not took:
        raise DaemonError(f"{model.name} ends every answer with its first token; there is nothing to time")
    return quantile(took, 0.5), engine.memory("yard").tokens * model.kv.row_bytes, engine.decoding


def _row(what: str, ms: float, flops: int, ceiling: float) -> dict[str, str | int | float | None]:
    return {"what": what, "ms": ms, "per_s": 1000 * flops / ms, "unit": "flop", "share": 1000 * flops / ms / ceiling}
