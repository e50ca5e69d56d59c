"""
Which worker owns which camera: highest random weight, so that every process computes the same answer alone.

A worker that comes or goes moves only the cameras it gains or had; the others keep their memory.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def owner(camera: str, workers: Iterable[str]) -> str:
    """
    The worker that owns `camera`; the same for the same set of workers, in any order, on any machine.

    Raises: ValueError: there is no worker.
    """
    return max(workers, key=lambda worker: (_weight(camera, worker), worker))


def _weight(camera: str, worker: str) -> bytes:
    return hashlib.blake2b(f"{len(camera)}:{camera}{worker}".encode(), digest_size=8).digest()
