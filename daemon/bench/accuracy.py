"""
`vigild bench accuracy`: what a model sees of unseen scenes, and what dropping and forgetting cost of it.

Scenes of the pocket world run through the engine frame by frame, in five groups: static, busy, noisy, with exposure
steps, with slow drift. Questions of three topics (present, change, past) come at the moments that have an answer, drawn
so that the answers of a kind are equally frequent and equally late; standing questions are watched by the real rules.
Every setting sees the same scenes and gets the same questions, put in words drawn by the seed:

    full      everything is kept                     paper[@τ]    TimeChat-Online's drop, threshold 0.5 or τ
    last4     the newest four frames alone, whole    default[@τ]  what the daemon does, its feature threshold τ
    blind     grey pictures, everything kept         reuse        default, encoding only what changed
    drop:policy:budget, as dtdr@0.7:salience:512

An answer is right when it is the right one but for capitals, blanks and a full stop. How questions are drawn:
_choosing.py; how answers are scored: _scoring.py; alerts: _episodes.py.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from daemon.devices import resolve
from daemon.errors import DaemonError
from streaming import models
from streaming.errors import ModelError
from streaming.models import VisionLanguageModel
from streaming.pocket.world import HEIGHT_PX, WIDTH
from streaming.types import Rule

from . import _ways as ways
from ._choosing import Candidate, balance
from ._curves import Point, draw
from ._encoded_once import EncodedOnce
from ._episodes import Verdict, judge, together
from ._model import dtype_on
from ._pocket_play import Played, play, try_out
from ._pocket_scenes import GROUPS, MOST_SCENES, Group, Query, Scene, mirrored, scenes
from ._scoring import Mark, Score, distribution, kinds, normal, overall, topics
from ._ways import Sight, Way
from .form import Options, Report, Row, Say

SUMMARY: Final = "what the model sees of unseen scenes, and what each way of dropping and forgetting costs of it"
MODEL: Final = "pocket"

LARGE: Final = (448, 336)  # of pictures for models that ask for more than the pocket model
ALL: Final = "all"
MIRROR: Final = "busy"  # the group that is seen in a mirror, too
HOLD_S: Final = Rule("", "", "").hold_s


@dataclass(frozen=True, slots=True)
class Extent:
    """What is shown if nothing else is asked for. scenes: of each group."""

    groups: tuple[str, ...]
    scenes: int
    minutes: float


LONG: Final = Extent(tuple(GROUPS), 6, 1.0)
SHORT: Final = Extent(("static", "busy"), 2, 0.4)


@dataclass(frozen=True, slots=True)
class Course:
    """What a run is made of."""

    groups: tuple[Group, ...]
    scenes: int
    minutes: float
    ways: tuple[Way, ...]
    seed: int


@dataclass(slots=True)
class Found:
    """
    What was seen and said.

    pool: every question that could have been put, by kind; scenes: those shown, without their pictures.
    played: by way and group; mirror: of the mirrored scenes.
    """

    pool: dict[str, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    scenes: list[Scene] = field(default_factory=list)
    played: dict[str, dict[str, Played]] = field(default_factory=lambda: defaultdict(dict))
    mirror: Played | None = None

    def queries(self, group: str) -> Iterator[Query]:
        for scene in self._of(group):
            yield from scene.queries

    def marks(self, way: Way, group: str) -> list[Mark]:
        texts = self.seen(way, group).texts
        return [
            Mark(query.scene, query.topic, query.kind, query.answer, normal(texts[query.id]) == normal(query.answer))
            for query in self.queries(group)
        ]

    def seen(self, way: Way, group: str) -> Played:
        """What a way made of a group, or of all."""
        total = Played(way)
        for name, played in self.played[way.name].items():
            if group in (ALL, name):
                total.add(played)
        return total

    def verdicts(self, way: Way, group: str) -> dict[str, Verdict]:
        """Of standing questions, by kind; nothing where the way's rules were not watched."""
        alerts_s = self.seen(way, group).alerts_s
        found: dict[str, list[Verdict]] = defaultdict(list)
        for scene in self._of(group):
            for one in scene.watching:
                if one.id in alerts_s:
                    found[one.kind].append(judge(scene.times_s, one.holds, alerts_s[one.id], hold_s=HOLD_S))
        return {kind: together(verdicts) for kind, verdicts in sorted(found.items())}

    def _of(self, group: str) -> list[Scene]:
        return [scene for scene in self.scenes if group in (ALL, scene.group)]


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for minutes. Raises: DaemonError: options that cannot be, or no such model."""
    course = planned(options)
    device = resolve([options.device])[0]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        say("loading the model")
        try:
            model = models.load(options.model, device=device, dtype=dtype_on(device), cache_dir=Path(folder))
        except ModelError as error:
            raise DaemonError(str(error)) from error
        size = options.size or natural_size(model)
        for way in course.ways:
            try_out(model, way, size)
        found = shown(model, course, size, say)
    rows = list(_rows(found, course))
    if options.plot is not None:
        _plot(options.plot, found, course, options.model)
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "dtype": str(model.kv.dtype).removeprefix("torch."),
            "short": options.short,
            "scenes": course.scenes,
            "minutes": course.minutes,
            "groups": [group.name for group in course.groups],
            "settings": [way.name for way in course.ways],
            "size": f"{size[0]}x{size[1]}",
            "took_s": round(time.perf_counter() - began, 1),
        },
        rows=rows,
        figures=figures(found, course),
        notes=NOTES,
    )


NOTES: Final = (
    "accuracy: the mean over a kind's answers, then over kinds, then over topics; chance: any constant answer's",
    "clock: what one who sees nothing but the time could reach; retained: accuracy over that of full",
    "kept: share of the video tokens shown; of last4, what a question read over what was shown until then",
)


def planned(options: Options) -> Course:
    """What to run. Raises: DaemonError: options that cannot be."""
    usual = SHORT if options.short else LONG
    names = tuple(dict.fromkeys(options.groups)) or usual.groups
    count = options.scenes or usual.scenes
    minutes = options.minutes or usual.minutes
    for name in names:
        if name not in GROUPS:
            raise DaemonError(f"--groups: there is no '{name}'; there are {', '.join(GROUPS)}")
    if not 1 <= count < MOST_SCENES:
        raise DaemonError(f"--scenes: {count} is outside 1..{MOST_SCENES - 1}")
    if not 0.1 <= minutes <= 60:
        raise DaemonError(f"--minutes: {minutes:g} is outside 0.1..60")
    if options.plot is not None and not options.plot.absolute().parent.is_dir():
        raise DaemonError(f"--plot: there is no folder {options.plot.absolute().parent}; make it first")
    if options.seed < 0:
        raise DaemonError(f"--seed: {options.seed} is negative")
    chosen = options.settings or (ways.SHORT if options.short else ways.ALL)
    return Course(
        tuple(GROUPS[name] for name in names),
        count,
        minutes,
        tuple(ways.ways((*chosen, *options.more_settings))),
        options.seed,
    )


def natural_size(model: VisionLanguageModel) -> tuple[int, int]:
    """Of the pictures: what the pocket model sees, or a camera's for one that asks for more."""
    small = model.vision.max_pixels < LARGE[0] * LARGE[1]
    return (WIDTH, HEIGHT_PX) if small else LARGE


