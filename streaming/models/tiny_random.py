"""
`tiny-random`: a Qwen3-VL checkpoint with random weights and a real tokenizer, made in code in a second.

It sees nothing and says nothing sensible, but it is a true checkpoint folder and goes through the loader and the code
path of the big ones, so that everything around a model can run on a machine without a network. Two things are arranged
so that a demo moves: equal pictures give equal tokens and different pictures different ones (the encoder is near to its
patch embedding), and the yes/no balance of a question follows the picture.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from .checkpoint import no_bars

T = TypeVar("T")

NAME = "tiny-random"
VERSION = 1  # raise it when the recipe changes: the folder carries it
SEED = 1

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
MIN_PIXELS, MAX_PIXELS = 64 * 64, 160 * 128
VOCABULARY = 640
SPACE = "\u0120"  # how a byte-level tokenizer writes the blank in front of a word

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif 'text' in part %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

# How wide the weights are drawn, relative to 1/sqrt(fan in), by a part of their name; the first match counts. Narrow in
# the encoder's attention, so that a token stays with its cell; wide behind a threshold (_BIASES) in the mergers, so
# that unlike cells become unlike tokens; wide in the head, so that a picture shows in the answer. Found by trying.
_GAINS = {
    "visual.patch_embed": 4.0,
    "visual.pos_embed": 0.3,
    "attn.qkv": 0.5,
    "attn.proj": 0.1,
    "visual.blocks": 3.0,
    "merger.linear_fc2": 12.0,
    "merger": 4.0,
    "embed_tokens": 0.3,
    "lm_head": 3.0,
    "self_attn.o_proj": 4.0,
    "self_attn": 2.0,
}
_BIASES = {  # mean, standard deviation
    "visual.patch_embed": (0.0, 1.0),
    "merger.linear_fc1": (-9.0, 0.3),
    "merger_list.0.linear_fc1": (-9.0, 0.3),
}

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


def folder(cache_dir: Path) -> Path:
    """The checkpoint's folder under `cache_dir`; built on the first call, which takes about a second."""
    path = cache_dir / f"{NAME}-{VERSION}"
    if path.is_dir():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=cache_dir))
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


def build(path: Path, *, seed: int = SEED) -> None:
    """Write the checkpoint (config, weights, tokenizer, generation and preprocessor configs) into `path`."""
    tokenizer = _tokenizer()
    model = _model(tokenizer, seed=seed)
    with no_bars():
        model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", encoding="utf-8")


def _tokenizer() -> Qwen2Tokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(_TEXT.splitlines(), trainer=trainer)
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


def _model(tokenizer: Qwen2Tokenizer, *, seed: int) -> Qwen3VLForConditionalGeneration:
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [6, 5, 5]},
            "pad_token_id": ids["<|endoftext|>"],
            "dtype": "float32",
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 96,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0],
            "dtype": "float32",
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config)
        _stir(model)
        _prefer_words(model, tokenizer)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model.eval()


@torch.no_grad()
def _stir(model: Qwen3VLForConditionalGeneration) -> None:
    """Draw the weights wide enough that a picture shows in the answer; mutates `model`."""
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0.0, _match(_GAINS, name, 1.0) / weight[0].numel() ** 0.5)
        elif name.endswith("bias"):
            weight.normal_(*_match(_BIASES, name, (0.0, 0.0)))


@torch.no_grad()
def _prefer_words(model: Qwen3VLForConditionalGeneration, tokenizer: Qwen2Tokenizer) -> None:
    """Make answers a salad of words: word pieces and bytes are unlikely, special tokens never come; mutates `model`."""
    likely = torch.zeros(model.lm_head.weight.shape[0], 1)
    for token, number in tokenizer.get_vocab().items():
        word = token.lower().removeprefix(SPACE) in ("yes", "no") or re.fullmatch(f"{SPACE}[a-z]{{3,}}", token)
        likely[number] = 1.0 if word else 0.0 if token in SPECIAL else 0.3
    model.lm_head.weight.mul_(likely)


def _match(table: Mapping[str, T], name: str, default: T) -> T:
    return next((value for part, value in table.items() if part in name), default)
