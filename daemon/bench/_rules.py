"""
Standing rules to measure with: what people want to be told of, and the same for `pocket` in the words of its world.

A tokenizer spells in bytes what it does not know: `pocket` would run twice the tokens for rules that it cannot answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from streaming.pocket.questions import RULES as POCKETS

MOST: Final = 32
ANYWHERE: Final = tuple(
    f"Is there {what}?"
    for what in (
        "a person in the picture",
        "a person lying on the ground",
        "a person running",
        "a child without an adult",
        "a crowd of more than five people",
        "somebody carrying a bag",
        "somebody climbing over the fence",
        "somebody at the door",
        "somebody without a helmet",
        "somebody without a safety vest",
        "a fight",
        "smoke or fire",
        "water on the floor",
        "a car in the driveway",
        "a car parked in front of the gate",
        "a truck at the loading dock",
        "a bicycle",
        "a motorcycle",
        "a delivery van",
        "a parcel on the doorstep",
        "an open door",
        "an open window",
        "an open gate",
        "a light switched on",
        "a dog",
        "a cat",
        "a bird on the feeder",
        "a suitcase left alone",
        "a bottle on the belt that has fallen over",
        "a forklift near a person",
        "a traffic jam",
        "snow on the ground",
    )
)


def rules_for(model: str) -> Sequence[str]:
    """MOST different rules in words that this model's tokenizer was made for."""
    if model != "pocket":
        return ANYWHERE
    turns = itertools.zip_longest(*(standing.texts for standing in POCKETS))  # every kind once, then in other words
    return [text for turn in turns for text in turn if text is not None][:MOST]
