"""What an answer may cite."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.past.citations import Citation, cite
from streaming.past.clock import NS, Stretch
from streaming.past.seen import Seen
from streaming.types import AnswerDelta, AskStatus, Note

NOW_NS = int(datetime(2026, 11, 20, 15, 30, tzinfo=UTC).timestamp()) * NS
MIN = 60 * NS


def ended(held: tuple[int, int] | None = None, recalled: tuple[tuple[int, int], ...] = ()) -> AnswerDelta:
    t0_ns, t1_ns = held or (None, None)
    return AnswerDelta(
        "q_1", "dock", "", AskStatus.COMPLETED, frame_ns=NOW_NS, t0_ns=t0_ns, t1_ns=t1_ns, recalled=recalled, origin_ns=NOW_NS - 2 * MIN
    )  # fmt: skip


def note(seq: int, ago_min: int) -> Note:
    return Note(f"e_{seq}", seq, NOW_NS - ago_min * MIN, "A red car parks.")


def test_notes_first_then_what_came_back_then_memory():
    """Each oldest first, and each as it was."""
    old, older = note(1, 60), note(2, 120)
    cited = cite(
        ended((NOW_NS - 2 * MIN, NOW_NS), ((NOW_NS - 9 * MIN, NOW_NS - 8 * MIN),)),
        "",
        now_ns=NOW_NS,
        notes=(old, older),
    )
    assert cited.citations == (
        Citation(older.t_ns, older.t_ns, older),
        Citation(old.t_ns, old.t_ns, old),
        Citation(NOW_NS - 9 * MIN, NOW_NS - 8 * MIN),
        Citation(NOW_NS - 2 * MIN, NOW_NS),
    )


def test_what_was_not_seen_is_not_cited():
    """A gap inside what memory spans is in no citation; nothing seen, nothing cited."""
    seen = Seen()
    for ago_min in (10, 9, 8):
        seen.add(NOW_NS - ago_min * MIN)
    seen.cut()
    for ago_min in (2, 1):
        seen.add(NOW_NS - ago_min * MIN)
    delta = ended((NOW_NS - 9 * MIN, NOW_NS - MIN))
    assert [(each.t0_ns, each.t1_ns) for each in cite(delta, "", now_ns=NOW_NS, seen=seen).citations] == [
        (NOW_NS - 9 * MIN, NOW_NS - 8 * MIN),
        (NOW_NS - 2 * MIN, NOW_NS - MIN),
    ]
    assert cite(delta, "It came 5 minutes ago.", now_ns=NOW_NS, seen=seen).doubtful == ("5 minutes ago",)
    assert cite(ended(), "It came at 15:00.", now_ns=NOW_NS, zone=UTC).citations == ()


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("A red car parks.", ()),
        ("A red car came 60 min ago and at 14:30.", ()),  # the note's time, in either form
        ("A red car came 1 minute ago.", ()),  # within memory
        ("A red car came at 100 seconds.", ()),  # by the model's own count of seconds
        ("A red car came at 13:00.", ("13:00",)),
        ("A red car came 30 minutes ago, again at 9 pm, and 30 minutes ago.", ("30 minutes ago", "9 pm")),
        ("A red car came at 900 seconds.", ("at 900 seconds",)),
    ],
)
def test_times_that_nothing_bears_out_are_told(text, doubtful):
    """Every time in the words is held against notes and memory; a claim of the model is never a citation."""
    cited = cite(ended((NOW_NS - 2 * MIN, NOW_NS)), text, now_ns=NOW_NS, notes=(note(1, 60),), zone=UTC)
    assert cited.doubtful == doubtful
    assert len(cited.citations) == 2


stretches = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda ends: (min(ends), max(ends)))


@given(st.text(max_size=80), st.lists(st.integers(0, 900), unique=True, max_size=5), stretches, st.lists(stretches, max_size=3), st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=30))  # fmt: skip
def test_every_cited_moment_occurred(text, notes, held, recalled, frames):
    """Whatever the model says: both ends of each citation are a note's frame, or held and between two seen frames."""
    seen, at, runs = Seen(), 0, [[0]]
    seen.add(0)
    for step, cut in frames:
        at += step
        if cut:
            seen.cut()
            runs.append([])
        runs[-1].append(at)
        seen.add(at)
    given_notes = [Note(f"e_{t_ns}", t_ns, t_ns, "x") for t_ns in notes]
    cited = cite(ended(held, tuple(recalled)), text, now_ns=1000, notes=given_notes, seen=seen, zone=UTC)
    whole = [Stretch(run[0], run[-1]) for run in runs if run]
    for each in cited.citations:
        if each.note is not None:
            assert each.t0_ns == each.t1_ns == each.note.t_ns
            continue
        assert any(run.holds(each.t0_ns) and run.holds(each.t1_ns) for run in whole)
        assert any(t0_ns <= each.t0_ns <= each.t1_ns <= t1_ns for t0_ns, t1_ns in (held, *recalled))
    assert {each.note for each in cited.citations if each.note} == set(given_notes)