def shown(model: VisionLanguageModel, course: Course, size: tuple[int, int], say: Say) -> Found:
    """Show every scene to every way."""
    found = Found()
    once, encoded = EncodedOnce.of(model)
    for group in course.groups:
        say(f"{group.name}: drawing")
        made, pool = scenes(group, count=course.scenes, seed=course.seed, seconds=60 * course.minutes, size=size)
        for kind, candidates in pool.items():
            found.pool[kind] += candidates
        for way in course.ways:
            say(f"{group.name}: {way.name}")
            found.played[way.name][group.name] = play(once, way, made)
        if group.name == MIRROR:
            say(f"{group.name}: in a mirror")
            flipped = [
                mirrored(scene, group, number=number, seed=course.seed, size=size) for number, scene in enumerate(made)
            ]
            found.mirror = play(once, ways.MIRROR, flipped)
        encoded.forget()
        found.scenes += [scene.without_images() for scene in made]
    return found


def figures(found: Found, course: Course) -> dict[str, float]:
    """The figures of all groups together; what could not be measured is left out."""
    full = course.ways[0]
    out = {f"{full.name}.{topic}": score.accuracy for topic, score in _topics(found, full, ALL, course).items()}
    for way in course.ways:
        if not (verdicts := found.verdicts(way, ALL)):
            continue
        verdict = together(verdicts.values())
        for name, value in (("rules_f1", verdict.f1), ("rules_delay_s", verdict.delay_s)):
            if value is not None:
                out[f"{way.name}.{name}"] = value
    reference = overall(found.marks(full, ALL))
    for way in course.ways[1:]:
        score = overall(found.marks(way, ALL))
        if score is None or reference is None:
            continue
        if way.sight is Sight.BLIND:
            out[f"{way.name}.excess"] = round(score.accuracy - score.chance, 9)  # sums of thirds leave 1e-17
        else:
            out[f"{way.name}.kept"] = found.seen(way, ALL).kept
            if reference.accuracy:
                out[f"{way.name}.retained"] = score.accuracy / reference.accuracy
    swapped = _swapped(found, full)
    if swapped:
        out["mirror.swapped"] = sum(swapped) / len(swapped)
    return out


