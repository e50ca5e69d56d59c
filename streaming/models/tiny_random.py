"""
`tiny-random`: a Qwen3-VL checkpoint with random weights and a real tokenizer, made in code in a second.

It sees nothing and says nothing sensible, but it is a true checkpoint folder and goes through the loader and the code
path of the big ones, so that everything around a model can run on a machine without a network. Two things are arranged
so that a demo moves: equal pictures give equal tokens and different pictures different ones (the encoder is near to its
patch embedding), and the yes/no balance of a question follows the picture.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from .checkpoint import no_bars
from .recipe import SPECIAL, built_once, prefer_words, small_tokenizer, stir, write_preprocessor

NAME = "tiny-random"
REMARK = "random weights, every part works but what it says means nothing"
VERSION = 1  # raise it when the recipe changes: the folder carries it
SEED = 1

MIN_PIXELS, MAX_PIXELS = 64 * 64, 160 * 128
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


def folder(cache_dir: Path) -> Path:
    """The checkpoint's folder under `cache_dir`; built on the first call, which takes about a second."""
    return built_once(cache_dir / f"{NAME}-{VERSION}", build)


def build(path: Path, *, seed: int = SEED) -> None:
    """Write the checkpoint (config, weights, tokenizer, generation and preprocessor configs) into `path`."""
    tokenizer = small_tokenizer()
    model = _model(tokenizer, seed=seed)
    with no_bars():
        model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    write_preprocessor(path, patch_px=16, pixels=(MIN_PIXELS, MAX_PIXELS))


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
        stir(model, _GAINS, _BIASES)
        prefer_words(model.lm_head, tokenizer)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model.eval()
