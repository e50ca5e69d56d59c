"""
One camera's notes: when the next is due, the frame it is about, and those that a question finds again. Pure.

A note is the answer to a background question. While it is being written its frame is held here, so that the event shows
what the sentence tells of, whatever came since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clients.messages import Event
from streaming.past import NOTE_QUESTION, Because, Citation, Notebook, NoteClock, NoteSettings, line_of, one_sentence
from streaming.trigger import Signal
from streaming.types import AnswerDelta, Ask, AskStatus, Frame, Image, Note, NoteLine

MS = 1_000_000


class Scribe:
    """Told of every frame and signal of its camera; `due` and `written` begin and end a note."""

    def __init__(self, settings: NoteSettings) -> None:
        self.notebook = Notebook()
        self._settings = settings
        self._clock = NoteClock(settings)
        self._signal: Signal | None = None
        self._frame: Frame | None = None  # the newest that memory holds
        self._held: Frame | None = None  # the one that the note being written is about
        self._change: dict[str, Any] = {}  # the newest scene change
        self._trigger: dict[str, Any] = {}  # of the note being written

    def restore(self, notes: Iterable[Event]) -> None:
        """Take up the `note` events of an earlier worker."""
        for event in notes:
            self.remember(event)
        if (newest := self.notebook.newest) is not None:
            self._clock.restore(newest.t_ns)

    def remember(self, event: Event) -> None:
        """A `note` event is in the store: from now on questions find it."""
        self.notebook.add(as_note(event))

    def shown(self, frame: Frame) -> None:
        """The memory holds this frame now."""
        self._frame = frame

    def heard(self, signal: Signal) -> None:
        """What the trigger made of a frame."""
        self._signal = signal
        if signal.change:
            self._clock.changed()
            self._change = as_trigger(signal, Because.CHANGE)

    def due(self, camera: str, name: str, now_ns: int) -> Ask | None:
        """The question for the note that is due at the newest frame, under the id `name`."""
        frame = self._frame
        because = None if frame is None else self._clock.due(frame.pts_ns)
        if frame is None or because is None:
            return None
        self._trigger = self._change if because is Because.CHANGE else as_trigger(self._signal, because)
        self._clock.begin(because, frame.pts_ns)
        return Ask(name, camera, NOTE_QUESTION, self._settings.max_tokens, now_ns, background=True)

    def begun(self, frame_ns: int | None) -> None:
        """The model has begun to write, and the newest frame it sees is of this time: hold it."""
        frame = self._frame
        self._held = frame if frame is not None and frame.pts_ns == frame_ns else None

    def written(self, delta: AnswerDelta, text: str, now_ns: int) -> tuple[dict[str, Any], Image | None] | None:
        """What the note says and its picture; None where it came to nothing."""
        frame, self._held = self._held, None
        said = one_sentence(text)
        complete = delta.status is AskStatus.COMPLETED and delta.frame_ns is not None and bool(said)
        self._clock.end(written=complete)
        if not complete or delta.frame_ns is None:
            return None
        data = {
            "text": said,
            "trigger": self._trigger,
            "frame_ts": delta.frame_ns // MS,
            "age_ms": max(0, now_ns - delta.frame_ns) // MS,
            "dropped_frames": frame.dropped_before if frame else 0,
        }
        return data, frame.image if frame else None

    def fitting(self, question: str, now_ns: int) -> list[Note]:
        """The notes to put before a question, the most fitting first."""
        return self.notebook.fitting(question, now_ns=now_ns, most=self._settings.recall)


def as_note(event: Event) -> Note:
    """The note in a durable event."""
    data = event.data
    jpg = (data.get("evidence") or {}).get("jpg")
    return Note(event.id, event.seq, int(data.get("frame_ts") or event.ts) * MS, str(data.get("text", "")), jpg)


def as_trigger(signal: Signal | None, because: Because) -> dict[str, Any]:
    """Why a note was written, as the wire tells it."""
    numbers = {"rho": None, "z": None} if signal is None else {"rho": round(signal.rho, 4), "z": round(signal.z, 2)}
    return {**numbers, "because": str(because)}


def as_citation(citation: Citation) -> dict[str, Any]:
    """A citation as the wire tells it."""
    told: dict[str, Any] = {"t0": citation.t0_ns // MS, "t1": citation.t1_ns // MS}
    if (note := citation.note) is not None:
        told |= {"note": note.id, "text": note.text}
        if note.jpg is not None:
            told["evidence"] = {"jpg": note.jpg}
    return told


def as_lines(notes: Iterable[Note], now_ns: int) -> tuple[NoteLine, ...]:
    """The notes as a question shows them to the model."""
    return tuple(line_of(note, now_ns) for note in notes)
