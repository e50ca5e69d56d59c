"""The tiny model, once a session: as the engine sees it, and as transformers made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from streaming import models
from streaming.models import VisionLanguageModel, tiny_random
from streaming.models.checkpoint import no_bars


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_random.folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> VisionLanguageModel:
    return models.load(tiny_random.NAME, cache_dir=tiny_folder.parent)


@pytest.fixture(scope="session")
def stock(tiny_folder: Path) -> Any:
    """The same weights in the stock class with stock attention and cache."""
    with no_bars():
        return Qwen3VLForConditionalGeneration.from_pretrained(tiny_folder, attn_implementation="sdpa").eval()
