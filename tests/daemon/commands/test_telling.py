"""Each message of the wire is one line that a person understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.messages import DURABLE
from daemon.commands.telling import DETAILS, bar, style, tell


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "alert.started", "rule": "r_8", "p": 0.93, "age_ms": 212}, "ALERT r_8  p 0.930, 212 ms old"),
        (
            {"type": "alert.started", "rule": "r_8", "p": 0.9, "age_ms": 1, "text": "a truck"},
            "ALERT r_8 a truck  p 0.9",
        ),
        ({"type": "alert.ended", "rule": "r_8", "duration_s": 12.5}, "ended r_8  after 12.5 s"),
        ({"type": "camera.state", "state": "offline", "reason": "refused"}, "offline: refused"),
        ({"type": "camera.state", "state": "live", "reason": None}, "live"),
        ({"type": "gap", "from": 1000, "to": 3500, "reason": "reconnect"}, "gap of 2.5 s: reconnect"),
        ({"type": "gap", "reason": "trimmed"}, "gap: trimmed"),
        ({"type": "answer", "text": "A truck.", "status": "completed"}, "A truck."),
        ({"type": "answer", "text": "A", "status": "cancelled"}, "A [cancelled]"),
        (
            {"type": "answer", "text": "At 9 pm.", "status": "completed", "doubtful": ["9 pm"]},
            "At 9 pm. (not borne out: 9 pm)",
        ),
        ({"type": "note", "text": "A truck came."}, "note: A truck came."),
        ({"type": "lagged", "dropped": {"stats": 12}}, "this connection lags: 12 stats dropped"),
        ({"type": "trace", "rule": "r_8", "p": None}, "r_8 p unknown"),
        ({"type": "from.the.future", "x": 1}, "from.the.future"),
    ],
)
def test_what_is_told(message: dict[str, object], said: str) -> None:
    """The line says what happened; a missing field is unknown, an unknown kind is told by its name."""
    assert said in tell(message)


def test_where_and_when_come_first() -> None:
    """seq, time of day and camera stand before the rest."""
    line = tell({"type": "camera.state", "seq": 48213, "ts": 1_790_000_000_000, "camera": "dock", "state": "live"})
    assert line.split()[0] == "48213"
    assert line.split()[2:] == ["dock", "live"]


@pytest.mark.parametrize("kind", DURABLE)
def test_every_durable_kind_is_told(kind: str) -> None:
    """No durable event falls back to its bare name, and none needs a field that may be missing."""
    assert kind in DETAILS
    tell({"type": kind})
    style({"type": kind})


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(2, 80))
def test_the_bar_always_fits(p: float, on: float, off: float, width: int) -> None:
    """The bar has its width at any p, and shows the upper threshold."""
    drawn = bar(p, on, off, width)
    assert len(drawn) == width
    assert "|" in drawn
