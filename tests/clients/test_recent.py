"""The newest events: without a hole, within their bounds, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.messages import Event
from clients.outbox import OutboxLimits
from clients.recent import Recent
from clients.wire import MSGPACK, Outgoing


def said(seq: int, size: int) -> tuple[Event, Outgoing]:
    event = Event(seq, f"e_{seq}", "note", "dock", 1000, {"text": "x" * size})
    return event, Outgoing(event.as_message())


@given(
    steps=st.lists(st.tuples(st.sampled_from([1, 1, 1, 1, 3]), st.integers(0, 200)), max_size=40),
    events=st.integers(1, 8),
    event_bytes=st.integers(1, 1500),
    limit=st.integers(1, 5),
)
def test_what_follows_is_given_in_order_while_it_is_held(
    steps: list[tuple[int, int]], events: int, event_bytes: int, limit: int
) -> None:
    """Steps of more than 1 are holes: nothing before the last of them is held."""
    recent = Recent(OutboxLimits(events=events, event_bytes=event_bytes))
    known: list[tuple[Event, Outgoing]] = []
    seq = 0
    for step, size in steps:
        seq += step
        known = [*(known if step == 1 else []), said(seq, size)]
        recent.add(*known[-1])
        assert len(recent) <= events
        held = known[len(known) - len(recent) :]
        assert sum(len(message.encoded(MSGPACK)) for _, message in held) <= event_bytes
        for place, (event, _) in enumerate(held):
            assert recent.after(event.seq - 1, limit) == held[place : place + limit]
        assert recent.after(seq, limit) == []
        assert recent.after(seq - len(held) - 1, limit) == []
    recent.clear()
    assert len(recent) == 0
    assert recent.after(seq - 1, limit) == []