def _rows(found: Found, course: Course) -> Iterator[Row]:
    names = [ALL, *(group.name for group in course.groups)]
    yield from _question_rows(found)
    for group in names:
        reference = overall(found.marks(course.ways[0], group))
        for way in course.ways:
            yield from _way_rows(found, course, way, group, reference)
    for sort in ("where", "way"):
        if swapped := _swapped(found, course.ways[0], sort):
            share = sum(swapped) / len(swapped)
            yield {"setting": "mirror", "group": MIRROR, "kind": sort, "asked": len(swapped), "accuracy": share}


def _question_rows(found: Found) -> Iterator[Row]:
    """What was asked: the answers of every kind."""
    by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    for query in found.queries(ALL):
        by_kind[query.topic, query.kind].append(query.answer)
    for (topic, kind), answers in sorted(by_kind.items()):
        yield {
            "setting": "questions",
            "group": ALL,
            "topic": topic,
            "kind": kind,
            "asked": len(answers),
            "chance": 1 / len(set(answers)),
            "clock": balance(found.pool[kind]).clock,
            "answers": distribution(answers),
        }


def _way_rows(found: Found, course: Course, way: Way, group: str, reference: Score | None) -> Iterator[Row]:
    at: Row = {"setting": way.name, "group": group}
    marks, seen = found.marks(way, group), found.seen(way, group)
    if (score := overall(marks, seed=course.seed)) is not None:
        retained = score.accuracy / reference.accuracy if reference is not None and reference.accuracy else None
        costs = {"kept": seen.kept, "encoded": seen.encoded, "memory_tokens": seen.memory, "retained": retained}
        yield {**at, "topic": ALL, "kind": ALL, **score.row(), **costs}
    for topic, of_topic in _topics(found, way, group, course).items():
        yield {**at, "topic": topic, "kind": ALL, **of_topic.row()}
    verdicts = found.verdicts(way, group)
    if verdicts:
        yield {**at, "topic": "rules", "kind": ALL, **together(verdicts.values()).row()}
    if group == ALL and "@" not in way.name:
        topic_of = {mark.kind: mark.topic for mark in marks}
        for kind, of_kind in sorted(kinds(marks).items(), key=lambda item: (topic_of[item[0]], item[0])):
            yield {**at, "topic": topic_of[kind], "kind": kind, **of_kind.row()}
        for kind, verdict in verdicts.items():
            yield {**at, "topic": "rules", "kind": kind, **verdict.row()}


def _topics(found: Found, way: Way, group: str, course: Course) -> Mapping[str, Score]:
    return topics(found.marks(way, group), seed=course.seed)


def _swapped(found: Found, full: Way, sort: str = "") -> list[bool]:
    """
    Of the questions that were answered left or right: whether the mirrored scene was answered the other way.

    sort: how their kind begins.
    """
    if found.mirror is None:
        return []
    opposite = {"left": "right", "right": "left"}
    plain, flipped = found.seen(full, MIRROR).texts, found.mirror.texts
    asked = [query.id for query in found.queries(MIRROR) if query.id in flipped and query.kind.startswith(sort)]
    return [
        normal(flipped[query]) == opposite[normal(plain[query])] for query in asked if normal(plain[query]) in opposite
    ]


def _plot(path: Path, found: Found, course: Course, model: str) -> None:
    """Write the trade-off. Raises: DaemonError: it cannot be written, or nothing was measured."""
    panels: dict[str, Sequence[Point]] = {}
    for group in (ALL, *(group.name for group in course.groups)):
        points = []
        for way in course.ways:
            score, kept = overall(found.marks(way, group), seed=course.seed), found.seen(way, group).kept
            if score is not None and kept and way.sight is not Sight.BLIND:
                points.append(Point(way.name, way.family, kept, score.accuracy, score.low, score.high))
        panels[group] = points
    try:
        path.write_text(draw(panels, title=f"Accuracy against tokens kept: {model}"), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DaemonError(f"--plot: {path} cannot be written ({error})") from error
