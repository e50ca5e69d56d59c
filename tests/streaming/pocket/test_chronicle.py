"""What pictures have shown so far: only what was surely seen counts, and nothing that has not been shown yet."""

from __future__ import annotations

from hypothesis import given, settings

from streaming.pocket.chronicle import SEEN, Chronicle
from streaming.pocket.types import Colour, Event, Happening, Kind

from .scripts import PACE, SEEDS, bare, sighting, told, truth


def test_a_thing_counts_from_its_first_sure_sighting() -> None:
    """In the order in which each was first seen whole enough; one seen in part only makes the count unsure."""
    chronicle = Chronicle(())
    chronicle.add(truth(sighting(Kind.CAR, thing=1, visible=0.3)))
    assert chronicle.first_seen((Kind.CAR,)) is None
    chronicle.add(truth(sighting(Kind.BICYCLE, thing=2), sighting(Kind.CAR, thing=1, visible=0.1), t_s=1))
    assert chronicle.first_seen((Kind.CAR,)) is None, "a hint stays until the thing is surely seen"
    chronicle.add(truth(sighting(Kind.CAR, thing=1), t_s=2))
    chronicle.add(truth(t_s=3))
    both = chronicle.first_seen((Kind.CAR, Kind.BICYCLE))
    assert both is not None
    assert [one.thing for one in both] == [2, 1]
    assert chronicle.first_seen((Kind.DOG,)) == []


def test_old_pictures_are_forgotten_and_what_they_showed_is_not() -> None:
    chronicle = Chronicle((), recent_s=2.0)
    for t_s in range(50):
        chronicle.add(truth(*([sighting(Kind.DOG)] if t_s == 3 else []), t_s=t_s))
    assert [each.t_s for each in chronicle.truths] == [47, 48, 49]
    assert chronicle.first_seen((Kind.DOG,))


def test_a_taken_bag_is_told_when_that_was_seen() -> None:
    """ "" before; nothing sure just afterwards; its colour later; nothing sure if nobody saw it lie there."""
    taken = (Event(5.0, Happening.TAKEN, 7, Kind.BAG, Colour.RED),)
    seen, unseen = Chronicle(taken), Chronicle(taken)
    for t_s in (3.0, 4.9):
        seen.add(truth(sighting(Kind.BAG, thing=7), t_s=t_s))
        unseen.add(truth(sighting(Kind.BAG, thing=7, visible=SEEN / 2), t_s=t_s))
        assert seen.last_taken() == unseen.last_taken() == ""
    for t_s, answer in ((5.2, None), (6.0, Colour.RED), (60.0, Colour.RED)):
        seen.add(truth(t_s=t_s))
        unseen.add(truth(t_s=t_s))
        assert seen.last_taken() == answer
        assert unseen.last_taken() is None


@given(SEEDS, PACE)
@settings(max_examples=8, deadline=None)
def test_the_past_only_grows(seed: int, pace: str) -> None:
    """Who was seen once stays seen, in the same order, under one colour."""
    before: list[tuple[int, Colour]] = []
    for chronicle in told(bare(seed, pace), step_s=0.5):
        now = [(one.thing, one.colour) for one in chronicle.first_seen(tuple(Kind)) or ()]
        if now:
            assert now[: len(before)] == before
            before = now
