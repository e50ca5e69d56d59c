"""JSON in the store: readable with any Redis client years later, and by the Lua functions."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import StoreError


def pack(value: object) -> bytes:
    return msgspec.json.encode(value)


def unpack(data: bytes | str) -> dict[str, Any]:
    """The map that `pack` wrote. Raises: StoreError: someone else wrote it."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StoreError(f"the store holds a value that is no map of vigild: {error}") from error
