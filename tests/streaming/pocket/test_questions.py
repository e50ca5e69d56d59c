"""Questions: each has its right answer among the possible ones, and none contradicts the truth or another."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings

from streaming.pocket import questions
from streaming.pocket.chronicle import Chronicle
from streaming.pocket.questions import (
    CHANGES,
    NO,
    NOTHING,
    NUMBERS,
    PLACES,
    RULES,
    SEEN,
    UNKNOWN,
    UNSEEN,
    YES,
    Question,
    Topic,
    ask,
    describe,
    place,
    present,
    words,
)
from streaming.pocket.types import PALETTE, VEHICLES, Colour, Event, Happening, Kind, Truth

from .scripts import PACE, SEEDS, TIMES, bare, sighting, told, truth


def by_text(asked: list[Question]) -> dict[str, Question]:
    """One question for every text, whichever paraphrase."""
    return {text: question for question in asked for text in question.texts}


def settled(shown: Truth, kind: Kind, colour: Colour | None = None) -> bool | None:
    """Whether a kind is there, worked out on its own: None where all there is of it is half hidden."""
    shares = [one.visible for one in shown.sightings if one.kind is kind and colour in (None, one.colour)]
    if max(shares, default=0.0) >= SEEN:
        return True
    return None if max(shares, default=0.0) > UNSEEN else False


@given(SEEDS, PACE)
@settings(max_examples=12, deadline=None)
def test_every_question_has_its_answer_among_the_possible(seed: int, pace: str) -> None:
    """Of all moments of a scene: answer in answers, several ways to ask, no text twice in a moment."""
    for chronicle in told(bare(seed, pace), step_s=1.0):
        asked = ask(chronicle, chronicle.now.t_s)
        for question in asked:
            assert question.answer in question.answers
            assert len(question.answers) == len(set(question.answers)) >= 2
            assert len(question.texts) >= 3
        texts = Counter(text for question in asked for text in question.texts)
        assert max(texts.values()) == 1
        assert [question.topic for question in asked] == sorted(
            (question.topic for question in asked), key=[Topic.PRESENT, Topic.CHANGE, Topic.PAST].index
        )


@given(SEEDS, PACE, TIMES)
@settings(max_examples=60, deadline=None)
def test_the_present_is_what_the_truth_says(seed: int, pace: str, t_s: float) -> None:
    """Yes and no, colours, places and counts equal those of the sightings; the half hidden is left out."""
    shown = bare(seed, pace).truth(t_s)
    asked = by_text(present(shown))
    assert asked["Is the lamp on?"].answer == (YES if shown.lamp_on else NO)
    assert asked["Is the door open?"].answer == (YES if shown.door_open else NO)
    for kind in Kind:
        name = kind.value
        there = settled(shown, kind)
        text = "Is a bag on the ground?" if kind is Kind.BAG else f"Is a {name} there?"
        assert (asked[text].answer if text in asked else None) == {True: YES, False: NO, None: None}[there]
        whole = [one for one in shown.sightings if one.kind is kind and one.visible >= SEEN]
        hidden = [one for one in shown.sightings if one.kind is kind and UNSEEN < one.visible < SEEN]
        colour = asked.get(
            "What colour does the person wear?" if kind is Kind.PERSON else f"What colour is the {name}?"
        )
        assert (colour is None) == (len(whole) > 1 or bool(hidden))
        if colour is not None:
            assert colour.answer == (whole[0].colour if whole else UNKNOWN)
        where = asked.get(f"Where is the {name}?")
        if where is not None and whole:
            assert PLACES.index(where.answer) == min(2, int(whole[0].x * 3))
    for colour in PALETTE[Kind.CAR]:
        assert (f"Is a {colour} car there?" in asked) == (settled(shown, Kind.CAR, colour) is not None)
    people = [one.visible for one in shown.sightings if one.kind is Kind.PERSON]
    if count := asked.get("How many people are there?"):
        assert count.answer == NUMBERS[sum(share >= SEEN for share in people)]
        assert (asked["Are two or more people there?"].answer == YES) == (count.answer in NUMBERS[2:])


@given(SEEDS, PACE, TIMES)
@settings(max_examples=60, deadline=None)
def test_a_description_names_all_there_is(seed: int, pace: str, t_s: float) -> None:
    """Every thing once with its colour, from left to right; the lamp; nothing at all where a thing is half hidden."""
    shown = bare(seed, pace).truth(t_s)
    said = describe(shown)
    half = any(UNSEEN < one.visible < SEEN for one in shown.sightings)
    assert (said is None) == half
    if said is not None:
        whole = [one for one in shown.sightings if one.visible >= SEEN]
        assert said.count("a person in ") == sum(one.kind is Kind.PERSON for one in whole)
        for one in whole:
            assert (f"a person in {one.colour}" if one.kind is Kind.PERSON else f"a {one.colour} {one.kind}") in said
        assert said.startswith("Nobody is there.") == (not whole)
        assert said.endswith(f"The lamp is {'on' if shown.lamp_on else 'off'}.")


def test_a_description_reads_like_a_sentence() -> None:
    shown = truth(
        sighting(Kind.PERSON, thing=1, colour=Colour.BLUE, x=0.6, at_door=True),
        sighting(Kind.CAR, thing=2, x=0.1),
        lamp_on=True,
    )
    assert describe(shown) == "a person in blue at the door and a red car on the left. The lamp is on."
    assert describe(truth()) == "Nobody is there. The lamp is off."


@pytest.mark.parametrize("kind", [Kind.CAR, Kind.DOG, Kind.BICYCLE, Kind.BAG])
@pytest.mark.parametrize(("visible", "answer"), [(1.0, YES), (SEEN, YES), (0.35, None), (UNSEEN, NO), (0.0, NO)])
def test_what_is_half_hidden_is_not_asked_for(kind: Kind, visible: float, answer: str | None) -> None:
    asked = {q.kind: q for q in present(truth(sighting(kind, visible=visible))) if q.kind == f"is_{kind}"}
    assert (asked[f"is_{kind}"].answer if asked else None) == answer


@pytest.mark.parametrize(
    ("x", "sure", "rough"),
    [(0.1, "left", "left"), (0.32, None, "left"), (0.34, None, "middle"), (0.5, "middle", "middle"),
     (0.66, None, "middle"), (0.68, None, "right"), (0.9, "right", "right")],
)  # fmt: skip
def test_places_are_thirds_and_unsure_near_their_borders(x: float, sure: str | None, rough: str) -> None:
    assert (place(x), place(x, sure=False)) == (sure, rough)


@given(SEEDS, PACE)
@settings(max_examples=8, deadline=None)
def test_mirrored_scenes_mirror_the_answers(seed: int, pace: str) -> None:
    """Left becomes right in places and ways, all else stays; but for what a pixel more or less decides."""
    swap = {"left": "right", "right": "left"}
    same, asked = 0, 0
    both = (told(bare(seed, pace, mirror=mirror), step_s=1.0) for mirror in (False, True))
    for one, other in zip(*both, strict=True):
        here, there = by_text(ask(one, one.now.t_s)), by_text(ask(other, other.now.t_s))
        for text in here.keys() & there.keys():
            asked += 1
            turned = text.startswith(("Where is", "In which", "On which", "Which way", "Where does"))
            answer = here[text].answer
            same += there[text].answer == (swap.get(answer, answer) if turned else answer)
    assert same >= 0.99 * asked


@given(SEEDS, PACE)
@settings(max_examples=12, deadline=None)
def test_the_past_agrees_with_the_pictures(seed: int, pace: str) -> None:
    """First vehicle, how many cars, who passed: as counted from all sure sightings, apart from the chronicle."""
    first: dict[int, tuple[Kind, Colour]] = {}
    taken: list[Event] = []
    scene = bare(seed, pace)
    for chronicle in told(scene, step_s=0.5):
        shown = chronicle.now
        for one in shown.sightings:
            if one.visible >= SEEN:
                first.setdefault(one.thing, (one.kind, one.colour))
        taken = [e for e in scene.script.events() if e.what is Happening.TAKEN and e.t_s < shown.t_s]
        asked = by_text([q for q in ask(chronicle, shown.t_s) if q.topic is Topic.PAST])
        vehicles = [f"a {colour} {kind}" for kind, colour in first.values() if kind in VEHICLES]
        if "What was the first vehicle?" in asked:
            assert asked["What was the first vehicle?"].answer == (vehicles[0] if vehicles else "none")
        if "How many cars came by?" in asked:
            cars = sum(kind is Kind.CAR for kind, _ in first.values())
            assert asked["How many cars came by?"].answer == NUMBERS[cars]
        for kind in (Kind.DOG, Kind.BICYCLE, Kind.CAR, Kind.PERSON):
            if question := asked.get(f"Did a {kind} pass?"):
                assert question.answer == (YES if any(each is kind for each, _ in first.values()) else NO)
        if question := asked.get("What colour was the bag that was taken?"):
            assert question.answer == (taken[-1].colour if taken else UNKNOWN)


def moments(*pictures: Truth, events: tuple[Event, ...] = ()) -> dict[str, Question]:
    """Questions after these pictures, half a second apart."""
    chronicle = Chronicle(events)
    for picture in pictures:
        chronicle.add(picture)
    return {q.kind: q for q in ask(chronicle, chronicle.now.t_s) if q.topic is Topic.CHANGE}


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (Event(9.0, Happening.LAMP_ON), "the lamp went on"),
        (Event(9.0, Happening.DOOR_CLOSED), "the door closed"),
        (Event(9.0, Happening.CAME, 0, Kind.DOG, Colour.BROWN), "a dog came"),
        (Event(9.0, Happening.DROPPED, 7, Kind.BAG, Colour.RED), None),  # the picture shows no bag
        (Event(9.95, Happening.LAMP_ON), None),  # too fresh to be sure of
        (Event(6.0, Happening.LAMP_ON), None),  # too old for "just", too new for "nothing"
        (Event(1.0, Happening.LAMP_ON), NOTHING),
        (Event(11.0, Happening.LAMP_ON), NOTHING),  # has not happened yet
    ],
)
def test_what_just_changed_is_the_one_change_of_the_last_seconds(event: Event, answer: str | None) -> None:
    asked = moments(truth(sighting(Kind.DOG), t_s=9.5), truth(sighting(Kind.DOG), t_s=10.0), events=(event,))
    assert (asked["just"].answer if "just" in asked else None) == answer


def test_two_changes_are_not_one() -> None:
    events = (Event(8.5, Happening.LAMP_ON), Event(9.0, Happening.DOOR_OPENED))
    assert "just" not in moments(truth(t_s=9.5), truth(t_s=10.0), events=events)


@pytest.mark.parametrize(("heading", "answer"), [(-1, "left"), (0, "nowhere"), (1, "right")])
@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.CAR, Kind.BICYCLE, Kind.DOG])
def test_a_way_is_asked_for_where_it_is_one(kind: Kind, heading: int, answer: str) -> None:
    """The same for most of a second; of nobody it is unknown; of two, and while it turns, not asked."""
    one = sighting(kind, heading=heading)
    assert moments(truth(one), truth(one, t_s=0.5))[f"way_{kind}"].answer == answer
    assert moments(truth(), truth(t_s=0.5))[f"way_{kind}"].answer == UNKNOWN
    turned = sighting(kind, heading=1 if heading < 1 else -1)
    assert f"way_{kind}" not in moments(truth(one), truth(turned, t_s=0.5))
    two = truth(one, sighting(kind, thing=1, heading=heading), t_s=0.5)
    assert f"way_{kind}" not in moments(two, two)


def test_rules_are_known_by_their_texts() -> None:
    """No text belongs to two rules; each can hold, fail, or (where a thing may hide) be unsettled."""
    texts = [text for rule in RULES for text in rule.texts]
    assert len(texts) == len(set(texts))
    outcomes: dict[str, set[bool | None]] = defaultdict(set)
    for scene, t_s in itertools.product(map(bare, range(20)), range(0, 60, 4)):
        shown = scene.truth(t_s)
        for rule in RULES:
            outcomes[rule.kind].add(rule.holds(shown))
    assert all(found >= {True, False} for found in outcomes.values())
    assert not {None} & (outcomes["lamp_on"] | outcomes["door_open"])


def test_a_bag_is_alone_when_nobody_is_there() -> None:
    bag, person = sighting(Kind.BAG), sighting(Kind.PERSON, thing=1)
    hidden = sighting(Kind.PERSON, thing=1, visible=0.3)
    (rule,) = [rule for rule in RULES if rule.kind == "bag_alone"]
    assert [rule.holds(shown) for shown in (truth(bag), truth(bag, person), truth(), truth(bag, hidden))] == [
        True, False, False, None,
    ]  # fmt: skip


def test_the_words_hold_every_text_and_answer() -> None:
    """What the tokenizer learns from covers all that is ever asked and answered."""
    known = " ".join(words())
    for seed in range(3):
        for chronicle in told(bare(seed), step_s=4.0):
            for question in ask(chronicle, chronicle.now.t_s):
                assert all(text in known for text in question.texts)
                assert all(answer in known for answer in question.answers)
    assert set(CHANGES) <= set(words())
    assert questions.DESCRIBE[0] in words()
