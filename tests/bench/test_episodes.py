"""Alerts judged by the truth: what must be told of, what may be, and what is false."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.bench._episodes import EDGE_S, Episode, Verdict, episodes, judge, together
from streaming.rules import RuleState, Started
from streaming.types import Rule

HOLD_S = Rule("", "", "").hold_s
SIGNS = {"y": True, "n": False, "?": None}


def holds(text: str) -> list[bool | None]:
    """One sign for each half second: yes, no, not settled."""
    return [SIGNS[sign] for sign in text]


def times(text: Sequence[object]) -> list[float]:
    return [i / 2 for i in range(len(text))]


def verdict(text: str, *alerts_s: float) -> Verdict:
    return judge(times(text), holds(text), alerts_s, hold_s=HOLD_S)


def found(text: str) -> list[Episode]:
    return episodes(times(text), holds(text), hold_s=HOLD_S)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nnyyyyyn", [Episode(1.0, 3.0, 1.0)]),  # two seconds: as long as a rule needs and one more
        ("nnyyyynn", []),
        ("yyyyyy", [Episode(0.0, 2.5, 0.0)]),  # it was so from the beginning
        ("n??yyyyyy", [Episode(1.5, 4.0, 0.5)]),  # it may have begun before
        ("yyyyy??yyyyy", [Episode(0.0, 5.5, 0.0)]),  # hidden for a second
        ("yyyyynnyyyyy", [Episode(0.0, 5.5, 0.0)]),  # a right rule sleeps through a second
        ("yyyyy" + "n" * 6 + "yyyyy", [Episode(0.0, 2.0, 0.0), Episode(5.5, 7.5, 5.5)]),
        ("y?y?y?y?y?y?y", []),  # never settled for long
        ("?" * 20, []),
    ],
)
def test_episodes(text: str, expected: list[Episode]) -> None:
    assert found(text) == expected


def test_an_alert_inside_finds_it_and_its_delay_counts_from_the_beginning() -> None:
    assert verdict("nnnnyyyyyyyynnnn", 3.5) == Verdict(1, 0, 0, (1.5,))


def test_an_alert_before_or_behind_by_little_still_finds_it() -> None:
    """Pictures tell no more; an early one has no negative delay."""
    assert verdict("n" * 8 + "y" * 8 + "n" * 8, 4.0 - EDGE_S) == Verdict(1, 0, 0, (0.0,))
    assert verdict("n" * 8 + "y" * 8 + "n" * 8, 7.5 + EDGE_S).found == 1
    assert verdict("n" * 8 + "y" * 8 + "n" * 8, 4.0 - EDGE_S - 0.5) == Verdict(0, 1, 1)


def test_nothing_is_held_against_anybody_where_it_is_not_settled() -> None:
    """Neither an alert nor its absence; and what is too short to be told of may be told of."""
    assert verdict("nnnnnn??????nnnnnn", 4.0) == verdict("nnnnnn??????nnnnnn") == Verdict()
    assert verdict("nnnnnnyynnnnnnnn", 4.0) == verdict("nnnnnnyynnnnnnnn") == Verdict()


def test_an_alert_out_of_nothing_is_false() -> None:
    assert verdict("n" * 20, 5.0) == Verdict(0, 0, 1)


def test_telling_again_of_what_never_stopped_is_false() -> None:
    """But not after a pause in which the rule may have ended."""
    assert verdict("nn" + "y" * 20, 2.0, 6.0) == Verdict(1, 0, 1, (1.0,))
    assert verdict("nn" + "y" * 10 + "nnn" + "y" * 10, 2.0, 9.0) == Verdict(1, 0, 0, (1.0,))


def test_figures_of_all_rules_together() -> None:
    """Precision and recall of the summed counts, not their means; of nothing there is no figure."""
    total = together([Verdict(3, 1, 0, (1.0, 2.0, 3.0)), Verdict(0, 0, 2), Verdict()])
    assert (total.precision, total.recall, total.f1, total.delay_s) == pytest.approx((3 / 5, 3 / 4, 2 / 3, 2.0))
    nothing = together([])
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.delay_s) == (None, None, None, None)


@given(st.text("yn?", min_size=1, max_size=120))
@settings(deadline=None)
def test_a_rule_that_sees_everything_is_right(text: str) -> None:
    """The daemon's own rule, given the truth as its probability, finds every episode and tells of nothing else."""
    number = count()
    state = RuleState(Rule("r", "c", "?", cooldown_s=0.0), new_alert=lambda: str(next(number)))
    alerts = []
    for at_s, one in zip(times(text), holds(text), strict=True):
        p = None if one is None else float(one)
        if isinstance(state.observe(p, int(at_s * 1e9), int(at_s * 1e9)), Started):
            alerts.append(at_s)
    seen = judge(times(text), holds(text), alerts, hold_s=HOLD_S)
    assert seen.missed == 0
    assert seen.false == 0
    assert len(seen.delays_s) == seen.found == len(found(text))


@given(st.text("yn", min_size=10, max_size=120))
@settings(deadline=None)
def test_a_rule_that_never_speaks_finds_nothing(text: str) -> None:
    silent = judge(times(text), holds(text), [], hold_s=HOLD_S)
    assert (silent.found, silent.false, silent.missed) == (0, 0, len(found(text)))
