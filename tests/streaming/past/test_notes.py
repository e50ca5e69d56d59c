"""When notes are due, and what of the model's words becomes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.past.notes import MAX_CHARS, NS, Because, NoteClock, NoteSettings, one_sentence

T0 = 1_790_000_000 * NS
SETTINGS = NoteSettings(min_s=15, max_s=300)


def started(settings: NoteSettings = SETTINGS) -> NoteClock:
    """A clock whose first note was written at T0."""
    clock = NoteClock(settings)
    assert clock.due(T0) is Because.SCHEDULE
    clock.begin(Because.SCHEDULE, T0)
    clock.end(written=True)
    return clock


def test_the_first_frame_is_due_at_once():
    """What a scene looks like is worth a note; a restart is no first frame."""
    assert NoteClock(SETTINGS).due(T0) is Because.SCHEDULE
    restarted = NoteClock(SETTINGS)
    restarted.restore(T0)
    assert restarted.due(T0 + 20 * NS) is None
    assert restarted.due(T0 + 300 * NS) is Because.SCHEDULE


def test_changes_wait_for_the_least_spacing_and_become_one_note():
    """Too soon after the last note a change is kept, not lost; the next note tells of all of them."""
    clock = started()
    clock.changed()
    assert clock.due(T0 + 14 * NS) is None
    clock.changed()
    assert clock.due(T0 + 15 * NS) is Because.CHANGE
    clock.begin(Because.CHANGE, T0 + 15 * NS)
    assert clock.due(T0 + 400 * NS) is None  # one at a time
    clock.end(written=True)
    assert clock.due(T0 + 31 * NS) is None
    assert clock.due(T0 + 315 * NS) is Because.SCHEDULE


def test_a_change_while_a_note_is_written_is_the_next_ones():
    """What came after the question was read is not in its answer."""
    clock = started()
    clock.begin(Because.SCHEDULE, T0 + 300 * NS)
    clock.changed()
    clock.end(written=True)
    assert clock.due(T0 + 316 * NS) is Because.CHANGE


def test_a_note_that_came_to_nothing_leaves_its_change_due():
    """It is tried again, min_s after it was begun."""
    clock = started()
    clock.changed()
    clock.begin(Because.CHANGE, T0 + 20 * NS)
    clock.end(written=False)
    assert clock.due(T0 + 30 * NS) is None
    assert clock.due(T0 + 35 * NS) is Because.CHANGE


def test_without_a_schedule_only_changes_count():
    """max_s 0: a still scene is noted once and no more."""
    clock = started(NoteSettings(min_s=15, max_s=0))
    assert clock.due(T0 + 86_400 * NS) is None
    clock.changed()
    assert clock.due(T0 + 86_400 * NS) is Because.CHANGE


def test_a_clock_set_back_silences_no_camera():
    """After a step back by a day, the spacing counts from there."""
    clock = started()
    back = T0 - 86_400 * NS
    assert clock.due(back) is None
    assert clock.due(back + 300 * NS) is Because.SCHEDULE


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans(), st.booleans()), max_size=200),
    st.integers(1, 30),
    st.integers(30, 120),
)
def test_spacing_holds_whatever_happens(frames, min_s, max_s):
    """Never closer than min_s, never later than max_s after the last while none is being written, one at a time."""
    clock = NoteClock(NoteSettings(min_s=min_s, max_s=max_s))
    at_s, begun, writing = 0, [], False
    for step_s, change, ends, written in frames:
        at_s += step_s
        if change:
            clock.changed()
        if writing and ends:
            clock.end(written=written)
            writing = False
        because = clock.due(T0 + at_s * NS)
        assert because is None or not writing
        if because:
            assert not begun or at_s - begun[-1] >= min_s
            clock.begin(because, T0 + at_s * NS)
            begun.append(at_s)
            writing = True
        elif not writing:
            assert at_s - begun[-1] < max_s


def test_wrong_spacing_is_refused():
    """A longest spacing below the shortest says what is wrong."""
    with pytest.raises(ValueError, match=r"max_s \(5\) is below min_s \(15\)"):
        NoteSettings(min_s=15, max_s=5)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("A car parks. Then it leaves.", "A car parks."),
        ("  A car\nparks\t at the gate ", "A car parks at the gate"),
        ("... A car parks.", "... A car parks."),
        ("It is 12.5 m long!", "It is 12.5 m long!"),
        ("。、!?", ""),
        ("", ""),
    ],
)
def test_a_note_is_one_sentence(said, note):
    """The first sentence on one line; what has no letter is no note."""
    assert one_sentence(said) == note


@given(st.text(max_size=1000))
def test_a_note_is_bounded(said):
    """One line of at most MAX_CHARS, whatever a model says."""
    note = one_sentence(said)
    assert len(note) <= MAX_CHARS
    assert len(note.splitlines()) <= 1
    assert one_sentence(note) == note
