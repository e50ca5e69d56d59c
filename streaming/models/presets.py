"""
Published shapes with random weights, for benchmarks where no checkpoint is: `preset:qwen3-vl-8b`.

Every matrix has the published size, so time and memory are those of the real model; what it says means nothing. The
tokenizer is the built-in small one behind the full vocabulary. `preset:qwen3-vl-8b/12` keeps one layer of twelve in
encoder and decoder, for machines that cannot hold them all: a step then costs about a twelfth. Nothing is scaled, and
no preset is loaded, unless it is asked for by this name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from transformers import GenerationConfig

from streaming.errors import ModelError

from .base import Parts
from .patches import VisionShape
from .recipe import SPECIAL, small_tokenizer

PREFIX: Final = "preset:"
REMARK: Final = "random weights, every part works but what it says means nothing"
SEED: Final = 1
FORM = re.compile(r"preset:([a-z0-9.-]+?)(?:/([1-9][0-9]?))?")

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One published size, as its config.json tells it.

    full: encoder layers that are special, scaled down with the others: those whose features go to the decoder
    (Qwen3-VL), those that see whole pictures (Qwen2.5-VL).
    """

    model_type: str
    parameters: int
    tied: bool
    text: Mapping[str, Any] = field(repr=False)
    vision: Mapping[str, Any] = field(repr=False)
    special: str = field(repr=False)
    special_layers: tuple[int, ...] = field(repr=False)


def _qwen3(
    parameters: int,
    *,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    tied: bool,
    vision: str,
    special: tuple[int, ...],
) -> Shape:
    depth, width, wide = {"large": (24, 1024, 4096), "so400m": (27, 1152, 4304)}[vision]
    return Shape(
        "qwen3_vl",
        parameters,
        tied,
        text={
            "vocab_size": 151936,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 262144,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
        },
        vision={
            "depth": depth,
            "hidden_size": width,
            "intermediate_size": wide,
            "num_heads": 16,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": 2304,
        },
        special="deepstack_visual_indexes",
        special_layers=special,
    )


def _qwen25(
    parameters: int, *, hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tied: bool
) -> Shape:
    return Shape(
        "qwen2_5_vl",
        parameters,
        tied,
        text={
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 128000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "tokens_per_second": 2,
            "out_hidden_size": hidden,
        },
        special="fullatt_block_indexes",
        special_layers=(7, 15, 23, 31),
    )


SHAPES: Final[Mapping[str, Shape]] = {
    "qwen3-vl-2b": _qwen3(
        2_127_532_032, hidden=2048, inner=6144, layers=28, heads=16, tied=True, vision="large", special=(5, 11, 17)
    ),
    "qwen3-vl-4b": _qwen3(
        4_437_815_808, hidden=2560, inner=9728, layers=36, heads=32, tied=True, vision="large", special=(5, 11, 17)
    ),
    "qwen3-vl-8b": _qwen3(
        8_767_123_696, hidden=4096, inner=12288, layers=36, heads=32, tied=False, vision="so400m", special=(8, 16, 24)
    ),
    "qwen2.5-vl-3b": _qwen25(
        3_754_622_976, hidden=2048, inner=11008, layers=36, heads=16, kv_heads=2, vocabulary=151936, tied=True
    ),
    "qwen2.5-vl-7b": _qwen25(
        8_292_166_656, hidden=3584, inner=18944, layers=28, heads=28, kv_heads=4, vocabulary=152064, tied=False
    ),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A preset as it was asked for. divisor: one layer of so many is kept; 1 keeps all."""

    name: str
    shape: Shape = field(repr=False)
    divisor: int = 1

    @property
    def model_type(self) -> str:
        return self.shape.model_type


def read(name: str) -> Wanted:
    """What `preset:…` asks for. Raises: ModelError: no such preset."""
    found = FORM.fullmatch(name)
    shape = SHAPES.get(found[1]) if found else None
    if found is None or shape is None:
        known = ", ".join(PREFIX + known for known in SHAPES)
        raise ModelError(name, f"no such preset; there are {known}, each with /N behind it to keep one layer of N")
    return Wanted(name, shape, int(found[2] or 1))


def settings(wanted: Wanted, tokenizer: Any) -> dict[str, Any]:
    """The arguments of the family's transformers configuration."""
    shape, divisor = wanted.shape, wanted.divisor
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL}
    text, vision = dict(shape.text), dict(shape.vision)
    text["num_hidden_layers"] = max(1, text["num_hidden_layers"] // divisor)
    whole, vision["depth"] = vision["depth"], max(1, vision["depth"] // divisor)
    kept = {layer * vision["depth"] // whole for layer in shape.special_layers}
    vision[shape.special] = sorted(kept)[: text["num_hidden_layers"]]
    return {
        "text_config": text | {"pad_token_id": ids["<|endoftext|>"], "tie_word_embeddings": shape.tied},
        "vision_config": vision,
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": shape.tied,
    }


def parts(wanted: Wanted, kind: Any, *, device: torch.device, dtype: torch.dtype | None) -> Parts:
    """
    The preset's parts with random weights, drawn on the device; `dtype` None is bfloat16, as published.

    Allocates device memory, for the whole model. Raises: ModelError: it does not fit.
    """
    tokenizer = small_tokenizer()
    config = kind.config_class(**settings(wanted, tokenizer))
    seeded = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=seeded), device:
            torch.manual_seed(SEED)
            model = kind._from_config(config, dtype=dtype or torch.bfloat16)  # noqa: SLF001  # AutoModel's own way
    except torch.OutOfMemoryError as error:
        raise ModelError(wanted.name, "does not fit into the device's memory; a smaller preset, or /N, may") from error
    end, pad = (int(tokenizer.convert_tokens_to_ids(token)) for token in ("<|im_end|>", "<|endoftext|>"))
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=[end, pad], pad_token_id=pad)
    return Parts(
        wanted.name, model.eval().requires_grad_(False).to(device), tokenizer, _vision_shape(wanted.shape), device
    )


def _vision_shape(shape: Shape) -> VisionShape:
    patch_px, merge = int(shape.vision["patch_size"]), int(shape.vision["spatial_merge_size"])
    smallest, largest = (65_536, 16_777_216) if shape.model_type == "qwen3_vl" else (3_136, 12_845_056)
    norm = {} if shape.model_type == "qwen3_vl" else {"mean": CLIP_MEAN, "std": CLIP_STD}
    return VisionShape(patch_px, merge, int(shape.vision["temporal_patch_size"]), smallest, largest, **norm)
