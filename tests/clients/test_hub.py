"""Fan-out: live and replayed events meet without a loss or a repetition."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.hub import RESET, SLOW, Ending, Hub
from clients.messages import Event
from clients.metrics import Metrics
from clients.outbox import OutboxLimits
from clients.wire import JSON, MSGPACK


def event(seq, kind="note", camera="dock", **data):
    return Event(seq, f"e_{seq}", kind, camera, 1000, data)


def a_hub(head=0, **limits):
    return Hub(head, OutboxLimits(**limits), Metrics())


def joined(hub, codec=JSON):
    """A subscriber, and the list of its endings."""
    endings: list[Ending] = []
    return hub.join(codec, wake=lambda: None, end=endings.append), endings


def taken(subscriber):
    messages = []
    while (payload := subscriber.outbox.take()) is not None:
        messages.append(json.loads(payload))
    return messages


def seqs(subscriber):
    return [message["seq"] for message in taken(subscriber)]


def test_a_live_subscriber_gets_what_it_wants():
    hub = a_hub(head=7)
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 7)
    hub.publish([event(8), event(9, "answer", ask="q"), event(10)])
    assert seqs(subscriber) == [8, 10]


def test_one_that_is_gone_gets_nothing():
    hub = a_hub()
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 0)
    hub.leave(subscriber)
    hub.publish([event(1)])
    assert seqs(subscriber) == []


def test_replay_then_live():
    """Events published while the replay runs come once, from the store."""
    hub = a_hub(head=4)
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 0)
    assert not subscriber.live
    subscriber.replay([event(1), event(2)], head=hub.head)
    hub.publish([event(5)])
    assert not subscriber.live
    subscriber.replay([event(3), event(4), event(5)], head=hub.head)
    assert subscriber.live
    hub.publish([event(6)])
    assert seqs(subscriber) == [1, 2, 3, 4, 5, 6]


def test_a_page_that_runs_ahead_of_the_hub_is_not_repeated():
    """The store may show events that the tail has not brought yet."""
    hub = a_hub(head=2)
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 0)
    subscriber.replay([event(1), event(2), event(3)], head=hub.head)
    assert subscriber.live
    hub.publish([event(3), event(4)])
    assert seqs(subscriber) == [1, 2, 3, 4]


def test_an_empty_page_that_is_already_outdated_does_not_make_it_live():
    """The store was read just before an event, and the event was published just before the page was handed in."""
    hub = a_hub(head=1)
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 0)
    hub.publish([event(2)])
    subscriber.replay([], head=hub.head)
    assert not subscriber.live


def test_a_hole_in_the_tail_sends_everybody_to_the_store():
    """The gateway was cut off, and events were trimmed meanwhile: the replay tells the gap."""
    hub = a_hub(head=3)
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 3)
    hub.publish([event(9)])
    assert not subscriber.live
    assert subscriber.cursor == 3
    subscriber.trimmed(9, 1000, now_ms=5)
    subscriber.replay([event(9)], head=hub.head)
    gap, last = taken(subscriber)
    assert gap == {
        "type": "gap", "seq": 8, "event": "e_trimmed_8", "ts": 5, "from": None, "to": 1000, "from_seq": 4, "to_seq": 8,
        "reason": "trimmed",
    }  # fmt: skip
    assert last["seq"] == 9


def test_who_missed_little_is_given_it_from_memory():
    """Once encoded for all; older events are the store's."""
    hub = a_hub(head=3, events=4)
    hub.publish([event(n) for n in range(4, 10)])
    away, _ = joined(hub)
    away.subscribe(["note"], None, 5)
    assert hub.recall(away, 3)
    assert not away.live
    assert hub.recall(away, 3)
    assert away.live
    assert seqs(away) == [6, 7, 8, 9]
    older, _ = joined(hub)
    older.subscribe(["note"], None, 4)
    assert not hub.recall(older, 3)
    assert older.cursor == 4


def test_memory_ends_at_a_hole_and_at_a_store_that_went_back():
    hub = a_hub(head=0)
    hub.publish([event(1), event(2), event(5)])
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 1)
    assert not hub.recall(subscriber, 10)
    subscriber.replay([event(2)], head=hub.head)
    assert not hub.recall(subscriber, 10)  # what was in the hole is the store's to tell
    subscriber.trimmed(5, 1000, now_ms=5)
    assert hub.recall(subscriber, 10)
    hub.rewind(4)
    hub.publish([event(5)])
    late, _ = joined(hub)
    late.subscribe(["note"], None, 3)
    assert not hub.recall(late, 10)


def test_memory_is_bounded_in_bytes():
    hub = a_hub(head=0, event_bytes=1000)
    hub.publish([event(n, text="x" * 300) for n in range(1, 50)])
    assert 1 <= len(hub._recent) <= 3
    hub.publish([event(50, text="x" * 3000)])
    assert len(hub._recent) == 0


def test_events_seen_before_are_passed_over():
    hub = a_hub()
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note"], None, 0)
    hub.publish([event(1), event(2)])
    hub.publish([event(1), event(2), event(3)])
    assert seqs(subscriber) == [1, 2, 3]


def test_a_client_that_is_too_slow_is_ended_and_the_others_go_on():
    hub = a_hub(events=3)
    (slow, slow_endings), (fast, fast_endings) = joined(hub), joined(hub, MSGPACK)
    for subscriber in (slow, fast):
        subscriber.subscribe(["note"], None, 0)
    for n in range(1, 6):
        hub.publish([event(n)])
        fast.outbox.take()
    assert SLOW in slow_endings
    assert fast_endings == []


