"""A model that encodes a picture once, however many ways of remembering it are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

from streaming.models import VisionLanguageModel
from streaming.models.base import Encoded
from streaming.models.canvas import Canvas
from streaming.models.patches import PatchGrid


class EncodedOnce:
    """
    The model itself, but that equal patches come back from memory: to an engine nothing else is different.

    Holds what it encoded, on the device, until `forget`.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._known: dict[bytes, Encoded] = {}

    @classmethod
    def of(cls, model: VisionLanguageModel) -> tuple[VisionLanguageModel, EncodedOnce]:
        """The model for engines, and the same object to make it forget."""
        held = cls(model)
        return cast("VisionLanguageModel", held), held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas] = ()) -> list[Encoded]:
        """All that are new in one call; with canvases, what comes out depends on them and is computed."""
        if canvases:
            return self._model.encode(grids, canvases)
        keys = [_key(grid) for grid in grids]
        new = {key: grid for key, grid in zip(keys, grids, strict=True) if key not in self._known}
        if new:
            self._known |= zip(new, self._model.encode(list(new.values())), strict=True)
        return [self._known[key] for key in keys]

    def forget(self) -> None:
        self._known.clear()


def _key(grid: PatchGrid) -> bytes:
    return hashlib.blake2b(grid.patches.tobytes(), digest_size=16, salt=b"%d,%d" % grid.hw).digest()
