"""The model that ships: found where it was installed, whole, or said to be missing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streaming import models
from streaming.errors import ModelError
from streaming.models import pocket

MAX_BYTES = 16 * 2**20


def test_it_is_found_by_its_name_and_not_copied(tmp_path: Path) -> None:
    assert models.built_in()[pocket.NAME] is pocket
    assert pocket.folder(tmp_path) == pocket.CHECKPOINT
    assert not list(tmp_path.iterdir())


def test_it_is_small_loads_quickly_and_comes_with_its_card(tmp_path: Path) -> None:
    """At most 16 MiB in the wheel, ready in less than 2 s of CPU time, and a card that says what it can."""
    folder = pocket.folder(tmp_path)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MAX_BYTES
    assert (folder / "README.md").read_text(encoding="utf-8").strip()
    began = time.process_time()
    model = models.load(pocket.NAME, cache_dir=tmp_path)
    assert time.process_time() - began < 2.0
    assert model.model_type == "qwen3_vl"


def test_an_installation_without_it_says_what_is_missing(tmp_path: Path) -> None:
    """The files by name, and what to do."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"lacks model\.safetensors, preprocessor_config\.json, tokenizer\.json in"):
        pocket.installed(tmp_path)
    for name in pocket.FILES:
        (tmp_path / name).touch()
    assert pocket.installed(tmp_path) == tmp_path
