"""Which notes fit a question."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.past.clock import NS
from streaming.past.notebook import Notebook, stems
from streaming.types import Note

NOW_NS = int(datetime(2026, 11, 20, 15, 30, tzinfo=UTC).timestamp()) * NS
WORDS = [
    "car",
    "dog",
    "door",
    "lamp",
    "person",
    "bag",
    "red",
    "blue",
    "gate",
    "road",
    "bicycle",
    "rain",
    "truck",
    "light",
]


def note(seq: int, text: str, *, ago_s: float = 0.0) -> Note:
    return Note(f"e_{seq}", seq, NOW_NS - int(ago_s * NS), text)


def book(*notes: Note, most: int = 5000) -> Notebook:
    made = Notebook(most)
    for each in notes:
        made.add(each)
    return made


YARD = (
    note(1, "A red truck parks at the gate.", ago_s=7200),
    note(2, "The yard is empty and the lamp is on.", ago_s=5400),
    note(3, "A person carries a blue bag to the door.", ago_s=3600),
    note(4, "Two dogs run across the road.", ago_s=600),
    note(5, "The yard is empty.", ago_s=60),
)


def found(question: str, *notes: Note, most: int = 3) -> list[int]:
    return [each.seq for each in book(*notes).fitting(question, now_ns=NOW_NS, most=most, zone=UTC)]


@pytest.mark.parametrize(
    ("question", "seqs"),
    [
        ("Where did the red truck park?", [1]),
        ("Did a dog pass?", [4]),  # one dog, two dogs
        ("What was the person carrying?", [3]),
        ("When was the yard empty?", [5, 2]),  # the newer and shorter one first
        ("Is the window open?", []),
        ("What is there?", []),
        ("What happened?", [5, 4, 3]),  # about the past at large: the newest
        ("What happened at 13:30?", [1]),
        ("What happened at 11:00?", []),  # nothing was noted then: better none than another time's
        ("Was there a bag between 14:00 and 15:00?", [3]),
        ("What happened in the last 2 hours?", [1, 3, 5]),  # more than fit: spread over the time
        ("???", []),
    ],
)
def test_what_fits(question, seqs):
    """Words in any form, times, and the past at large; where nothing fits nothing is found."""
    assert found(question, *YARD) == seqs


def test_what_was_said_again_is_found_once_and_as_the_newest():
    """A hundred notes of the same words leave room for others."""
    same = [note(n, "The red car stands at the gate.", ago_s=1000 - n) for n in range(1, 101)]
    assert found("Where is the red car?", *same, note(200, "A red car leaves.")) == [200, 100]


def test_of_equal_fit_the_newer_wins():
    """Recency decides between notes that fit alike."""
    old, new = note(1, "A car at the gate.", ago_s=50_000), note(2, "A car at the road.", ago_s=50)
    assert found("Was there a car?", old, new) == [2, 1]


def test_rare_words_count_most():
    """The note with the word that few others have comes first."""
    many = [note(n, f"A car passes, number {n}.", ago_s=n) for n in range(1, 30)]
    assert found("Was there a car or a hedgehog?", *many, note(99, "A hedgehog eats.", ago_s=9999))[0] == 99


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 20), st.integers(0, 80))
def test_it_is_bounded_ordered_and_forgets(seqs, most, oldest):
    """It holds the newest `most`, each once; what is older than the newest is not taken, what is forgotten not found."""
    notebook = Notebook(most)
    held: list[int] = []
    for seq in seqs:
        notebook.add(note(seq, f"car {seq}"))
        held = [*held, seq][-most:] if not held or seq > held[-1] else held
        assert [entry.note.seq for entry in notebook._entries.values()] == held
    notebook.forget_before(oldest)
    left = notebook.fitting("Was there a car?", now_ns=NOW_NS, most=100, zone=UTC)
    assert {each.seq for each in left} == {seq for seq in held if seq >= oldest}
    assert notebook._words == 2 * len(left)
    assert set(notebook._holding) == ({"car", *(str(each.seq) for each in left)} if left else set())


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), max_size=30),
    st.text(max_size=60),
    st.integers(0, 9),
)
def test_never_more_than_asked_for_and_each_shares_a_word(texts, noise, most):
    """Any question gets at most `most` different notes; one without a time or the past shares a word with each."""
    notes = [note(n, " ".join(words)) for n, words in enumerate(texts, 1)]
    question = f"red gate {noise}"
    chosen = book(*notes).fitting(question, now_ns=NOW_NS, most=most, zone=UTC)
    assert len(chosen) == len({each.seq for each in chosen}) <= most
    for each in book(*notes).fitting("Is the red gate there?", now_ns=NOW_NS, most=most, zone=UTC):
        assert {"red", "gat"} & set(stems(each.text))


def test_the_words_of_a_question_and_a_note_meet():
    """Endings do not matter, words do."""
    for one, other in [("parked", "parking"), ("dogs", "dog"), ("leaves", "leave"), ("stopped", "stops"), ("Bicycles", "bicycle")]:  # fmt: skip
        assert stems(one) == stems(other)
    assert stems("door") != stems("dog")


def test_a_full_notebook_is_searched_in_no_time():
    """5,000 notes take some milliseconds, on the event loop."""
    import time

    rng = random.Random(7)
    full = book(*(note(n, " ".join(rng.choices(WORDS, k=12)), ago_s=n) for n in range(1, 5001)))
    best_s = 1.0
    for _ in range(3):
        began = time.perf_counter()
        assert len(full.fitting("Did a red bicycle pass the gate?", now_ns=NOW_NS, most=8, zone=UTC)) == 8
        best_s = min(best_s, time.perf_counter() - began)
    assert best_s < 0.25
