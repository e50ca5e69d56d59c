"""Evidence: the pictures and clips behind events, as files, kept within a size and an age."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"e_[A-Za-z0-9_-]{1,64}\.(?:jpg|mp4)")
UNFINISHED: Final = ".unfinished-"
UNFINISHED_MAX_AGE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep removed, and what is left."""

    removed: int
    removed_bytes: int
    left: int
    left_bytes: int


class Evidence:
    """
    A folder of files named like `e_….jpg`, written by workers and read by gateways. Blocking: call it in a thread.

    Between sweeps the folder may grow past max_bytes only by what other processes save meanwhile: a save that would
    cross the bound sweeps first.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, max_age_s: float, now_s: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._now_s = now_s
        self._bytes: int | None = None  # what the folder holds, as far as this process knows

    def save(self, name: str, data: bytes) -> Path:
        """
        Store a file whole or not at all; one of the same name is replaced.

        Raises: ValueError: not a name of evidence. OSError: the disk does not take it.
        """
        path = self._folder / _checked(name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._bytes is None or self._bytes + len(data) > self._max_bytes:
            self.sweep(room_for=len(data))
        unfinished = self._folder / f"{UNFINISHED}{secrets.token_hex(8)}"
        try:
            with unfinished.open("xb") as file:
                file.write(data)
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        self._bytes = (self._bytes or 0) + len(data)
        return path

    def path(self, name: str) -> Path | None:
        """The file of that name; None when there is none, or the name is none of ours. Follows no link."""
        if not NAME.fullmatch(name):
            return None
        path = self._folder / name
        return path if path.is_file() and not path.is_symlink() else None

    def sweep(self, room_for: int = 0) -> Swept:
        """Remove what is too old, then the oldest until `room_for` more bytes fit, and what a crash left unfinished."""
        now_s = self._now_s()
        kept: list[tuple[float, int, Path]] = []
        removed = removed_bytes = 0
        for path, stat in _files(self._folder):
            age_s = now_s - stat.st_mtime
            unfinished = path.name.startswith(UNFINISHED)
            if age_s > (UNFINISHED_MAX_AGE_S if unfinished else self._max_age_s):
                path.unlink(missing_ok=True)
                removed += 1
                removed_bytes += stat.st_size
            elif NAME.fullmatch(path.name):
                kept.append((stat.st_mtime, stat.st_size, path))
        kept.sort(key=lambda file: (file[0], file[2].name))
        held = sum(size for _, size, _ in kept)
        oldest = 0
        while held + room_for > self._max_bytes and oldest < len(kept):
            _, size, path = kept[oldest]
            path.unlink(missing_ok=True)
            held -= size
            removed += 1
            removed_bytes += size
            oldest += 1
        self._bytes = held
        return Swept(removed, removed_bytes, len(kept) - oldest, held)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of evidence; it must be like e_1a2b.jpg or e_1a2b.mp4")
    return name


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The plain files of a folder; one that another process removes meanwhile is left out."""
    found = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return found