def test_unsubscribing_takes_back_what_waits():
    hub = a_hub()
    subscriber, _ = joined(hub)
    subscriber.subscribe(["note", "stats"], None, 0)
    hub.publish([event(1), event(2, camera="gate")])
    hub.publish_lossy({"topic": "stats", "camera": "dock"})
    subscriber.unsubscribe(["note", "stats"], frozenset({"dock"}))
    assert seqs(subscriber) == [2]


def test_a_store_that_went_back_ends_those_who_know_more_than_it():
    hub = a_hub(head=10)
    (_, endings), (behind, no_endings) = joined(hub), joined(hub)
    behind.subscribe(["note"], None, 2)
    hub.rewind(5)
    assert endings == [RESET]
    assert no_endings == []
    assert hub.head == 5


def test_the_answer_goes_to_whoever_asked():
    """Pieces that come before the result wait for it; the durable event ends the answer and is an event besides."""
    hub = a_hub()
    (asker, _), (other, _) = joined(hub), joined(hub)
    other.subscribe(["answer"], None, 0)
    hub.expect_answer("q_1", asker)
    hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": "q_1", "text": "A "})
    assert taken(asker) == []
    hub.answer_may_flow("q_1")
    hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": "q_1", "text": "truck"})
    hub.publish([event(1, "answer", ask="q_1", text="A truck", status="completed")])
    hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": "q_1", "text": "late"})
    assert taken(asker) == [
        {"type": "answer.delta", "ask": "q_1", "text": "A truck"},
        {"type": "answer.done", "camera": "dock", "ask": "q_1", "text": "A truck", "status": "completed"},
    ]
    assert [message["type"] for message in taken(other)] == ["answer"]


def test_the_askers_remembered_are_bounded():
    hub = Hub(0, OutboxLimits(), Metrics(), max_asks=3)
    subscriber, _ = joined(hub)
    for n in range(10):
        hub.expect_answer(f"q_{n}", subscriber)
        hub.answer_may_flow(f"q_{n}")
    hub.publish([event(n + 1, "answer", ask=f"q_{n}") for n in range(10)])
    assert [message["ask"] for message in taken(subscriber)] == ["q_7", "q_8", "q_9"]


def test_lossy_messages_reach_those_who_want_them_and_the_latest_wins():
    hub = a_hub()
    subscriber, _ = joined(hub)
    subscriber.subscribe(["trace", "heat"], frozenset({"dock"}), 0)
    for p in (0.1, 0.2):
        hub.publish_lossy({"topic": "trace", "camera": "dock", "rule": "r_1", "p": p})
    hub.publish_lossy({"topic": "trace", "camera": "dock", "rule": "r_2", "p": 0.3})
    hub.publish_lossy({"topic": "trace", "camera": "gate", "rule": "r_3", "p": 0.4})
    hub.publish_lossy({"topic": "heat", "camera": "dock", "hw": [1, 8], "kept": b"\xff"})
    assert taken(subscriber) == [
        {"type": "lagged", "dropped": {"trace": 1}},
        {"type": "trace", "camera": "dock", "rule": "r_1", "p": 0.2},
        {"type": "trace", "camera": "dock", "rule": "r_2", "p": 0.3},
        {"type": "heat", "camera": "dock", "hw": [1, 8], "kept": "/w=="},
    ]


@pytest.mark.parametrize(
    "message",
    [{}, {"topic": "note", "camera": "dock"}, {"topic": "stats"}, {"topic": 5, "camera": 5}, {"topic": "delta"}],
)
def test_lossy_nonsense_is_passed_over(message):
    hub = a_hub()
    subscriber, _ = joined(hub)
    subscriber.subscribe(["stats", "note"], None, 0)
    hub.publish_lossy(message)
    assert taken(subscriber) == []


def test_everybody_is_told_before_the_end():
    hub = a_hub()
    subscriber, endings = joined(hub)
    hub.go_away(500)
    hub.end_all(Ending(1001, "going away"))
    assert taken(subscriber) == [{"type": "go_away", "time_left_ms": 500}]
    assert [ending.code for ending in endings] == [1001]


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), after=st.integers(0, 30), page=st.integers(1, 7))
def test_any_interleaving_of_pages_and_pushes_gives_each_event_once_in_order(seed, after, page):
    """
    A store that grows, a tail that lags behind it by any amount, a memory of the last few events, and a replayer whose
    pages may be outdated when they are handed in.
    """
    rng = random.Random(seed)
    stored = [event(n) for n in range(1, 31)]
    hub = a_hub(head=rng.randint(after, 30) if after < 30 else 30, events=40)
    hub._recent._limits = OutboxLimits(events=rng.randint(1, 8))
    newest = hub.head
    subscriber, endings = joined(hub)
    subscriber.subscribe(["note"], None, after)
    read: tuple[int, list[Event]] | None = None
    while newest < 30 or hub.head < 30 or not subscriber.live:
        move = rng.choice(["grow", "tail", "recall", "read", "hand in"])
        if move == "grow":
            newest = min(30, newest + 1)
        elif move == "tail":
            upto = rng.randint(hub.head, newest)
            hub.publish(stored[hub.head : upto])
        elif move == "recall" and not subscriber.live:
            hub.recall(subscriber, page)
        elif move == "read" and not subscriber.live and read is None:
            read = (subscriber.cursor, stored[subscriber.cursor : newest][:page])
        elif move == "hand in" and read is not None:
            cursor, events = read
            read = None
            if cursor == subscriber.cursor and not subscriber.live:
                subscriber.replay(events, head=hub.head)
    assert seqs(subscriber) == list(range(after + 1, 31))
    assert endings == []
