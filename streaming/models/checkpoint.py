"""
From a name to a complete checkpoint folder, and from the folder to its parts; every failure is one ModelError.

Only safetensors are read and no code of a checkpoint is ever run.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.utils import tqdm as hub_tqdm
from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from streaming.errors import ModelError

from .base import Parts
from .patches import VisionShape

Progress = Callable[[str, float], None]  # what is being done, share done in 0..1

FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


def find(name: str, *, cache_dir: Path, progress: Progress | None) -> Path:
    """
    The folder of `name`: a folder as it is, a hub id downloaded into `cache_dir` (or found there when offline).

    Blocks while downloading. Raises: ModelError.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        return local
    if local.exists():
        raise ModelError(name, "this is a file; name the checkpoint's folder")
    if not HUB_ID.fullmatch(name):
        raise ModelError(name, "no such folder, and not a hub id of the form owner/name")
    try:
        return Path(
            snapshot_download(name, cache_dir=cache_dir, allow_patterns=list(FILES), tqdm_class=_bar(name, progress))
        )
    except (OSError, ValueError) as error:  # hub errors are OSErrors: not found, gated, offline, incomplete, disk full
        sentence = str(error).strip().split("\n")[0]
        raise ModelError(name, f"could not be fetched from the hub ({type(error).__name__}: {sentence})") from error


def read_config(folder: Path, *, name: str) -> dict[str, Any]:
    """config.json of the checkpoint. Raises: ModelError."""
    config = _json(folder / "config.json", name=name)
    if config is None:
        raise ModelError(
            name, f"no config.json in {folder}; this is no checkpoint folder, or the download is incomplete"
        )
    return config


def verify(folder: Path, *, name: str) -> None:
    """Prove that every weight file is there and whole, without reading the weights. Raises: ModelError."""
    index = _json(folder / INDEX, name=name)
    if index is not None:
        files = sorted(set(index.get("weight_map", {}).values()))
    elif (folder / SINGLE).is_file():
        files = [SINGLE]
    elif any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise ModelError(name, "its weights are pickles; only safetensors are read")
    else:
        raise ModelError(name, f"no {SINGLE} in {folder}; the download is incomplete")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise ModelError(name, f"{len(missing)} of {len(files)} weight files are missing; the download is incomplete")
    for file in files:
        try:
            with safe_open(folder / file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(name, f"{file} is damaged or half downloaded ({error}); fetch it again") from error


def load_parts(kind: Any, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype | None) -> Parts:
    """
    All parts of a complete checkpoint folder; `kind` is its transformers class, `dtype` None as the checkpoint says.

    Allocates device memory. Raises: ModelError: damaged, or something is missing.
    """
    tokenizer = load_tokenizer(folder, name=name)
    model = load_weights(kind, folder, name=name, device=device, dtype=dtype)
    vision = model.config.vision_config
    shape = read_vision_shape(
        folder,
        name=name,
        patch_px=int(vision.patch_size),
        merge=int(vision.spatial_merge_size),
        temporal=int(vision.temporal_patch_size),
    )
    return Parts(name, model, tokenizer, shape, device)


def load_tokenizer(folder: Path, *, name: str) -> Any:
    """The checkpoint's tokenizer. Raises: ModelError."""
    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
        raise ModelError(name, f"no tokenizer in {folder}; the download is incomplete")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(name, f"its tokenizer cannot be read ({error})") from error


def load_weights(kind: Any, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype | None) -> Any:
    """
    The model of class `kind`, in evaluation mode on `device`; `dtype` None = as the checkpoint says.

    Allocates device memory. Raises: ModelError: damaged, or weights are missing.
    """
    try:
        with no_bars():
            model, info = kind.from_pretrained(
                folder,
                dtype=dtype or "auto",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(name, f"cannot be loaded ({str(error).strip().splitlines()[0]})") from error
    if info["missing_keys"] or info["mismatched_keys"]:
        count = len(info["missing_keys"]) + len(info["mismatched_keys"])
        raise ModelError(name, f"{count} weights are missing or of another shape; the download is incomplete")
    return model.eval().requires_grad_(False).to(device)


def read_vision_shape(folder: Path, *, name: str, patch_px: int, merge: int, temporal: int) -> VisionShape:
    """The picture bounds and normalisation of the checkpoint's preprocessor_config.json. Raises: ModelError."""
    config = _json(folder / "preprocessor_config.json", name=name)
    if config is None:
        raise ModelError(name, f"no preprocessor_config.json in {folder}; the download is incomplete")
    size = config.get("size") or {}
    smallest = size.get("shortest_edge") or config.get("min_pixels") or (patch_px * merge) ** 2
    largest = size.get("longest_edge") or config.get("max_pixels") or (patch_px * merge) ** 2 * 1280
    return VisionShape(
        patch_px=patch_px,
        merge=merge,
        temporal=temporal,
        min_pixels=int(smallest),
        max_pixels=int(largest),
        mean=tuple(config.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(config.get("image_std") or (0.5, 0.5, 0.5)),
    )


def eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer: the generation config's and the tokenizer's."""
    eos = model.generation_config.eos_token_id
    ids = [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(ids))


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars of its own meanwhile."""
    drawn = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            transformers_logging.enable_progress_bar()


def _json(path: Path, *, name: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(name, f"{path.name} cannot be read ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise ModelError(name, f"{path.name} is not a map; fetch it again")
    return content


def _bar(name: str, progress: Progress | None) -> type[Any]:
    """The hub's progress bar class, mute, reporting bytes to `progress`."""

    class Bar(hub_tqdm):  # type: ignore[misc]  # untyped
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": progress is None, "file": _Nowhere()})

        def display(self, *_args: Any, **_kwargs: Any) -> None:
            if progress is not None and self.unit == "B" and self.total:
                progress(f"downloading {name}", min(1.0, self.n / self.total))

    return Bar


class _Nowhere:
    """A text stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
