"""One camera's notes, on given times: what is asked, what is written of it, and what is remembered."""

from __future__ import annotations

import numpy as np
import pytest

from clients.messages import Event
from daemon.scribe import Scribe, as_citation, as_lines, as_note
from streaming.past import NOTE_QUESTION, Citation, NoteSettings
from streaming.trigger import Signal
from streaming.types import AnswerDelta, AskStatus, Frame

S, MS = 1_000_000_000, 1_000_000
T0 = 1_790_000_000 * S
CHANGE, CALM = Signal(0.41234, 5.234, change=True), Signal(0.02, 0.1, change=False)


def picture(at_s: float, shade: int = 0) -> Frame:
    at_ns = T0 + int(at_s * S)
    return Frame("dock", int(at_s), at_ns, at_ns, np.full((4, 4, 3), shade, np.uint8), dropped_before=3)


def said(at_s: float, status: AskStatus = AskStatus.COMPLETED) -> AnswerDelta:
    return AnswerDelta("n_1", "dock", "", status, frame_ns=T0 + int(at_s * S), output_tokens=3)


def event(seq: int, text: str, at_s: float, **data: object) -> Event:
    return Event(seq, f"e_{seq}", "note", "dock", 0, {"text": text, "frame_ts": (T0 + int(at_s * S)) // MS} | data)


def scribe(**settings: float) -> Scribe:
    return Scribe(NoteSettings(**{"min_s": 10, "max_s": 100, "max_tokens": 7, **settings}))


def test_a_note_is_asked_behind_everything_and_tells_of_its_frame():
    """The fixed question, in the background; the event has the frame it began with, its freshness and the change."""
    one = scribe()
    assert one.due("dock", "n_0", T0) is None  # nothing was shown yet
    one.shown(picture(0))
    one.heard(CHANGE)
    ask = one.due("dock", "n_1", T0 + S)
    assert ask is not None
    assert (ask.id, ask.text, ask.max_tokens, ask.asked_ns, ask.background) == ("n_1", NOTE_QUESTION, 7, T0 + S, True)
    assert one.due("dock", "n_2", T0 + S) is None  # one at a time
    one.shown(picture(1, shade=9))  # a frame came before the model began
    one.begun(T0 + S)
    one.shown(picture(2, shade=200))  # and one after it
    one.heard(Signal(0.9, 9.0, change=True))
    data, image = one.written(said(1), "A red car parks. It is", T0 + 3 * S) or ({}, None)
    assert data == {
        "text": "A red car parks.",
        "trigger": {"rho": 0.4123, "z": 5.23, "because": "change"},
        "frame_ts": (T0 + S) // MS,
        "age_ms": 2000,
        "dropped_frames": 3,
    }
    assert image is not None
    assert int(image.max()) == 9


def test_a_note_on_schedule_says_so():
    """With the numbers as they are; null before any."""
    one = scribe()
    one.shown(picture(0))
    assert one.due("dock", "n_1", T0) is not None
    one.begun(T0)
    data, _ = one.written(said(0), "A yard.", T0) or ({}, None)
    assert data["trigger"] == {"rho": None, "z": None, "because": "schedule"}
    one.heard(CALM)
    one.shown(picture(100))
    assert one.due("dock", "n_2", T0) is not None
    data, _ = one.written(said(100), "A yard.", T0) or ({}, None)
    assert data["trigger"] == {"rho": 0.02, "z": 0.1, "because": "schedule"}


@pytest.mark.parametrize(
    ("text", "status"),
    [("", AskStatus.COMPLETED), (" .\n", AskStatus.COMPLETED), ("A car", AskStatus.CANCELLED), ("A", AskStatus.FAILED)],
)
def test_what_came_to_nothing_is_no_note_and_is_tried_again(text, status):
    """No words, cancelled for a question, or failed: no event, and the change is due again in time."""
    one = scribe()
    one.shown(picture(0))
    one.heard(CHANGE)
    assert one.due("dock", "n_1", T0) is not None
    assert one.written(said(0, status), text, T0) is None
    one.shown(picture(5))
    assert one.due("dock", "n_2", T0) is None
    one.shown(picture(10))
    assert one.due("dock", "n_2", T0) is not None
    one.begun(T0 + 10 * S)
    data, _ = one.written(said(10), "A car.", T0) or ({}, None)
    assert data["trigger"]["because"] == "change"


def test_a_frame_of_another_time_is_no_evidence():
    """Where the model's newest frame is not the one held here, the note has no picture rather than a wrong one."""
    one = scribe()
    one.shown(picture(0))
    one.due("dock", "n_1", T0)
    one.begun(T0 - S)
    data, image = one.written(said(0), "A car.", T0) or ({}, None)
    assert data["text"] == "A car."
    assert image is None


def test_an_earlier_workers_notes_are_found_and_hold_the_spacing():
    """Restored notes fit questions; the next note is not due before max_s after the newest."""
    one = scribe()
    one.restore([event(3, "A red truck parks.", -50), event(7, "A cat sleeps.", -20)])
    one.shown(picture(0))
    assert one.due("dock", "n_1", T0) is None
    assert [note.seq for note in one.fitting("Where is the truck?", T0)] == [3]
    one.remember(event(9, "The truck leaves.", 0))
    assert [note.seq for note in one.fitting("Where is the truck?", T0)] == [9, 3]
    one.shown(picture(81))
    assert one.due("dock", "n_1", T0) is not None


def test_no_more_notes_are_given_than_set():
    """`recall` bounds them; 0 gives none."""
    for recall in (0, 2):
        one = scribe(recall=recall)
        one.restore([event(n, f"Car {n} parks.", -n) for n in range(1, 6)])
        assert len(one.fitting("Where is the car?", T0)) == recall


def test_notes_become_lines_and_citations():
    """The wire's times are milliseconds; evidence is named where it is."""
    with_frame = as_note(event(3, "A truck.", -60, evidence={"jpg": "/v1/evidence/e_3.jpg"}))
    at_ms = (T0 - 60 * S) // MS
    assert as_citation(Citation(with_frame.t_ns, with_frame.t_ns, with_frame)) == {
        "t0": at_ms,
        "t1": at_ms,
        "note": "e_3",
        "text": "A truck.",
        "evidence": {"jpg": "/v1/evidence/e_3.jpg"},
    }
    assert as_citation(Citation(5 * MS, 9 * MS)) == {"t0": 5, "t1": 9}
    assert as_note(event(4, "A cat.", 0)).jpg is None
    (line,) = as_lines([with_frame], T0)
    assert line.line.startswith("60 s ago, at ")
    assert line.line.endswith(": A truck.")
