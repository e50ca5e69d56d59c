"""daemon/restart.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import EXIT_CONFIGURATION
from daemon.restart import Again, Ended, GiveUp, RestartPolicy, RestartSettings, shares

SETTINGS = RestartSettings(first_s=1, factor=2, cap_s=10, jitter=0, healthy_s=30, attempts=4)


def policy(settings: RestartSettings = SETTINGS, random: float = 0.5) -> RestartPolicy:
    return RestartPolicy("w0", settings, lambda: random)


def died(ran_s: float = 5.0, *, status: int = 1, started: bool = True, **more: str) -> Ended:
    return Ended(status, ran_s, started, **more)


def test_pauses_double_up_to_the_cap():
    """A child that keeps dying is started less and less often, and never given up once it has worked."""
    restarts = policy()
    pauses = [restarts.ended(died()) for _ in range(100)]
    assert pauses[:6] == [Again(1), Again(2), Again(4), Again(8), Again(10), Again(10)]
    assert pauses[-1] == Again(10)


def test_a_healthy_run_forgets():
    """After it has run well the next end counts as the first."""
    restarts = policy()
    for _ in range(5):
        restarts.ended(died())
    assert restarts.ended(died(ran_s=30)) == Again(1)
    assert restarts.ended(died()) == Again(2)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_jitter_is_bounded(random, jitter, ends):
    """Chance moves a pause by at most its share, and never below nothing."""
    restarts = policy(RestartSettings(first_s=1, factor=2, cap_s=10, jitter=jitter), random)
    for _ in range(ends):
        verdict = restarts.ended(died(ran_s=0))
    plain_s = min(10, 2 ** (ends - 1))
    assert plain_s * (1 - jitter) - 1e-9 <= verdict.pause_s <= plain_s * (1 + jitter) + 1e-9
    assert verdict.pause_s >= 0


def test_configuration_errors_are_final():
    """Exit status 78 is not tried again, at the first start or years later; its last line is the reason."""
    verdict = GiveUp("w0 cannot run as configured: no model 'qwen'")
    assert policy().ended(died(status=EXIT_CONFIGURATION, last_line="no model 'qwen'")) == verdict
    later = policy()
    later.ended(died(ran_s=1e6))
    assert later.ended(died(status=EXIT_CONFIGURATION, last_line="no model 'qwen'")) == verdict


def test_hopeless_is_final():
    """What its last words say cannot be helped is not tried again."""
    assert policy().ended(died(hopeless="the file is damaged")) == GiveUp("w0: the file is damaged")


def test_never_started():
    """A child that has never once started is given up after the attempts, with how it ended and its last words."""
    restarts = policy()
    verdicts = [restarts.ended(died(0.1, status=-11, started=False, last_line="oops")) for _ in range(4)]
    assert all(isinstance(verdict, Again) for verdict in verdicts[:3])
    assert verdicts[3] == GiveUp("w0 did not start in 4 attempts (killed by signal 11): oops")


def test_a_slow_failure_is_one_too():
    """Attempts that take long before they fail are given up all the same."""
    restarts = policy(RestartSettings(attempts=3, healthy_s=30))
    verdicts = [restarts.ended(died(120, started=False)) for _ in range(3)]
    assert isinstance(verdicts[-1], GiveUp)


def test_once_started_is_started():
    """After one success a row of failed starts is backed off from, not given up."""
    restarts = policy()
    restarts.ended(died(started=True))
    assert all(isinstance(restarts.ended(died(0.1, started=False)), Again) for _ in range(50))


@pytest.mark.parametrize(
    ("total_s", "stages", "reserve_s", "deadlines_s"),
    [(10, 3, 1.5, [7.0, 8.5, 10.0]), (10, 1, 1.5, [10.0]), (1, 3, 1.5, [0.0, 0.0, 1.0]), (10, 0, 1.5, [])],
)
def test_shares(total_s, stages, reserve_s, deadlines_s):
    """Every stage leaves the later ones their reserve, and the last may use all that is left."""
    assert shares(total_s, stages, reserve_s) == deadlines_s
