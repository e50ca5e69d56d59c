"""
`tiny-random-2.5`: the like of `tiny-random` in the Qwen2.5-VL family, with windows, time ids and all.

Its pictures are 7 x 4 tokens at most, of 28 px, and its windows 2 x 2 tokens, so that small pictures fill several.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from .checkpoint import no_bars
from .recipe import SPECIAL, built_once, prefer_words, small_tokenizer, stir, write_preprocessor

NAME = "tiny-random-2.5"
REMARK = "random weights, every part works but what it says means nothing"
VERSION = 1  # raise it when the recipe changes: the folder carries it
SEED = 1

MIN_PIXELS, MAX_PIXELS = 56 * 56, 196 * 112

# As for `tiny-random`: narrow in the encoder's attention, wide behind a threshold in the merger. Found by trying.
_GAINS = {
    "visual.patch_embed": 4.0,
    "attn.qkv": 0.5,
    "attn.proj": 0.1,
    "visual.blocks": 0.5,
    "merger.mlp.2": 12.0,
    "merger": 2.0,
    "embed_tokens": 0.3,
    "lm_head": 3.0,
    "self_attn.o_proj": 4.0,
    "self_attn": 1.0,
}
_BIASES = {  # mean, standard deviation
    "merger.mlp.0": (-3.0, 0.3),
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
    write_preprocessor(path, patch_px=14, pixels=(MIN_PIXELS, MAX_PIXELS))


def _model(tokenizer: Qwen2Tokenizer, *, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": 128,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [6, 5, 5]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "dtype": "float32",
        },
        vision_config={
            "depth": 3,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
            "out_hidden_size": 128,
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
        model = Qwen2_5_VLForConditionalGeneration(config)
        stir(model, _GAINS, _BIASES)
        prefer_words(model.lm_head, tokenizer)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model.eval()
