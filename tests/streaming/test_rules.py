"""One rule's life, on a virtual clock: hysteresis, hold, cooldown from delivery, unknown, recovery."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.rules import Ended, Phase, Recheck, RuleState, Started
from streaming.types import Rule

S = 1_000_000_000


def rule(**changes: object) -> Rule:
    return Rule(**({"id": "r_1", "camera": "dock", "ask": "is the door open?"} | changes))


def state_of(**changes: object) -> RuleState:
    ids = itertools.count(1)
    return RuleState(rule(**changes), new_alert=lambda: f"a_{next(ids)}")


def play(state: RuleState, ps: list[float | None], *, step_s: float = 0.5, delivered: bool = True) -> list:
    """Feed one p every step_s; acknowledge alerts at once. The transitions with their time in seconds."""
    seen = []
    for i, p in enumerate(ps):
        at_ns = int(i * step_s * S)
        change = state.observe(p, at_ns, at_ns)
        if change is not None:
            seen.append((i * step_s, change))
        if isinstance(change, Started) and delivered:
            state.delivered(at_ns)
    return seen


def test_alert_starts_after_hold_and_ends_after_hold():
    """p >= on for hold_s starts, p <= off for hold_s ends; the duration is frame time between the two."""
    seen = play(state_of(hold_s=1), [0.1, 0.9, 0.9, 0.9, 0.9, 0.2, 0.2, 0.2])
    (t0, started), (t1, ended) = seen
    assert (t0, t1) == (1.5, 3.5)
    assert isinstance(started, Started)
    assert isinstance(ended, Ended)
    assert ended.alert == started.alert
    assert ended.duration_s == 2.0


def test_a_flicker_shorter_than_hold_says_nothing():
    """One frame above `on` is not an alert when hold_s is longer than one frame."""
    assert play(state_of(hold_s=1), [0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1]) == []


def test_between_off_and_on_an_alert_stays_as_it_is():
    """The band between the thresholds neither starts nor ends anything."""
    seen = play(state_of(hold_s=0), [0.6, 0.7, 0.9, 0.6, 0.7, 0.55, 0.79])
    assert [type(change) for _, change in seen] == [Started]


def test_falling_is_taken_back_by_one_frame_above_off():
    """The hold of the end restarts when p rises above `off` again."""
    state = state_of(hold_s=1)
    seen = play(state, [0.9, 0.9, 0.9, 0.2, 0.2, 0.6, 0.2, 0.2])
    assert [type(change) for _, change in seen] == [Started]
    assert state.phase is Phase.FALLING


def test_zero_hold_answers_at_the_first_frame():
    """hold_s = 0 starts on the very frame."""
    ((at_s, _),) = play(state_of(hold_s=0), [0.9])
    assert at_s == 0


def test_unknown_moves_nothing():
    """A p of None neither starts, ends nor resets a rule."""
    state = state_of(hold_s=1)
    seen = play(state, [0.9, None, None, 0.9, None, None, None])
    assert [type(change) for _, change in seen] == [Started]
    assert state.p is None


def test_cooldown_counts_from_delivery():
    """No second alert within cooldown_s of the store's acknowledgement, and one right after it if p still holds."""
    state = state_of(hold_s=0, cooldown_s=10)
    assert isinstance(state.observe(0.9, 0, 0), Started)
    state.delivered(5 * S)  # the store was away for 5 s
    assert isinstance(state.observe(0.1, 6 * S, 6 * S), Ended)
    assert state.observe(0.9, 14 * S, 14 * S) is None
    assert isinstance(state.observe(0.9, 15 * S, 15 * S), Started)


def test_a_restored_alert_ends_as_itself():
    """After a worker restart the open alert ends under its own id, with its whole duration."""
    state = state_of(hold_s=0)
    state.restore("a_old", started_ns=10 * S, delivered_ns=10 * S)
    ended = state.observe(0.1, 40 * S, 40 * S)
    assert isinstance(ended, Ended)
    assert (ended.alert, ended.duration_s) == ("a_old", 30.0)


@pytest.mark.parametrize("changes", [{"ask": "is it raining?"}, {"enabled": False}])
def test_changing_the_question_or_disabling_ends_the_alert(changes):
    """Nobody would see the end otherwise."""
    state = state_of(hold_s=0)
    state.observe(0.9, 0, 0)
    ended = state.revise(rule(hold_s=0, **changes), 3 * S)
    assert ended is not None
    assert ended.reason
    assert (state.alert, state.p) == (None, None)


def test_changing_thresholds_keeps_the_alert():
    """Moving a threshold is not an event, and p is still the answer to the same question."""
    state = state_of(hold_s=0)
    state.observe(0.9, 0, 0)
    assert state.revise(rule(hold_s=0, on=0.95, off=0.3), S) is None
    assert (state.alert, state.p) == ("a_1", 0.9)


def test_a_disabled_rule_is_silent():
    """enabled=False: no alert, whatever p says."""
    assert play(state_of(enabled=False, hold_s=0), [0.9, 0.9]) == []


@given(
    ps=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=80),
    hold_s=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    cooldown_s=st.sampled_from([0.0, 2.0, 30.0]),
)
def test_starts_and_ends_alternate_and_obey_cooldown(ps, hold_s, cooldown_s):
    """Whatever p does: start, end, start, end …; every start has a new id; starts lie cooldown_s apart."""
    seen = play(state_of(hold_s=hold_s, cooldown_s=cooldown_s), ps)
    kinds = [type(change) for _, change in seen]
    assert kinds == [Started, Ended] * (len(kinds) // 2) + [Started] * (len(kinds) % 2)
    starts = [(at_s, change.alert) for at_s, change in seen if isinstance(change, Started)]
    assert len({alert for _, alert in starts}) == len(starts)
    assert all(b - a >= cooldown_s for (a, _), (b, _) in itertools.pairwise(starts))
    for at_s, change in seen:
        assert ps[int(at_s * 2)] is not None, "only a known p moves a rule"
        if isinstance(change, Started):
            assert change.p >= change.rule.on


def test_recheck_is_due_at_first_then_every_recheck_s_and_after_hurry():
    """The first frame, every 10 s of frame time, and when a rule came."""
    recheck = Recheck(10)
    assert recheck.due(0)
    recheck.done(0)
    assert not recheck.due(9 * S)
    assert recheck.due(10 * S)
    recheck.done(10 * S)
    recheck.hurry()
    assert recheck.due(11 * S)
