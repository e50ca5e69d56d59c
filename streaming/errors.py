"""
What can go wrong between a frame and an answer.

    StreamingError
     ├── ModelError     the model cannot be loaded or used: a missing, foreign or half downloaded checkpoint
     ├── LimitError     a configured bound is reached; carries the figures
     └── UnknownCamera  a camera that the engine has not opened
"""

from __future__ import annotations


class StreamingError(Exception):
    """The root: one sentence that says what is wrong and what to do."""


class ModelError(StreamingError):
    """`model` cannot be used; `reason` is one sentence."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model '{model}': {reason}")
        self.model = model
        self.reason = reason


class LimitError(StreamingError):
    """`what` was asked for beyond its bound: `asked` against `limit`, both in the unit that `what` names."""

    def __init__(self, what: str, *, asked: int, limit: int, advice: str) -> None:
        super().__init__(f"{what}: {asked} asked, {limit} possible; {advice}")
        self.what = what
        self.asked = asked
        self.limit = limit


class UnknownCamera(StreamingError):
    """`camera` is not open in this engine."""

    def __init__(self, camera: str) -> None:
        super().__init__(f"no camera '{camera}' is open; open it first")
        self.camera = camera
