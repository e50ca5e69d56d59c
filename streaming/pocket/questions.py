"""
Questions about a scene at a moment, each with the one right answer and all answers that its kind can have.

present: what the newest picture shows. change: what moved or changed in the last seconds. past: what the scene
has shown so far. A question is left out where the truth is neither one nor the other (a thing half hidden, two cars
and "the car"), and its answer is "unknown" where what it asks for is not to be seen.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .chronicle import Chronicle
from .types import PALETTE, SEEN, UNSEEN, VEHICLES, Colour, Event, Happening, Kind, Sighting, Truth

YES, NO, UNKNOWN, NOTHING, NOBODY = "Yes", "No", "unknown", "nothing", "none"
NUMBERS = ("none", "one", "two", "three", "four")
PLACES = ("left", "middle", "right")
WAYS = ("left", "right", "nowhere", UNKNOWN)
VEHICLE_ANSWERS = (*(f"a {colour} {kind}" for kind in VEHICLES for colour in PALETTE[kind]), NOBODY)
_MOVERS = (Kind.PERSON, Kind.CAR, Kind.BICYCLE, Kind.DOG)
JUST_S = 2.5  # how long ago is "just"
APART_S = 3.0  # besides, nothing else changed
MOVING_S = 0.9


class Topic(enum.StrEnum):
    PRESENT = "present"
    CHANGE = "change"
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Question:
    """kind: its group for balance and chance. texts: paraphrases, the plainest first. answers: all there can be."""

    topic: Topic
    kind: str
    texts: tuple[str, ...]
    answer: str
    answers: tuple[str, ...]


def ask(chronicle: Chronicle, t_s: float) -> list[Question]:
    """Every question that has a sure answer at this time; `chronicle` ends with the picture shown then."""
    return [*present(chronicle.now), *_change(chronicle, t_s), *_past(chronicle)]


def present(truth: Truth) -> list[Question]:
    """Questions about one picture."""
    found = [
        Question(Topic.PRESENT, rule.kind, rule.texts, YES if holds else NO, (YES, NO))
        for rule in RULES
        if (holds := rule.holds(truth)) is not None
    ]
    for kind in Kind:
        seen = _seen(truth, kind)
        if seen is None or len(seen) > 1:
            continue
        name = _NAMES[kind]
        one = seen[0] if seen else None
        colours = (*(colour.value for colour in PALETTE[kind]), UNKNOWN)
        texts = _COLOUR_OF_PERSON if kind is Kind.PERSON else _said(_COLOUR, name)
        found.append(Question(Topic.PRESENT, f"colour_{kind}", texts, one.colour.value if one else UNKNOWN, colours))
        where = place(one.x) if one else UNKNOWN
        if where is not None:
            found.append(Question(Topic.PRESENT, f"where_{kind}", _said(_WHERE, name), where, (*PLACES, UNKNOWN)))
    people = _seen(truth, Kind.PERSON)
    if people is not None:
        found.append(Question(Topic.PRESENT, "people", _PEOPLE, NUMBERS[len(people)], NUMBERS[:4]))
    return found


def describe(truth: Truth) -> str | None:
    """One sentence on a picture; None where something is half hidden."""
    said = []
    for kind in Kind:
        seen = _seen(truth, kind)
        if seen is None:
            return None
        for one in sorted(seen, key=lambda sighting: sighting.x):
            at = "at the door" if one.at_door else _PLACE_WORDS[place(one.x, sure=False) or "middle"]
            said.append(f"a person in {one.colour} {at}" if kind is Kind.PERSON else f"a {one.colour} {kind} {at}")
    lamp = "The lamp is on." if truth.lamp_on else "The lamp is off."
    return f"{' and '.join(said)}. {lamp}" if said else f"Nobody is there. {lamp}"


DESCRIBE = ("What do you see?", "Describe the picture in one sentence.", "What is there?", "What is going on?")


def place(x: float, *, sure: bool = True) -> str | None:
    """left, middle or right; None near the borders between them where it must be `sure`."""
    edge = 0.03 if sure else 0.0
    if x < 0.33 - edge:
        return PLACES[0]
    if 0.33 + edge <= x < 0.67 - edge:
        return PLACES[1]
    return PLACES[2] if x >= 0.67 + edge else None


# --- standing yes/no questions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """A yes/no question that a rule can watch. holds: None where the picture does not settle it."""

    kind: str
    texts: tuple[str, ...]
    holds: Callable[[Truth], bool | None]


def _any(kind: Kind, colour: Colour | None = None) -> Callable[[Truth], bool | None]:
    def holds(truth: Truth) -> bool | None:
        return _settled(one for one in truth.sightings if one.kind is kind and colour in (None, one.colour))

    return holds


def _at_door(truth: Truth) -> bool | None:
    return _settled(one for one in truth.sightings if one.at_door)


def _crowd(truth: Truth) -> bool | None:
    seen = _seen(truth, Kind.PERSON)
    return None if seen is None else len(seen) >= 2


def _left_alone(truth: Truth) -> bool | None:
    bag, person = _any(Kind.BAG)(truth), _any(Kind.PERSON)(truth)
    if bag is False or person is True:
        return False
    return None if bag is None or person is None else True


def _settled(things: Iterable[Sighting]) -> bool | None:
    shares = [one.visible for one in things]
    if any(share >= SEEN for share in shares):
        return True
    return None if any(share > UNSEEN for share in shares) else False


def _there(kind: Kind, *texts: str) -> Standing:
    return Standing(f"is_{kind}", texts, _any(kind))


RULES: tuple[Standing, ...] = (
    _there(Kind.PERSON, "Is a person there?", "Is anybody there?", "Is a person in the picture?", "Is somebody there?"),
    _there(Kind.CAR, "Is a car there?", "Is a car on the road?", "Is a car in the picture?", "Is there a car?"),
    _there(Kind.BICYCLE, "Is a bicycle there?", "Is a bicycle on the road?", "Is a bike there?", "Is there a bicycle?"),
    _there(Kind.DOG, "Is a dog there?", "Is a dog in the yard?", "Is a dog in the picture?", "Is there a dog?"),
    _there(Kind.BAG, "Is a bag on the ground?", "Does a bag lie there?", "Is there a bag?", "Is a bag in the yard?"),
    Standing(
        "at_door",
        (
            "Is a person at the door?",
            "Is anybody at the door?",
            "Is somebody at the door?",
            "Does a person stand at the door?",
        ),
        _at_door,
    ),
    Standing(
        "door_open",
        ("Is the door open?", "Does the door stand open?", "Is the door not closed?"),
        lambda truth: truth.door_open,
    ),
    Standing(
        "lamp_on",
        ("Is the lamp on?", "Is the light on?", "Does the lamp shine?", "Is the lamp lit?"),
        lambda truth: truth.lamp_on,
    ),
    Standing(
        "crowd",
        ("Are two or more people there?", "Is more than one person there?", "Are there at least two people?"),
        _crowd,
    ),
    Standing(
        "bag_alone",
        ("Is a bag left alone?", "Is a bag there and nobody with it?", "Was a bag left behind with nobody there?"),
        _left_alone,
    ),
    *(
        Standing(
            "has_colour_car",
            (f"Is a {colour} car there?", f"Is there a {colour} car?", f"Is a {colour} car on the road?"),
            _any(Kind.CAR, colour),
        )
        for colour in PALETTE[Kind.CAR]
    ),
    *(
        Standing(
            "has_colour_person",
            (f"Is a person in {colour} there?", f"Is there a person in {colour}?", f"Is somebody in {colour} there?"),
            _any(Kind.PERSON, colour),
        )
        for colour in PALETTE[Kind.PERSON]
    ),
)


# --- change -----------------------------------------------------------------------------------------------------------


def _change(chronicle: Chronicle, t_s: float) -> list[Question]:
    found = []
    what = _just(chronicle, t_s)
    if what is not None:
        found.append(Question(Topic.CHANGE, "just", _JUST, what, CHANGES))
    for kind in _MOVERS:
        way = _way(chronicle, kind, t_s)
        if way is not None:
            name, verb = _NAMES[kind], "walk" if kind is Kind.PERSON else "go"
            texts = tuple(text.format(name=name, verb=verb) for text in _WAY)
            found.append(Question(Topic.CHANGE, f"way_{kind}", texts, way, WAYS))
    return found


def _just(chronicle: Chronicle, t_s: float) -> str | None:
    """The one change of the last seconds, "nothing", or None where it is not one."""
    near = [event for event in chronicle.events if t_s - JUST_S - APART_S < event.t_s <= t_s + 0.2]
    if not near:
        return NOTHING
    event = near[0]
    if len(near) > 1 or not t_s - JUST_S < event.t_s < t_s - 0.2 or not chronicle.showed(event):
        return None
    return _happened(event)


def _happened(event: Event) -> str:
    name = event.kind.value if event.kind else ""
    return _HAPPENED[event.what].format(name=name)


_HAPPENED = {
    Happening.CAME: "a {name} came",
    Happening.LEFT: "a {name} left",
    Happening.DROPPED: "a bag was left",
    Happening.TAKEN: "a bag was taken",
    Happening.DOOR_OPENED: "the door opened",
    Happening.DOOR_CLOSED: "the door closed",
    Happening.LAMP_ON: "the lamp went on",
    Happening.LAMP_OFF: "the lamp went off",
}
CHANGES = (
    *(f"a {kind} {word}" for kind in (Kind.PERSON, Kind.CAR, Kind.BICYCLE, Kind.DOG) for word in ("came", "left")),
    "a bag was left",
    "a bag was taken",
    "the door opened",
    "the door closed",
    "the lamp went on",
    "the lamp went off",
    NOTHING,
)


def _way(chronicle: Chronicle, kind: Kind, t_s: float) -> str | None:
    """Where the only one of its kind goes."""
    recent = [truth for truth in chronicle.truths if truth.t_s > t_s - MOVING_S]
    seen = [_seen(truth, kind) for truth in recent]
    if any(one is None for one in seen):
        return None
    counts = {len(one or ()) for one in seen}
    if counts == {0}:
        return UNKNOWN
    if counts != {1} or len(recent) < 2:
        return None
    headings = {one[0].heading for one in seen if one}
    if len(headings) > 1:
        return None
    return {-1: "left", 0: "nowhere", 1: "right"}[headings.pop()]


# --- past -------------------------------------------------------------------------------------------------------------


def _past(chronicle: Chronicle) -> list[Question]:
    found = []
    vehicles = chronicle.first_seen(VEHICLES)
    if vehicles is not None:
        first = f"a {vehicles[0].colour} {vehicles[0].kind}" if vehicles else NOBODY
        found.append(Question(Topic.PAST, "first_vehicle", _FIRST, first, VEHICLE_ANSWERS))
    for kind in _MOVERS:
        seen = chronicle.first_seen((kind,))
        if seen is not None:
            texts = _said(_PASSED, kind.value)
            found.append(Question(Topic.PAST, f"passed_{kind}", texts, YES if seen else NO, (YES, NO)))
    cars = chronicle.first_seen((Kind.CAR,))
    if cars is not None and len(cars) < len(NUMBERS):
        found.append(Question(Topic.PAST, "cars", _CARS, NUMBERS[len(cars)], NUMBERS))
    taken = chronicle.last_taken()
    if taken is not None:
        colours = (*(colour.value for colour in PALETTE[Kind.BAG]), UNKNOWN)
        found.append(Question(Topic.PAST, "taken", _TAKEN, taken or UNKNOWN, colours))
    return found


# --- words ------------------------------------------------------------------------------------------------------------

_NAMES = {kind: kind.value for kind in Kind}
_PLACE_WORDS = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
_COLOUR = ("What colour is the {name}?", "Which colour has the {name}?", "The {name} is of which colour?")
_COLOUR_OF_PERSON = (
    "What colour does the person wear?",
    "Which colour are the clothes of the person?",
    "The person wears which colour?",
)
_WHERE = ("Where is the {name}?", "In which part of the picture is the {name}?", "On which side is the {name}?")
_PEOPLE = (
    "How many people are there?",
    "How many people do you see?",
    "Count the people.",
    "How many persons are there?",
)
_JUST = ("What just changed?", "What happened just now?", "What did change in the last seconds?", "What just happened?")
_WAY = (
    "Which way does the {name} {verb}?",
    "Where does the {name} {verb} to?",
    "In which direction does the {name} {verb}?",
)
_FIRST = ("What was the first vehicle?", "Which vehicle came first?", "What vehicle did come by first?")
_PASSED = ("Did a {name} pass?", "Did a {name} come by?", "Was a {name} there so far?", "Have you seen a {name}?")
_CARS = ("How many cars came by?", "How many cars did pass so far?", "How many cars have you seen?")
_TAKEN = (
    "What colour was the bag that was taken?",
    "Which colour had the bag that was taken?",
    "A bag was taken. Which colour?",
)


def _said(texts: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(text.format(name=name) for text in texts)


def _seen(truth: Truth, kind: Kind) -> list[Sighting] | None:
    """Those of a kind that are there; None where one is half hidden."""
    things = [one for one in truth.sightings if one.kind is kind]
    if any(UNSEEN < one.visible < SEEN for one in things):
        return None
    return [one for one in things if one.visible >= SEEN]


def words() -> list[str]:
    """Every text and answer there can be, for a tokenizer."""
    texts = [*DESCRIBE, *_JUST, *_FIRST, *_CARS, *_TAKEN, *_PEOPLE, *_COLOUR_OF_PERSON, *CHANGES, *NUMBERS]
    for rule in RULES:
        texts += rule.texts
    for kind in Kind:
        for group in (_COLOUR, _WHERE, _PASSED):
            texts += _said(group, kind.value)
        texts += [text.format(name=kind.value, verb=verb) for text in _WAY for verb in ("walk", "go")]
        texts += [f"a {colour} {kind}" for colour in PALETTE[kind]]
    texts += [f"a person in {colour}" for colour in PALETTE[Kind.PERSON]]
    return [
        *texts,
        *_PLACE_WORDS.values(),
        *PLACES,
        YES,
        NO,
        UNKNOWN,
        "nowhere",
        "at the door",
        "Nobody is there.",
        "The lamp is on.",
        "The lamp is off.",
    ]


def _kinds() -> dict[str, tuple[str, ...]]:
    """Every kind of question of which there is at most one at a time, with its answers."""
    found: dict[str, tuple[str, ...]] = {rule.kind: (YES, NO) for rule in RULES if not rule.kind.startswith("has_")}
    for kind in Kind:
        found[f"colour_{kind}"] = (*(colour.value for colour in PALETTE[kind]), UNKNOWN)
        found[f"where_{kind}"] = (*PLACES, UNKNOWN)
    found["people"] = NUMBERS[:4]
    found["just"] = CHANGES
    for kind in _MOVERS:
        found[f"way_{kind}"] = WAYS
        found[f"passed_{kind}"] = (YES, NO)
    found["first_vehicle"] = VEHICLE_ANSWERS
    found["cars"] = NUMBERS
    found["taken"] = (*(colour.value for colour in PALETTE[Kind.BAG]), UNKNOWN)
    return found


KINDS_OF_QUESTION = _kinds()
