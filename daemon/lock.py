"""One daemon per data directory: a lock that the kernel lets go when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import AlreadyRunning, DataDirUnusable

LOCK: Final = "vigild.lock"


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """
    Hold `data_dir`, creating it when it is missing.

    Child processes do not inherit the lock. The file stays: to unlink it would let two daemons hold two files.
    Raises: AlreadyRunning: another process holds it. DataDirUnusable.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirUnusable(data_dir, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _written(descriptor)
            whose = f"process {pid}" if pid else "another process"
            raise AlreadyRunning(
                f"vigild runs already on {data_dir} ({whose}); stop it, or choose another data directory", pid
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _written(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
