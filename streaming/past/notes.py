"""
When a note is due, and what it is: one sentence on a scene change, or because long nothing was written.

Time is frame time. Changes closer together than `min_s` become one note; a note that came to nothing (cancelled for a
question, no words) leaves its change due, but no sooner than `min_s` after it was begun.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

NS = 1_000_000_000
NOTE_QUESTION = "Describe in one sentence what is seen and what changed. Name no times."
MAX_CHARS = 300

END = re.compile(r"(?<=[.!?…。！？])\s+(?=\S)")


class Because(enum.StrEnum):
    """Why a note is written."""

    CHANGE = "change"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class NoteSettings:
    """
    min_s: at least so long between two notes of a camera. max_s: at most so long while frames come; 0 writes on scene
        changes alone.
    max_tokens: of one note. recall: notes that one question is given at most.
    """

    min_s: float = 15.0
    max_s: float = 300.0
    max_tokens: int = 48
    recall: int = 8

    def __post_init__(self) -> None:
        if self.max_s and self.max_s < self.min_s:
            raise ValueError(f"max_s ({self.max_s:g}) is below min_s ({self.min_s:g}); 0 means never without a change")


class NoteClock:
    """One camera's. The first frame is due at once: what a scene looks like is worth a note."""

    __slots__ = ("_change", "_last_ns", "_settings", "_writing")

    def __init__(self, settings: NoteSettings) -> None:
        self._settings = settings
        self._last_ns: int | None = None  # frame time of the last note begun
        self._change = False  # one that no note tells of yet
        self._writing: Because | None = None

    def restore(self, last_ns: int) -> None:
        """Take up where an earlier worker stopped: the frame time of its last note."""
        self._last_ns = last_ns

    def changed(self) -> None:
        """The scene has changed."""
        self._change = True

    def due(self, frame_ns: int) -> Because | None:
        """Why a note should begin at this frame; None while one is being written, or it is too soon."""
        if self._writing:
            return None
        if self._last_ns is None:
            return Because.CHANGE if self._change else Because.SCHEDULE
        self._last_ns = min(self._last_ns, frame_ns)  # a clock that was set back
        since_s = (frame_ns - self._last_ns) / NS
        if since_s < self._settings.min_s:
            return None
        if self._change:
            return Because.CHANGE
        return Because.SCHEDULE if self._settings.max_s and since_s >= self._settings.max_s else None

    def begin(self, because: Because, frame_ns: int) -> None:
        """A note is being written now, which also tells of every change so far."""
        self._writing, self._last_ns, self._change = because, frame_ns, False

    def end(self, *, written: bool) -> None:
        """It has ended; where nothing was written, the change it was for is due again."""
        if not written and self._writing is Because.CHANGE:
            self._change = True
        self._writing = None


def one_sentence(text: str) -> str:
    """The first sentence on one line, at most MAX_CHARS; empty where no letter or digit was said."""
    line = " ".join(text.split())
    first = END.split(line, maxsplit=1)[0]
    if not any(c.isalnum() for c in first):
        first = line
    if not any(c.isalnum() for c in first):
        return ""
    return first if len(first) <= MAX_CHARS else first[: MAX_CHARS - 1].rstrip() + "…"
