"""
What stops the daemon or one of its processes; each says in one sentence what is wrong and what to do.

    DaemonError
     ├── AlreadyRunning   another daemon owns the data directory
     ├── ChildFailed      a child process cannot start, however often it is tried
     └── StoreError       see store/errors.py

`exit_status` is what a process that ends with this error returns to its parent. The supervisor restarts a child that
ended with any status but EXIT_CONFIGURATION: that one says "the same again tomorrow" and is not tried twice.
"""

from __future__ import annotations

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


class ChildFailed(DaemonError):
    """The child process `child` cannot be started; `status` is its last exit status, None when it never ended."""

    def __init__(self, message: str, child: str, status: int | None) -> None:
        super().__init__(message)
        self.child = child
        self.status = status
        if status == EXIT_CONFIGURATION:
            self.exit_status = EXIT_CONFIGURATION
