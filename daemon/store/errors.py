"""
What the store can answer instead of doing what was asked.

    StoreError (a DaemonError)
     ├── StoreUnavailable      not there right now: try again
     │    └── StoreRefused     it will not be there by waiting: wrong URL, password or permission, a cluster node
     ├── StoreFull             no room for a write; reads, removals and trimming still work
     ├── StoreReadOnly         the server is a replica
     ├── StoreTooOld           the server is older than Redis 7
     ├── StoreReset            the server has forgotten what it had acknowledged: another, or an emptied, database
     ├── Fenced                the lease is over: another worker owns the camera, or the camera is gone
     ├── NotFound              no such camera, rule or ask
     ├── Exists                the id is taken
     └── LimitReached          a configured bound

`retry` says whether the same call may succeed later. Messages hold no credentials.
"""

from __future__ import annotations

from typing import ClassVar

from daemon.errors import EXIT_CONFIGURATION, DaemonError


class StoreError(DaemonError):
    """The store did not do it."""

    retry: ClassVar[bool] = False


class StoreUnavailable(StoreError):
    """The store cannot be reached, or did not answer in time."""

    retry = True


class StoreRefused(StoreUnavailable):
    """The store can be reached at no time with this URL."""

    retry = False
    exit_status = EXIT_CONFIGURATION


class StoreFull(StoreError):
    """The store has no room for this write."""

    retry = True


class StoreReadOnly(StoreError):
    """The server takes no writes."""

    exit_status = EXIT_CONFIGURATION


class StoreTooOld(StoreError):
    """The server lacks what vigild needs."""

    exit_status = EXIT_CONFIGURATION


class StoreReset(StoreError):
    """The store has forgotten acknowledged events or changes."""


class Fenced(StoreError):
    """The lease on `camera` is over; `epoch` is the one that holds now."""

    def __init__(self, camera: str, epoch: int) -> None:
        super().__init__(f"the lease on camera '{camera}' is over; epoch {epoch} holds now")
        self.camera = camera
        self.epoch = epoch


class NotFound(StoreError):
    """There is no `kind` ("camera", "rule", "ask") of this id."""

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002  the word of the wire
        super().__init__(f"no {kind} '{id}'")
        self.kind = kind
        self.id = id


class Exists(StoreError):
    """There is a `kind` of this id already."""

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002  the word of the wire
        super().__init__(f"{kind} '{id}' exists already")
        self.kind = kind
        self.id = id


class LimitReached(StoreError):
    """`scope` ("camera", "daemon") holds `limit` already."""

    retry = True

    def __init__(self, message: str, scope: str, limit: int) -> None:
        super().__init__(message)
        self.scope = scope
        self.limit = limit
