"""What the demo shows: rules and questions that the yard can answer, and when it is enough."""

from __future__ import annotations

import itertools

import pytest

from clients.sdk import Answer
from daemon.programme import CAMERA, STAND_IN, YARD, Programme, Shown, programme
from streaming.pocket.questions import RULES, words
from streaming.sources.synthetic import YARD_CYCLE_S, Scene

TEXTS = {text: rule for rule in RULES for text in rule.texts}


@pytest.mark.parametrize("ask", [act.ask for act in YARD.acts])
def test_every_rule_of_the_yard_holds_once_a_round(ask: str) -> None:
    """One stretch of seconds in half a minute, between two in which it does not hold."""
    held = [
        TEXTS[ask].holds(Scene("yard").truth(index / CAMERA.fps)) for index in range(int(YARD_CYCLE_S * CAMERA.fps))
    ]
    sure = [value for value in held if value is not None]
    assert not sure[0]
    assert 1 <= sum(a != b for a, b in itertools.pairwise(sure)) <= 2
    assert sum(sure) >= 2 * CAMERA.fps


def test_the_model_that_ships_knows_every_question() -> None:
    """Each is worded as in its training."""
    asked = {question for act in YARD.acts for question in (act.ask, *act.at_start, *act.at_end)}
    assert asked <= set(words())
    assert YARD.answers == sum(len(act.at_start) + len(act.at_end) for act in YARD.acts)


@pytest.mark.parametrize(
    ("model", "shown"),
    [("pocket", YARD), ("Qwen/Qwen3-VL-4B-Instruct", YARD), ("tiny-random", STAND_IN), ("tiny-random-2.5", STAND_IN)],
)
def test_random_weights_get_a_programme_of_their_own(model: str, shown: Programme) -> None:
    assert programme(model) is shown


def test_it_is_enough_when_every_rule_spoke_up_and_every_question_is_answered() -> None:
    shown = Shown()
    assert shown.silent(YARD) == [act.ask for act in YARD.acts]
    for act in YARD.acts:
        assert not shown.enough(YARD)
        shown.alerts[act.ask] += 1
    assert not shown.silent(YARD)
    for number in range(YARD.answers):
        assert not shown.enough(YARD)
        shown.answers.append(Answer(ask=str(number), text="red"))
    assert shown.enough(YARD)


def test_what_is_lacking_is_named() -> None:
    """No alert, no answer, or both."""
    shown = Shown()
    assert shown.lacking == "alert and no answer"
    shown.alerts["Is the lamp on?"] += 1
    assert shown.lacking == "answer"
    shown.answers.append(Answer(ask="1", text="yes"))
    assert shown.lacking is None
