"""What checkpoints made in code share: a tokenizer, how weights are drawn, a folder that is whole or not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

T = TypeVar("T")

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 640
SPACE = "\u0120"  # how a byte-level tokenizer writes the blank in front of a word

CONTENT = (  # of a message, in a chat template
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif 'text' in part %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}" + CONTENT + "{{- '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

_TEXT = """
Yes. No. yes no. Yes, a person is at the door. No, the yard is empty. The lamp is on. The lamp is off now.
Is a person at the door? Is there a car in the road? How many people are there? What colour is the car?
A red car is parked beside the door. A blue car drives left. The white van leaves. A dog runs across the yard.
Where is the dog? What did just change? A person walks to the right and takes a bag. Nobody is there.
You watch a live camera. The video is given frame by frame with the time in seconds. Answer in a few words.
system user assistant seconds frame picture camera watch answer question look at the most recent frame
one two three four five six seven eight nine ten green yellow black grey orange brown small large bicycle truck
It is night. It is day. Rain falls. The road is free. The gate opens. The gate closes. A box lies on the ground.
"""


def built_once(path: Path, build: Callable[[Path], None]) -> Path:
    """`path`, filled by `build` on the first call; a reader never sees it half full. Raises: OSError."""
    cache_dir = path.parent
    if path.is_dir():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=cache_dir))
    try:
        build(building)
        building.chmod(0o755)
        os.rename(building, path)  # noqa: PTH104  # atomic; a second process that was faster leaves a full folder
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return path


def write_preprocessor(path: Path, *, patch_px: int, pixels: tuple[int, int], temporal: int = 2) -> None:
    """preprocessor_config.json, with the least and the largest area of a picture."""
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": pixels[0], "longest_edge": pixels[1]},
        "patch_size": patch_px,
        "temporal_patch_size": temporal,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", encoding="utf-8")


def small_tokenizer(text: Sequence[str] = tuple(_TEXT.splitlines()), *, size: int = VOCABULARY) -> Qwen2Tokenizer:
    """A byte-level tokenizer with Qwen's special tokens and chat template: at most `size` tokens learnt on `text`."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(text, trainer=trainer)
    learned: dict[str, Any] = json.loads(raw.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        additional_special_tokens=list(SPECIAL[1:]),
        eos_token="<|im_end|>",  # noqa: S106  # a token of text, not of access
        pad_token="<|endoftext|>",  # noqa: S106
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def stir(model: torch.nn.Module, gains: Mapping[str, float], biases: Mapping[str, tuple[float, float]]) -> None:
    """
    Draw the weights anew; mutates `model`.

    gains: how wide, relative to 1/sqrt(fan in), by a part of the name; the first match counts, else 1. biases: mean and
    standard deviation likewise, else 0.
    """
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0.0, _match(gains, name, 1.0) / weight[0].numel() ** 0.5)
        elif name.endswith("bias"):
            weight.normal_(*_match(biases, name, (0.0, 0.0)))


@torch.no_grad()
def prefer_words(head: torch.nn.Linear, tokenizer: Qwen2Tokenizer) -> None:
    """Make answers a salad of words: word pieces and bytes are unlikely, special tokens never come; mutates `head`."""
    likely = torch.zeros(head.weight.shape[0], 1)
    for token, number in tokenizer.get_vocab().items():
        word = token.lower().removeprefix(SPACE) in ("yes", "no") or re.fullmatch(f"{SPACE}[a-z]{{3,}}", token)
        likely[number] = 1.0 if word else 0.0 if token in SPECIAL else 0.3
    head.weight.mul_(likely)


def _match(table: Mapping[str, T], name: str, default: T) -> T:
    return next((value for part, value in table.items() if part in name), default)
