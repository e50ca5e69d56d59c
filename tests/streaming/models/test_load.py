"""Every way in which a checkpoint can be wrong is one ModelError with one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from streaming import models
from streaming.errors import ModelError


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "checkpoint"))


def refused(name: str | Path, tmp_path: Path, **options: str) -> str:
    with pytest.raises(ModelError) as caught:
        models.load(str(name), cache_dir=tmp_path / "cache", **options)  # type: ignore[arg-type]
    assert caught.value.model == str(name)
    sentence = caught.value.reason
    assert "\n" not in sentence
    return sentence


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_loads_like_the_built_in_name(copy: Path, tmp_path: Path) -> None:
    """Same path, same weights; progress is told."""
    told: list[tuple[str, float]] = []
    model = models.load(str(copy), cache_dir=tmp_path, progress=lambda what, share: told.append((what, share)))
    assert model.model_type == "qwen3_vl"
    assert model.kv.device == torch.device("cpu")
    assert told == [(f"loading {copy}", 0.0), (f"loading {copy}", 1.0)]


def test_a_type_can_be_asked_for_by_name(copy: Path, tmp_path: Path) -> None:
    assert models.load(str(copy), cache_dir=tmp_path, dtype="bfloat16").kv.dtype is torch.bfloat16


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere", tmp_path)


def test_a_name_that_is_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    assert "no such folder, and not a hub id of the form owner/name" in refused("just-a-name", tmp_path)


def test_a_file_instead_of_a_folder(copy: Path, tmp_path: Path) -> None:
    assert "name the checkpoint's folder" in refused(copy / "config.json", tmp_path)


def test_a_hub_id_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline and not in the cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "could not be fetched from the hub" in refused("vigild/no-such-model", tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refused(tmp_path / "empty", tmp_path)


def test_an_unsupported_family_names_the_supported(copy: Path, tmp_path: Path) -> None:
    edit(copy / "config.json", model_type="llama")
    assert refused(copy, tmp_path) == "family 'llama' is not supported; supported: qwen2_5_vl, qwen3_vl"


def test_a_config_that_is_no_json(copy: Path, tmp_path: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "config.json cannot be read" in refused(copy, tmp_path)


def test_half_downloaded_weights(copy: Path, tmp_path: Path) -> None:
    """Cut in the middle."""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "model.safetensors is damaged or half downloaded" in refused(copy, tmp_path)


def test_no_weights(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(copy, tmp_path)


def test_a_missing_shard(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "1 of 2 weight files are missing" in refused(copy, tmp_path)


def test_pickles_are_not_read(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "only safetensors are read" in refused(copy, tmp_path)


def test_a_missing_tensor(copy: Path, tmp_path: Path) -> None:
    """transformers would fill it with noise and go on."""
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.language_model.norm.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert "1 weights are missing" in refused(copy, tmp_path)


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json"])
def test_a_missing_part(copy: Path, tmp_path: Path, file: str) -> None:
    (copy / file).unlink()
    assert "the download is incomplete" in refused(copy, tmp_path)


def test_a_tokenizer_that_is_no_json(copy: Path, tmp_path: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    assert "tokenizer cannot be read" in refused(copy, tmp_path)


def test_a_tokenizer_without_a_chat_template(copy: Path, tmp_path: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    assert "no chat template" in refused(copy, tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
        ({"dtype": "int8"}, "'int8' is no floating-point type"),
        ({"dtype": "nonsense"}, "'nonsense' is no floating-point type"),
    ],
)
def test_a_device_or_type_that_is_not_there(copy: Path, tmp_path: Path, options: dict[str, str], sentence: str) -> None:
    assert sentence in refused(copy, tmp_path, **options)
