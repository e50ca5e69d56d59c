"""
Model families, found by module: `load` takes a name, a hub id or a folder and hands back a ready model.

A module that names a class as `FAMILY` serves the checkpoints of that class's `model_type`; a module with `folder` and
`NAME` has a checkpoint of that name, shipped or made in code, and says in `REMARK` what not to trust it with. Names
that begin with `preset:` are shapes with random weights.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import cast

import torch

from streaming.errors import ModelError

from . import checkpoint, presets
from .base import Parts, VisionLanguageModel
from .checkpoint import Progress
from .presets import PREFIX as PRESET

_Found = tuple[type[VisionLanguageModel], Callable[[], Parts]]  # a family, and what loads its parts

__all__ = ["PRESET", "Progress", "VisionLanguageModel", "built_in", "families", "load", "remark", "stock"]


def load(
    name: str,
    *,
    device: str = "cpu",
    dtype: torch.dtype | str | None = None,
    cache_dir: Path,
    progress: Progress | None = None,
) -> VisionLanguageModel:
    """
    A model ready to run on `device`.

    Args:
        name: "pocket", "tiny-random" and their like, a checkpoint folder, a hub id (downloaded into `cache_dir`), or
            "preset:qwen3-vl-8b" and its like: random weights of a published shape, for benchmarks.
        dtype: as torch names it ("bfloat16"); None keeps the checkpoint's own.
        progress: called with a phrase and the share done, from this thread or a download thread.
    Blocks. Raises: ModelError: missing, half downloaded, unsupported, or no such device.
    """
    family, load_parts = _found(name, device=device, dtype=dtype, cache_dir=cache_dir, progress=progress)
    if progress is not None:
        progress(f"loading {name}", 0.0)
    try:
        model = family(load_parts())
    except ValueError as error:
        raise ModelError(name, f"cannot be used ({error})") from error
    if progress is not None:
        progress(f"loading {name}", 1.0)
    return model


def stock(name: str, *, device: str = "cpu", dtype: torch.dtype | str | None = None, cache_dir: Path) -> Parts:
    """
    The same weights a second time, in the unmodified transformers class with its own attention: to compare with.

    Blocks. Raises: ModelError, as `load`.
    """
    _, load_parts = _found(name, device=device, dtype=dtype, cache_dir=cache_dir, progress=None)
    return load_parts()


@cache
def families() -> dict[str, type[VisionLanguageModel]]:
    """The supported families by the `model_type` of their checkpoints."""
    found = (cast("type[VisionLanguageModel]", m.FAMILY) for m in _modules() if hasattr(m, "FAMILY"))
    return {family.model_type: family for family in found}


def remark(name: str) -> str:
    """What to know before one trusts an answer of this model; "" where vigild knows nothing against it."""
    if name.startswith(PRESET):
        return presets.REMARK
    found = built_in().get(name)
    return "" if found is None else str(found.REMARK)


@cache
def built_in() -> dict[str, ModuleType]:
    """The modules that have a checkpoint, by its name."""
    return {module.NAME: module for module in _modules() if hasattr(module, "folder") and hasattr(module, "NAME")}


def _found(
    name: str, *, device: str, dtype: torch.dtype | str | None, cache_dir: Path, progress: Progress | None
) -> _Found:
    target = _device(name, device)
    wanted = _dtype(name, dtype)
    if name.startswith(PRESET):
        return _preset(name, device=target, dtype=wanted)
    return _checkpoint(name, device=target, dtype=wanted, cache_dir=cache_dir, progress=progress)


def _preset(name: str, *, device: torch.device, dtype: torch.dtype | None) -> _Found:
    wanted = presets.read(name)
    family = families()[wanted.model_type]
    return family, lambda: presets.parts(wanted, family.architecture, device=device, dtype=dtype)


def _checkpoint(
    name: str, *, device: torch.device, dtype: torch.dtype | None, cache_dir: Path, progress: Progress | None
) -> _Found:
    made = built_in().get(name)
    folder = made.folder(cache_dir) if made else checkpoint.find(name, cache_dir=cache_dir, progress=progress)
    config = checkpoint.read_config(folder, name=name)
    family = families().get(str(config.get("model_type")))
    if family is None:
        known = ", ".join(sorted(families()))
        raise ModelError(name, f"family '{config.get('model_type')}' is not supported; supported: {known}")
    checkpoint.verify(folder, name=name)
    return family, lambda: checkpoint.load_parts(family.architecture, folder, name=name, device=device, dtype=dtype)


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def _dtype(name: str, dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(name, f"'{dtype}' is no floating-point type; use float32, bfloat16 or float16")
    return found


def _device(name: str, device: str) -> torch.device:
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:  # torch raises either for a device that is not there
        sentence = str(error).strip().splitlines()[0]
        raise ModelError(name, f"device '{device}' cannot be used ({sentence})") from error
    return target
