"""What the demo shows: a camera, the rules that watch it, and what is asked when one of them speaks up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from clients.messages import CameraSpec, RuleSpec
from clients.sdk import Answer

CAMERA: Final = CameraSpec(id="yard", source="synthetic:yard", fps=4)


@dataclass(frozen=True, slots=True)
class Act:
    """One rule, and the questions that are asked when its alert begins and when it ends, each once."""

    ask: str
    at_start: tuple[str, ...] = ()
    at_end: tuple[str, ...] = ()

    @property
    def rule(self) -> RuleSpec:
        return RuleSpec(camera=CAMERA.id, ask=self.ask, hold_s=0, cooldown_s=1)


@dataclass(frozen=True, slots=True)
class Programme:
    """
    The acts, and when they are over.

    alerts, answers: how many end it, once every rule has spoken up. blind: the model sees nothing, so its p means
    nothing and an answer may be empty; then the next question is asked.
    """

    acts: tuple[Act, ...]
    alerts: int
    answers: int
    blind: bool = False


# Half a minute of the yard: a person at the door (8 to 15 s), the lamp (15 s), a red car (20 to 25 s).
YARD: Final = Programme(
    (
        Act("Is a person at the door?", at_start=("What colour does the person wear?",)),
        Act("Is the lamp on?", at_start=("Is the door open?",)),
        Act(
            "Is a red car on the road?", at_start=("What colour is the car?",), at_end=("What was the first vehicle?",)
        ),
    ),
    alerts=3,
    answers=4,
)
STAND_IN: Final = Programme(
    (
        Act(
            "Is somebody in the yard?",
            at_start=("What is going on in the yard?", "What colour is the car?", "Who is there?", "Is the door open?"),
        ),
    ),
    alerts=2,
    answers=1,
    blind=True,
)


def programme(model: str) -> Programme:
    """What to show with a model: the yard, or, where its weights are random, that every part of the path is real."""
    return STAND_IN if model.startswith("tiny-random") else YARD


@dataclass(slots=True)
class Shown:
    """What there was to see. alerts: how often each rule spoke up. Times in seconds from the start of the demo."""

    alerts: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    live_s: float | None = None
    first_alert_s: float | None = None

    def enough(self, wanted: Programme) -> bool:
        return not self.silent(wanted) and self.alerts.total() >= wanted.alerts and len(self.answers) >= wanted.answers

    def silent(self, wanted: Programme) -> list[str]:
        """The rules that did not speak up."""
        return [act.ask for act in wanted.acts if not self.alerts[act.ask]]

    @property
    def lacking(self) -> str | None:
        """What should have come at least once and did not."""
        lacks = [] if self.alerts else ["alert"]
        lacks += [] if self.answers else ["answer"]
        return " and no ".join(lacks) or None
