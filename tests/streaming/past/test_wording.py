"""Notes as a question shows them to the model."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from streaming.past.clock import NS
from streaming.past.wording import before, line_of
from streaming.types import Note

NOW_NS = int(datetime(2026, 11, 20, 15, 30, tzinfo=UTC).timestamp()) * NS


@pytest.mark.parametrize(
    ("ago_s", "line"),
    [
        (5, "5 s ago, at 16:29:55: A car."),
        (119, "119 s ago, at 16:28:01: A car."),
        (125, "2 min ago, at 16:27:55: A car."),
        (7300, "2 h ago, at 14:28:20: A car."),
        (86_400, "24 h ago, on 2026-11-19 at 16:30:00: A car."),
        (3 * 86_400, "3 days ago, on 2026-11-17 at 16:30:00: A car."),
        (-3, "0 s ago, at 16:30:03: A car."),  # a note from a clock that is ahead
    ],
)
def test_a_line_says_when(ago_s, line):
    """How long ago and on the clock of the place, with the date of another day."""
    note = Note("e_1", 1, NOW_NS - ago_s * NS, "A car.")
    assert line_of(note, NOW_NS, ZoneInfo("Europe/Berlin")).line == line


def test_lines_stand_before_the_question_oldest_first():
    """In whatever order they fit; without lines the question is as it was."""
    lines = [line_of(Note(f"e_{n}", n, NOW_NS - n * NS, f"Note {n}."), NOW_NS, UTC) for n in (3, 9, 6)]
    text = before("What was there?", lines)
    assert text.splitlines()[1:] == [
        "- 9 s ago, at 15:29:51: Note 9.",
        "- 6 s ago, at 15:29:54: Note 6.",
        "- 3 s ago, at 15:29:57: Note 3.",
        "",
        "What was there?",
    ]
    assert before("What?", []) == "What?"
