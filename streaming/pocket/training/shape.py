"""The pocket model's shape: the Qwen3-VL architecture at four million parameters."""

from __future__ import annotations

from transformers import Qwen3VLConfig

from streaming.models.patches import VisionShape

PATCH_PX, MERGE = 8, 2
GRID = (6, 8)  # tokens of a picture of 128 x 96
CELLS = GRID[0] * GRID[1]
PIXELS = (GRID[0] * GRID[1] * (PATCH_PX * MERGE) ** 2,) * 2
MAX_POSITIONS = 16384

VISION = VisionShape(PATCH_PX, MERGE, 1, *PIXELS)


def config(*, vocabulary: int, ids: dict[str, int]) -> Qwen3VLConfig:
    """vocabulary: rows of the embedding. ids: token ids of the special tokens."""
    return Qwen3VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": MAX_POSITIONS,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e5, "mrope_section": [6, 5, 5]},
            "pad_token_id": ids["<|endoftext|>"],
            "dtype": "float32",
        },
        vision_config={
            "depth": 6,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_heads": 4,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "out_hidden_size": 192,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [3],
            "dtype": "float32",
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="float32",
    )
