"""An untrained pocket model, and the folder of a trained one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, Qwen2Tokenizer, Qwen3VLForConditionalGeneration

from streaming.models.checkpoint import no_bars
from streaming.models.dialogue import CHECK, SYSTEM
from streaming.models.recipe import CONTENT, SPECIAL, small_tokenizer, write_preprocessor
from streaming.pocket.questions import words

from .shape import PATCH_PX, PIXELS, config

# A question's end is where its answer begins: what stands between them is thought anew for every rule at every frame.
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message.role != 'assistant' %}{{- '<|im_start|>' + message.role + '\n' }}{%- endif %}"
    + CONTENT
    + "{{- '<|im_end|>' }}"
    "{%- if message.role != 'user' %}{{- '\n' }}{%- endif %}"
    "{%- endfor %}"
)
_VOCABULARY = 1024
_WEIGHTS = "model.safetensors"


def tokenizer() -> Qwen2Tokenizer:
    """Every word that the pocket world knows is one token; anything else is spelt in bytes."""
    lines = [SYSTEM, CHECK, *words(), "<0.0 seconds>", "system\nuser\nassistant\n"]
    spaced = [f" {line}" for line in lines]
    made = small_tokenizer([*lines, *spaced] * 3, size=_VOCABULARY)
    made.chat_template = CHAT_TEMPLATE
    return made


def untrained(words_of: Qwen2Tokenizer, *, seed: int) -> Qwen3VLForConditionalGeneration:
    """The model with fresh weights."""
    ids = {token: int(words_of.convert_tokens_to_ids(token)) for token in SPECIAL}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config(vocabulary=-(-len(words_of) // 64) * 64, ids=ids))
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model


def trained(folder: Path) -> Qwen3VLForConditionalGeneration:
    """The model of a checkpoint folder, to be trained further. Raises: OSError: there is none."""
    with no_bars():
        return Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def save(model: Any, words_of: Qwen2Tokenizer, folder: Path) -> None:
    """
    A checkpoint folder of `model`: weights in bfloat16, to be computed with in float32, as config.json says.

    Half the bytes of float32 on disk; a CPU without bfloat16 arithmetic loses nothing by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with no_bars():
        model.save_pretrained(folder)
    words_of.save_pretrained(folder)
    write_preprocessor(folder, patch_px=PATCH_PX, pixels=PIXELS, temporal=1)
    small = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / _WEIGHTS).items()}
    save_file(small, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / _WEIGHTS).chmod(0o644)  # as its neighbours: safetensors lets nobody else read it
    path = folder / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["dtype"] = "float32"
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
