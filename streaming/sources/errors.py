"""
What can go wrong with a source; the reason is one sentence for a person, without credentials.

    StreamingError
     └── SourceError        could not give pictures; `retryable` says whether time alone may cure it
          ├── SourceRefused   a person must act: wrong address, wrong password, not a video, too large
          ├── SourceLost      it may come back by itself: unreachable, connection lost, too late
          └── SourceEnded     it came to an end, and not to the one it promised: a truncated file
"""

from __future__ import annotations

from ..errors import StreamingError


class SourceError(StreamingError):
    """
    reason: one sentence, credentials removed.
    retryable: False when a person must act first. A capture retries both, the latter slowly.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class SourceRefused(SourceError):
    """A person must act before this source can give pictures."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retryable=False)


class SourceLost(SourceError):
    """No pictures now; the source may come back without anyone doing anything."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retryable=True)


class SourceEnded(SourceError):
    """The source is over, sooner than it said; trying again would only play it again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retryable=False)
