"""What waits for a slow client: bounded, in order, and honest about what was lost."""

from __future__ import annotations

import json

import pytest

from clients.messages import Event
from clients.outbox import Outbox, OutboxLimits
from clients.wire import JSON, Outgoing


def outbox(**limits):
    return Outbox(JSON, OutboxLimits(**limits), lambda: None)


def taken(box):
    """All that waits, as maps."""
    messages = []
    while (payload := box.take()) is not None:
        messages.append(json.loads(payload))
    return messages


def note(seq, text=""):
    event = Event(seq, f"e_{seq}", "note", "dock", 0, {"text": text})
    return event, Outgoing(event.as_message())


def stats(n, camera="dock"):
    return ("stats", ("stats", camera), Outgoing({"type": "stats", "camera": camera, "n": n}))


def test_replies_first_lossy_last():
    box = outbox()
    box.put_lossy(*stats(1))
    box.put_event(*note(1))
    box.put_reply(Outgoing({"type": "result"}))
    assert [message["type"] for message in taken(box)] == ["result", "note", "stats"]
    assert not box.waiting


def test_events_keep_their_order_and_are_never_dropped():
    box = outbox(events=3)
    for n in range(5):
        box.put_event(*note(n))
    assert box.overflown
    assert [message["seq"] for message in taken(box)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "limits", [{"events": 2}, {"event_bytes": 2 * len(JSON.encode(note(1, "x" * 100)[0].as_message()))}]
)
def test_too_many_events_or_bytes_overflow(limits):
    box = outbox(**limits)
    for n in range(1, 3):
        box.put_event(*note(n, "x" * 100))
        assert not box.overflown
    box.put_event(*note(3, "x" * 100))
    assert box.overflown
    box.take()
    assert not box.overflown


def test_only_the_latest_lossy_message_of_a_key_is_sent_and_the_loss_is_told():
    box = outbox()
    assert box.put_lossy(*stats(1))
    assert not box.put_lossy(*stats(2))
    assert not box.put_lossy(*stats(3))
    assert box.put_lossy(*stats(9, "gate"))
    assert taken(box) == [
        {"type": "lagged", "dropped": {"stats": 2}},
        {"type": "stats", "camera": "dock", "n": 3},
        {"type": "stats", "camera": "gate", "n": 9},
    ]
    assert box.put_lossy(*stats(4))
    assert [message["type"] for message in taken(box)] == ["stats"]


def test_lossy_keys_are_bounded():
    box = outbox(lossy_keys=2)
    assert [box.put_lossy(*stats(n, f"c{n}")) for n in range(4)] == [True, True, False, False]
    assert [message.get("n") for message in taken(box)] == [None, 0, 1]


def test_pieces_of_an_answer_are_joined_while_nobody_takes_them():
    box = outbox()
    for piece in ("A ", "red ", "truck"):
        box.put_delta("q_1", piece)
    box.put_delta("q_2", "No")
    box.put_done("q_1", Outgoing({"type": "answer.done", "ask": "q_1"}))
    assert taken(box) == [
        {"type": "answer.delta", "ask": "q_1", "text": "A red truck"},
        {"type": "answer.delta", "ask": "q_2", "text": "No"},
        {"type": "answer.done", "ask": "q_1"},
    ]


def test_a_piece_after_one_was_taken_is_a_new_message():
    box = outbox()
    box.put_delta("q_1", "A ")
    assert taken(box)[0]["text"] == "A "
    box.put_delta("q_1", "truck")
    assert taken(box)[0]["text"] == "truck"


def test_events_that_are_unsubscribed_are_taken_back():
    box = outbox()
    for n in range(4):
        box.put_event(*note(n))
    box.put_event(None, Outgoing({"type": "gap"}))
    box.keep_events(lambda event: event.seq % 2 == 0)
    assert [message.get("seq") for message in taken(box)] == [0, 2, None]
    assert box.event_bytes == 0


def test_replies_say_when_there_is_no_room():
    box = outbox(replies=2)
    box.put_reply(Outgoing({}))
    assert box.room_for_replies
    box.put_reply(Outgoing({}))
    assert not box.room_for_replies


def test_every_change_wakes():
    woken = []
    box = Outbox(JSON, OutboxLimits(), lambda: woken.append(1))
    box.put_reply(Outgoing({}))
    box.put_event(*note(1))
    box.put_lossy(*stats(1))
    box.put_delta("q", "x")
    assert len(woken) == 4
    taken(box)
    assert len(woken) == 8
