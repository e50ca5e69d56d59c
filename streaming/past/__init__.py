"""
What a camera saw longer ago than its memory reaches: notes, found again for a question, and cited where they are true.

    scene changes, schedule ─▶ NoteClock ─▶ one background question ─▶ note (a durable event)
    question ─▶ Notebook.fitting ─▶ lines before the question ─▶ answer ─▶ cite: what bears it out

All of it is pure: no I/O, no model, times are passed in.
"""

from __future__ import annotations

from .citations import Citation, Cited, cite
from .notebook import Notebook
from .notes import NOTE_QUESTION, Because, NoteClock, NoteSettings, one_sentence
from .seen import Seen
from .wording import before, line_of

__all__ = [
    "NOTE_QUESTION",
    "Because",
    "Citation",
    "Cited",
    "NoteClock",
    "NoteSettings",
    "Notebook",
    "Seen",
    "before",
    "cite",
    "line_of",
    "one_sentence",
]
