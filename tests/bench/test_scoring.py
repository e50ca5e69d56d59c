"""How answers are scored: perfect is 1, constant is chance exactly, and nothing else is promised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.bench._scoring import Mark, distribution, kinds, normal, overall, topics, wilson
from daemon.bench._tally import Tally

ANSWERS = {"colour": ("red", "blue", "green"), "is_dog": ("Yes", "No"), "way": ("left", "right", "nowhere", "unknown")}
TOPICS = {"colour": "present", "is_dog": "past", "way": "change"}

asked = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(ANSWERS)), st.integers(0, 3)), min_size=1, max_size=60
)


def marks(truth: Sequence[tuple[str, str, int]], said: dict[str, str] | None = None) -> list[Mark]:
    """One for each (scene, kind, number of the answer); answered rightly, or always the same for a kind."""
    found = []
    for scene, kind, number in truth:
        answer = ANSWERS[kind][number % len(ANSWERS[kind])]
        found.append(Mark(scene, TOPICS[kind], kind, answer, said is None or said[kind] == answer))
    return found


@given(asked)
@settings(deadline=None)
def test_perfect_answers_score_one(truth: list[tuple[str, str, int]]) -> None:
    """Whatever is asked; of kinds of which one answer alone occurred nothing is told."""
    given_marks = marks(truth)
    for score in [*kinds(given_marks).values(), *topics(given_marks).values()]:
        assert score.accuracy == pytest.approx(1.0)
        assert score.high == pytest.approx(1.0)
    every = overall(given_marks)
    assert (every is None) == (not kinds(given_marks))
    if every is not None:
        assert every.accuracy == pytest.approx(1.0)
        assert (every.low, every.high) == pytest.approx((1.0, 1.0))


@given(asked, st.data())
@settings(deadline=None)
def test_a_constant_answer_scores_chance_exactly(truth: list[tuple[str, str, int]], data: st.DataObject) -> None:
    """However unequal the answers' frequencies are, for any constant that is an answer at all."""
    there = {kind: sorted({mark.answer for mark in marks(truth) if mark.kind == kind}) for kind in ANSWERS}
    said = {kind: data.draw(st.sampled_from(answers)) if answers else "" for kind, answers in there.items()}
    constant = marks(truth, said)
    for kind, score in kinds(constant).items():
        assert score.accuracy == pytest.approx(score.chance) == pytest.approx(1 / len(there[kind]))
        assert score.low <= score.accuracy <= score.high
    every = overall(constant)
    if every is not None:
        assert every.accuracy == pytest.approx(every.chance)


def test_a_topic_is_the_mean_over_its_kinds_and_all_that_over_topics() -> None:
    """A kind that is asked often weighs no more than one that is asked seldom."""
    often = [Mark(f"s{i}", "present", "colour", ("red", "blue")[i % 2], True) for i in range(40)]
    seldom = [Mark("s0", "present", "lamp_on", "Yes", False), Mark("s1", "present", "lamp_on", "No", True)]
    past = [Mark("s0", "past", "cars", "one", False), Mark("s1", "past", "cars", "two", False)]
    found = topics([*often, *seldom, *past])
    assert found["present"].accuracy == pytest.approx((1.0 + 0.5) / 2)
    assert found["past"].accuracy == 0
    every = overall([*often, *seldom, *past])
    assert every is not None
    assert every.accuracy == pytest.approx(0.375)
    assert every.asked == 44


def test_an_interval_knows_that_the_questions_of_a_scene_go_together() -> None:
    """A hundred questions of two scenes are worth less than a hundred of a hundred."""

    def interval(scenes: int) -> float:
        random = np.random.default_rng(1)
        right = random.random(scenes) < 0.5
        made = [
            Mark(str(i % scenes), "past", "cars", "ab"[i // scenes % 2], bool(right[i % scenes])) for i in range(100)
        ]
        found = overall(made)
        assert found is not None
        return found.high - found.low

    assert interval(4) > 1.5 * interval(50)


@given(st.integers(1, 500), st.data())
@settings(deadline=None)
def test_wilson_of_whole_numbers_is_the_tally_s(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    assert wilson(right / n, n) == pytest.approx(Tally(right, n).interval)


@pytest.mark.parametrize("said", ["Yes", "yes", " YES. ", "Yes.\n", "yes ."])
def test_capitals_blanks_and_a_full_stop_do_not_matter(said: str) -> None:
    assert normal(said) == normal("Yes")


@pytest.mark.parametrize("said", ["", "No", "Yes it is", "y es", "Yes!"])
def test_anything_else_does(said: str) -> None:
    assert normal(said) != normal("Yes")


def test_a_distribution_is_told_most_frequent_first() -> None:
    assert distribution(["No", "Yes", "No"]) == "No 2 · Yes 1"
