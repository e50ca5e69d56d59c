"""What one connection wants, and what it was given already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import Limit
from clients.interests import MAX_INTERESTS, Interests
from clients.messages import Event


def event(seq, kind="note", camera="dock"):
    return Event(seq, f"e_{seq}", kind, camera, 0)


def test_topics_and_cameras_select():
    interests = Interests()
    interests.add(["note", "alert"], frozenset({"dock"}), 0)
    assert interests.want_event(event(1))
    assert interests.want_event(event(2, "alert.ended"))
    assert not interests.want_event(event(3, "answer"))
    assert not interests.want_event(event(4, camera="gate"))


def test_all_cameras_are_those_added_later_and_none_too():
    interests = Interests()
    interests.add(["note", "gap"], None, 0)
    assert interests.want_event(event(1, camera="new"))
    assert interests.want_event(event(2, "gap", camera=None))


def test_events_at_or_before_the_start_are_not_wanted():
    interests = Interests()
    interests.add(["note"], None, 5)
    assert not interests.want_event(event(5))
    assert interests.want_event(event(6))


def test_reaching_back_for_one_topic_does_not_repeat_another():
    """alert from 0 has run to 100; note from 50 goes back: alerts up to 100 are not repeated, notes after 50 come."""
    interests = Interests()
    interests.add(["alert"], None, 0)
    interests.cover(100)
    interests.add(["note"], None, 50)
    assert not interests.want_event(event(60, "alert.started"))
    assert interests.want_event(event(60))
    assert interests.want_event(event(101, "alert.started"))


def test_unsubscribing_some_cameras_of_all():
    interests = Interests()
    interests.add(["note"], None, 0)
    interests.remove(["note"], frozenset({"dock"}))
    assert not interests.want_event(event(1))
    assert interests.want_event(event(2, camera="gate"))
    interests.remove(["note"], None)
    assert not interests.want_event(event(3, camera="gate"))
    assert len(interests) == 0


def test_the_same_subscription_twice_is_one():
    interests = Interests()
    assert interests.add(["note"], None, 0)
    assert not interests.add(["note"], None, 0)
    assert not interests.add(["note"], frozenset({"dock"}), 7)
    assert len(interests) == 1


def test_a_camera_taken_out_of_all_can_be_had_back():
    interests = Interests()
    interests.add(["note"], None, 0)
    interests.remove(["note"], frozenset({"dock"}))
    assert interests.add(["note"], frozenset({"dock"}), 3)
    assert interests.want_event(event(4))


def test_the_number_of_subscriptions_is_bounded():
    interests = Interests()
    for n in range(MAX_INTERESTS):
        interests.add(["note"], frozenset({f"c{n}"}), 0)
    with pytest.raises(Limit):
        interests.add(["note"], frozenset({"one-too-many"}), 0)
    assert not interests.want("note", "one-too-many")


KINDS = {"note": "note", "alert": "alert.started", "gap": "gap"}
cameras = st.none() | st.frozensets(st.sampled_from("abc"), min_size=1)
topics = st.lists(st.sampled_from(list(KINDS)), min_size=1, unique=True)


@given(
    log=st.lists(st.tuples(st.sampled_from(list(KINDS.values())), st.sampled_from("abc")), min_size=1, max_size=20),
    subscriptions=st.lists(st.tuples(st.integers(0, 20), topics, cameras, st.integers(0, 20)), min_size=1, max_size=5),
)
def test_however_subscriptions_overlap_each_wanted_event_comes_exactly_once(log, subscriptions):
    """
    A walk over the log, during which subscriptions are made at some point and reach back to another: whoever is
    subscribed gets every event after the earliest `start` once, whatever the order of the requests.
    """
    events = [event(n + 1, kind, camera) for n, (kind, camera) in enumerate(log)]
    interests, cursor, given_ = Interests(), 0, []
    todo = [
        (min(at, len(events)), wanted, chosen, min(start, len(events))) for at, wanted, chosen, start in subscriptions
    ]
    expected = {
        each.seq
        for each in events
        for _, wanted, chosen, start in todo
        if each.topic in wanted and (chosen is None or each.camera in chosen) and each.seq > start
    }
    while todo or cursor < len(events):
        due = next((each for each in todo if each[0] <= cursor), None)
        if due is not None:
            todo.remove(due)
            _, wanted, chosen, start = due
            interests.cover(cursor)
            if interests.add(wanted, chosen, start) and start < cursor:
                cursor = start
        elif cursor < len(events):
            cursor += 1
            if interests.want_event(events[cursor - 1]):
                given_.append(cursor)
        else:
            todo = [(cursor, *each[1:]) for each in todo]
    assert sorted(given_) == sorted(expected)
