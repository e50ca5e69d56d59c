"""Times that questions ask about and answers name, on a fixed clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.past.clock import NS, Stretch, local, midnight
from streaming.past.times import asked_about, mentioned

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 15, 30, 0, tzinfo=BERLIN)
NOW_NS = int(NOW.timestamp()) * NS


def at(text: str) -> int:
    """`[day ]HH:MM[:SS]` of November 2026 in Berlin."""
    day, _, clock = text.rpartition(" ")
    hour, minute, *second = map(int, clock.split(":"))
    when = datetime(2026, 11, int(day or 20), hour, minute, *second, tzinfo=BERLIN)
    return int(when.timestamp()) * NS


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("What happened at 14:05?", "14:00", "14:10"),
        ("Who came at 2:05 pm?", "14:00", "14:10"),
        ("Who came at 3 p.m.?", "14:30", "15:30"),
        ("Who came around noon?", "11:30", "12:30"),
        ("Was the gate open at 14:05:30?", "14:05", "14:06"),
        ("What happened at 16:00?", "19 15:55", "19 16:05"),  # that of today has not been yet
        ("Who came yesterday at 14:05?", "19 14:00", "19 14:10"),
        ("Did a dog pass between 2 and 3 pm?", "14:00", "15:00"),
        ("Did a dog pass from 14:00 to 17:00?", "14:00", "15:30"),
        ("Did a dog pass between 22:00 and 6:00?", "19 22:00", "06:00"),
        ("Who came since noon?", "12:00", "15:30"),
        ("Who came before 10:00?", "00:00", "10:00"),
        ("Who came yesterday after 22:00?", "19 22:00", "20 00:00"),
        ("What was there 10 minutes ago?", "15:17:30", "15:22:30"),
        ("What was there half an hour ago?", "14:52:30", "15:07:30"),
        ("What was there two hours ago?", "13:00", "14:00"),
        ("What did I miss in the last hour?", "14:30", "15:30"),
        ("How many cars came in the past 30 min?", "15:00", "15:30"),
        ("Who was there this morning?", "05:00", "12:00"),
        ("Who was there this afternoon?", "12:00", "15:30"),
        ("Who was there yesterday evening?", "19 17:00", "20 00:00"),
        ("What moved last night?", "19 20:00", "06:00"),
        ("How many cars came today?", "00:00", "15:30"),
        ("How many cars came yesterday?", "19 00:00", "20 00:00"),
        ("What happened just now?", "15:28", "15:30"),
    ],
)
def test_a_question_names_a_stretch_of_time(question, start, end):
    """Clock times are the newest that have been, a time with less detail means more around it, and nothing is to come."""
    (stretch,), rest = asked_about(question, NOW_NS, BERLIN)
    assert stretch == Stretch(at(start), at(end))
    assert not any(c.isdigit() for c in rest)


@pytest.mark.parametrize(
    "question",
    [
        "What colour is the car?",
        "Is bus 12 there?",
        "Are there 3 people?",
        "Is the score 12:75?",
        "Who is at the door?",
    ],
)
def test_a_question_without_a_time_names_none(question):
    """Numbers alone are no times, and nothing is taken from the question."""
    assert asked_about(question, NOW_NS, BERLIN) == ((), question)


def test_two_clock_times_are_two_stretches():
    """Each is looked for."""
    stretches, _ = asked_about("Was it open at 9:00 or at 10:00?", NOW_NS, BERLIN)
    assert [stretch.t0_ns for stretch in stretches] == [at("08:55"), at("09:55")]


@given(st.text(max_size=200), st.integers(0, 4_000_000_000))
def test_no_text_is_too_strange(text, now_s):
    """Any text is read without an error, and no stretch lies wholly in the future."""
    stretches, _ = asked_about(text, now_s * NS, UTC)
    assert all(stretch.t0_ns <= stretch.t1_ns for stretch in stretches)
    assert all(stretch.t0_ns <= now_s * NS for stretch in stretches)
    mentioned(text, now_s * NS, origin_ns=0, zone=UTC)


@pytest.mark.parametrize(
    ("text", "said", "true", "false"),
    [
        ("A car came 12 s ago.", "12 s ago", "15:29:47", "15:29:40"),
        ("A car came five minutes ago.", "five minutes ago", "15:25:20", "15:27"),
        ("A car came 2 hours ago.", "2 hours ago", "13:10", "12:00"),
        ("A car came at 14:05.", "14:05", "14:05:59", "14:07"),
        ("A car came at 14:05:30.", "14:05:30", "14:05:30", "14:05:33"),
        ("A car came at 2 pm.", "2 pm", "14:59", "15:10"),
        ("A car came at 23:10.", "23:10", "18 23:10:20", "18 23:12"),
        ("A car came at 12.5 seconds.", "at 12.5 seconds", "15:00:12", "15:00:20"),
        ("<12.5 seconds> a car", "<12.5 seconds>", "15:00:13", "15:00:20"),
    ],
)
def test_an_answer_names_a_time(text, said, true, false):
    """Its words, and what they may mean: any day of the month for a clock, with as much around it as it leaves open."""
    (mention,) = mentioned(text, NOW_NS, origin_ns=at("15:00"), zone=BERLIN)
    assert mention.said == said
    assert any(meant.holds(at(true)) for meant in mention.meant)
    assert not any(meant.holds(at(false)) for meant in mention.meant)


@pytest.mark.parametrize("text", ["A red car.", "Three people and 2 dogs.", "", "It is 5 m away."])
def test_an_answer_without_a_time_names_none(text):
    """Numbers alone are no times."""
    assert mentioned(text, NOW_NS, zone=BERLIN) == ()


def test_days_have_as_many_hours_as_the_clock_says():
    """On the day that the clock goes back, midnight is 25 hours after midnight."""
    day = datetime(2026, 10, 25, 12, tzinfo=BERLIN).date()
    assert midnight(day, BERLIN, later_h=24) - midnight(day, BERLIN) == 25 * 3600 * NS
    assert local(midnight(day, BERLIN), BERLIN).isoformat() == "2026-10-25T00:00:00+02:00"
