"""How a camera stands: every way from state to state, and the gap that an interruption leaves."""

from streaming.clock import NS_PER_S
from streaming.sources.health import Change, Health
from streaming.types import CameraState as State

S = NS_PER_S


def live(stale_s=5.0):
    """A camera whose newest picture, taken at wall time 100 s, came at monotonic 1 s."""
    health = Health(stale_s=stale_s)
    assert health.picture(100 * S, 1 * S) == Change(State.LIVE)
    return health


def test_begins_connecting_and_the_first_picture_makes_it_live():
    """There is no gap before the first picture, and nothing to say about the second."""
    health = Health(stale_s=5)
    assert health.state is State.CONNECTING
    assert health.check(10**15) is None, "nothing turns stale that never was live"
    assert health.picture(100 * S, 1 * S) == Change(State.LIVE)
    assert health.picture(101 * S, 2 * S) is None


def test_silence_is_stale_exactly_once():
    """At stale_s after the newest picture, not before, and not again."""
    health = live()
    assert health.deadline_ns() == 6 * S
    assert health.check(6 * S - 1) is None
    change = health.check(6 * S)
    assert change is not None
    assert change.state is State.STALE
    assert change.reason == "no picture for 5 s while the connection stands"
    assert health.check(60 * S) is None
    assert health.deadline_ns() is None


def test_the_gap_reaches_from_picture_to_picture():
    """When pictures flow again, the gap is between the last before and the first after."""
    health = live()
    health.check(6 * S)
    assert health.picture(109 * S, 10 * S) == Change(State.LIVE, gap=(100 * S, 109 * S))
    assert health.picture(110 * S, 11 * S) is None


def test_stale_then_offline_then_live_is_one_gap():
    """However many things happen in between, the gap is told once."""
    health = live()
    health.check(6 * S)
    assert health.lost("gone", retryable=True) == Change(State.OFFLINE, "gone")
    assert health.lost("still gone", retryable=True) == Change(State.OFFLINE, "still gone")
    assert health.lost("still gone", retryable=True) is None, "the same again is no news"
    assert health.check(10**15) is None, "without a connection there is nothing to be stale"
    assert health.picture(150 * S, 60 * S) == Change(State.LIVE, gap=(100 * S, 150 * S))


def test_a_quick_reconnection_is_told_too():
    """Even without ever being stale, a lost connection is offline, then live with a gap."""
    health = live()
    health.lost("closed", retryable=True)
    assert health.picture(101 * S, 2 * S) == Change(State.LIVE, gap=(100 * S, 101 * S))


def test_what_needs_a_person_is_failed_and_can_still_come_back():
    """A first connection that is refused leaves no gap when it works at last."""
    health = Health(stale_s=5)
    assert health.lost("401", retryable=False) == Change(State.FAILED, "401")
    assert health.picture(100 * S, 1 * S) == Change(State.LIVE)


def test_the_end_is_no_interruption():
    """A file that ended is `ended`, is never stale, and says why only if there is something to say."""
    health = live()
    assert health.ended() == Change(State.ENDED)
    assert health.check(10**15) is None
    assert live().ended("truncated") == Change(State.ENDED, "truncated")
