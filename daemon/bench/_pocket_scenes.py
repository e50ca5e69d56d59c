"""Unseen scenes of the pocket world, with the questions and the standing questions that are put about each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from streaming.pocket.chronicle import Chronicle
from streaming.pocket.questions import RULES, Question, Standing, Topic, ask
from streaming.pocket.seeds import TRAINING_SEEDS
from streaming.pocket.types import PALETTE, Kind, Truth
from streaming.pocket.world import World, world
from streaming.types import Image

from ._choosing import Candidate, choose

FPS: Final = 2.0
FIRST_S: Final = 2.0  # of the questions: as many frames are there as `last4` sees
MOST_SCENES: Final = 1000  # of a group: their seeds lie side by side
EACH: Final = {Topic.PRESENT: 2, Topic.CHANGE: 5, Topic.PAST: 4}  # questions of every kind for each scene of a group
COLOURED: Final = "has_colour_"


@dataclass(frozen=True, slots=True)
class Group:
    """Scenes of one sort: how much happens, and what the camera does."""

    name: str
    pace: str
    lens: str


GROUPS: Final = {
    group.name: group
    for group in (
        Group("static", "still", "clean"),
        Group("busy", "busy", "clean"),
        Group("noisy", "normal", "noisy"),
        Group("exposure", "normal", "exposure"),
        Group("drift", "normal", "drift"),
    )
}


@dataclass(frozen=True, slots=True)
class Query:
    """One question that is put. tick: the number of the newest picture before it. text: one of its paraphrases."""

    id: str
    scene: str
    tick: int
    topic: str
    kind: str
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Watching:
    """A standing question on a scene. holds: its answer at every picture, None where that is not settled."""

    id: str
    kind: str
    text: str
    holds: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene as its camera saw it: `ticks` pictures, FPS times a second. images: nothing once they were played."""

    name: str
    group: str
    ticks: int
    images: Sequence[Image] = field(repr=False)
    queries: Sequence[Query] = field(default=(), repr=False)
    watching: Sequence[Watching] = field(default=(), repr=False)

    @property
    def times_s(self) -> tuple[float, ...]:
        return tuple(tick / FPS for tick in range(self.ticks))

    def without_images(self) -> Scene:
        return replace(self, images=())


def scene_seed(seed: int, group: Group, number: int) -> int:
    """Of the scene of that number; no seed of training, and no other scene's."""
    return TRAINING_SEEDS + (seed * len(GROUPS) + list(GROUPS).index(group.name)) * MOST_SCENES + number


def scenes(
    group: Group, *, count: int, seed: int, seconds: float, size: tuple[int, int]
) -> tuple[list[Scene], dict[str, list[Candidate]]]:
    """The scenes of a group with balanced questions, and all the questions these were chosen from, by kind."""
    random = np.random.default_rng((seed, list(GROUPS).index(group.name)))
    worlds = [_world(group, seed, number, seconds=seconds, size=size) for number in range(count)]
    names = [f"{group.name}{number}" for number in range(count)]
    truths = [[one.truth(tick / FPS) for tick in range(int(seconds * FPS))] for one in worlds]
    asked, pool = _queries(names, worlds, truths, seconds=seconds, random=random)
    return [
        Scene(
            name,
            group.name,
            len(seen),
            [one.render(truth.t_s) for truth in seen],
            asked[name],
            _watching(name, one, seen, random),
        )
        for name, one, seen in zip(names, worlds, truths, strict=True)
    ], pool


def mirrored(scene: Scene, group: Group, *, number: int, seed: int, size: tuple[int, int]) -> Scene:
    """The same scene seen in a mirror, with those of its questions whose answers tell left from right."""
    seconds = scene.ticks / FPS
    seen = _world(group, seed, number, seconds=seconds, size=size, mirror=True)
    queries = [query for query in scene.queries if query.kind.startswith(("where_", "way_"))]
    return Scene(scene.name, scene.group, scene.ticks, [seen.render(t_s) for t_s in scene.times_s], queries)


def _world(
    group: Group, seed: int, number: int, *, seconds: float, size: tuple[int, int], mirror: bool = False
) -> World:
    return world(
        scene_seed(seed, group, number), seconds=seconds, pace=group.pace, lens=group.lens, size=size, mirror=mirror
    )


def _queries(
    names: Sequence[str],
    worlds: Sequence[World],
    truths: Sequence[Sequence[Truth]],
    *,
    seconds: float,
    random: np.random.Generator,
) -> tuple[dict[str, list[Query]], dict[str, list[Candidate]]]:
    """What is put about each scene, in the order of time, and the pool by kind."""
    found: dict[str, list[tuple[str, int, Question]]] = defaultdict(list)
    for name, one, seen in zip(names, worlds, truths, strict=True):
        chronicle = Chronicle(one.script.events())
        for tick, truth in enumerate(seen):
            chronicle.add(truth)
            if truth.t_s >= FIRST_S:
                for question in ask(chronicle, truth.t_s):
                    found[question.kind].append((name, tick, question))
    pool: dict[str, list[Candidate]] = {}
    asked: dict[str, list[Query]] = {name: [] for name in names}
    for kind, offered in sorted(found.items()):
        pool[kind] = [
            Candidate(name, kind, question.answer, tick / (seconds * FPS)) for name, tick, question in offered
        ]
        for place in choose(pool[kind], EACH[offered[0][2].topic] * len(names), random=random):
            name, tick, question = offered[place]
            text = question.texts[int(random.integers(len(question.texts)))]
            number = f"{name}/{len(asked[name])}"
            asked[name].append(Query(number, name, tick, str(question.topic), kind, text, question.answer))
    return {name: sorted(queries, key=lambda query: query.tick) for name, queries in asked.items()}, pool


def _watching(name: str, one: World, seen: Sequence[Truth], random: np.random.Generator) -> list[Watching]:
    """Every standing question that names no colour, and two that do: a car that comes by here, and any person."""
    rules = [rule for rule in RULES if not rule.kind.startswith(COLOURED)]
    cars = [thing.colour for thing in one.script.things if thing.kind is Kind.CAR] or list(PALETTE[Kind.CAR])
    for kind, colours in ((Kind.CAR, cars), (Kind.PERSON, list(PALETTE[Kind.PERSON]))):
        colour = colours[int(random.integers(len(colours)))]
        rules.append(_coloured(kind)[PALETTE[kind].index(colour)])
    return [
        Watching(
            f"{name}/rule{number}",
            rule.kind,
            rule.texts[int(random.integers(len(rule.texts)))],
            tuple(rule.holds(truth) for truth in seen),
        )
        for number, rule in enumerate(rules)
    ]


def _coloured(kind: Kind) -> list[Standing]:
    """The standing questions on things of a kind, one for each colour of its palette, in that order."""
    return [rule for rule in RULES if rule.kind == f"{COLOURED}{kind}"]
