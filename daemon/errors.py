"""
What stops the daemon or one of its processes; each says in one sentence what is wrong and what to do.

    DaemonError
     ├── AlreadyRunning   another daemon owns the data directory
     ├── DataDirUnusable  the data directory cannot be made or written
     ├── ChildFailed      a child process cannot start, however often it is tried
     └── StoreError       see store/errors.py

`exit_status` is what a process that ends with this error returns to its parent. The supervisor restarts a child that
ended with any status but EXIT_CONFIGURATION: that one says "the same again tomorrow" and is not tried twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

EXIT_FAILURE: Final = 1
EXIT_ALREADY_RUNNING: Final = 75  # sysexits.h: EX_TEMPFAIL
EXIT_CONFIGURATION: Final = 78  # sysexits.h: EX_CONFIG


class DaemonError(Exception):
    """A failure of the daemon itself, told in one sentence."""

    exit_status: int = EXIT_FAILURE


class AlreadyRunning(DaemonError):
    """Another daemon holds the data directory; `pid` is its supervisor, None when it did not say."""

    exit_status = EXIT_ALREADY_RUNNING

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class DataDirUnusable(DaemonError):
    """The data directory cannot be made or written; trying the same again won't help."""

    exit_status = EXIT_CONFIGURATION

    def __init__(self, data_dir: Path, error: OSError) -> None:
        why = (error.strerror or str(error)).lower()
        where = error.filename or data_dir
        super().__init__(
            f"the data directory {data_dir} cannot be used ({where}: {why}); make it writable, or choose another"
        )


def first_of(group: BaseExceptionGroup[BaseException]) -> DaemonError | None:
    """The first DaemonError of what ended a task group; None when something else, a defect of ours, is in it too."""
    failures, rest = group.split(DaemonError)
    if failures is None or rest is not None:
        return None
    first = failures.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


class ChildFailed(DaemonError):
    """The child process `child` cannot be started; `status` is its last exit status, None when it never ended."""

    def __init__(self, message: str, child: str, status: int | None) -> None:
        super().__init__(message)
        self.child = child
        self.status = status
        if status == EXIT_CONFIGURATION:
            self.exit_status = EXIT_CONFIGURATION
