"""
Video for the benchmarks: a folder of real clips with its events.json, or generated ones where there is none.

events.json is a list of {"clip", "camera", "events": [{"t_start_s", "t_end_s", "what"}], "cuts_s"?}; a stretch of time
in which nothing happens is an event too, told by its sentence (QUIET) or by a true "quiet".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from daemon.errors import DaemonError
from streaming.sources.synthetic import YARD_CYCLE_S, Scene, render_file
from streaming.types import Image

QUIET: Final = re.compile(r"(empty|nothing happens|static|only the)\b|(one|two|three|four) [a-z]+( stand)?(:|$)")


@dataclass(frozen=True, slots=True)
class Event:
    """What a person wrote down: from when to when (s), and what; quiet where nothing happens."""

    start_s: float
    end_s: float
    what: str
    quiet: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and what happens in it. fixed: the camera does not move. cuts_s: when the scene changes."""

    path: Path
    fixed: bool
    events: tuple[Event, ...]
    cuts_s: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def begins_s(self) -> list[float]:
        """When something begins, the cuts among it; what is there from the first moment is no beginning."""
        return sorted(
            {event.start_s for event in self.events if not event.quiet and event.start_s > 0} | {*self.cuts_s}
        )

    def quiet_at(self, t_s: float, *, margin_s: float) -> bool:
        """Whether nothing happens at that time, nor within the margin of it; a clip's beginning needs none."""
        return any(
            event.quiet and event.start_s + (margin_s if event.start_s > 0 else 0) <= t_s <= event.end_s - margin_s
            for event in self.events
        )


def read_clips(folder: Path) -> list[Clip]:
    """All clips that the folder's events.json tells of. Raises: DaemonError: no such file, or not in that form."""
    try:
        told: list[dict[str, Any]] = json.loads((folder / "events.json").read_text(encoding="utf-8"))
        clips = [_clip(folder, each) for each in told]
    except OSError as error:
        raise DaemonError(
            f"--clips: cannot read {folder / 'events.json'}: {(error.strerror or str(error)).lower()}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DaemonError(f"--clips: {folder / 'events.json'} is not in the form of the clips: {error}") from None
    if missing := [clip.path.name for clip in clips if not clip.path.is_file()]:
        raise DaemonError(f"--clips: {folder} lacks {', '.join(missing)}")
    return clips


def pictures(path: Path, *, fps: float) -> Iterator[tuple[float, Image]]:
    """The picture at or behind each tick of `fps`, with its time in seconds; decoded as they are asked for."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tick = 0
        for frame in container.decode(stream):
            t_s = float(frame.time or 0.0)
            if t_s * fps + 1e-6 >= tick:
                tick = int(t_s * fps + 1e-6) + 1
                yield t_s, frame.to_ndarray(format="rgb24")


def generate_clips(
    folder: Path, *, seconds: float = YARD_CYCLE_S, size: tuple[int, int] = (448, 336), fps: float = 5.0
) -> list[Clip]:
    """Write clips of known truth into the folder: by day, in a dark noisy night, noise alone, and cuts; about 10 s."""
    yard = tuple(_yard_events(seconds))
    nothing = (Event(0.0, seconds, "nothing happens", quiet=True),)
    made: Sequence[tuple[Scene, str, tuple[Event, ...], tuple[float, ...]]] = (
        (Scene("yard", *size), "generated_yard", yard, ()),
        (Night("yard", *size), "generated_night", yard, ()),
        (Night("static", *size), "generated_noise", nothing, ()),
        (Scene("cuts", *size), "generated_cuts", (), tuple(float(t) for t in range(4, int(seconds), 4))),
    )
    clips = []
    for scene, name, events, cuts_s in made:
        path = folder / f"{name}.mp4"
        render_file(path, scene, seconds=seconds, fps=fps)
        clips.append(Clip(path, fixed=True, events=events, cuts_s=cuts_s))
    return clips


@dataclass(frozen=True, slots=True)
class Night(Scene):
    """The same scene in the dark, through a camera that turned its gain up."""

    def render(self, t_s: float) -> Image:
        lit = Scene.render(self, t_s)
        grain = np.random.default_rng((self.seed, round(t_s * 1000))).normal(0, 6, lit.shape)
        return np.clip(lit * 0.45 + grain, 0, 255).astype(np.uint8)


def _yard_events(seconds: float) -> Iterator[Event]:
    """What synthetic:yard shows, from its truth: the person, the door, the lamp and the car."""
    told = (
        (0.0, 4.0, "nothing happens"),
        (4.7, 9.0, "a person comes from the left"),
        (9.5, 13.5, "the door is open"),
        (14.0, 18.0, "the person leaves to the right"),
        (20.7, 24.3, "a car passes"),
        (26.0, 30.0, "nothing happens"),
    )
    for start_s, end_s, what in told:
        if end_s <= seconds:
            yield Event(start_s, end_s, what, quiet=QUIET.match(what) is not None)


def _clip(folder: Path, told: dict[str, Any]) -> Clip:
    events = tuple(
        Event(
            float(each["t_start_s"]),
            float(each["t_end_s"]),
            str(each["what"]),
            quiet=bool(each.get("quiet", QUIET.match(str(each["what"])) is not None)),
        )
        for each in told["events"]
    )
    return Clip(folder / told["clip"], told["camera"] == "fixed", events, tuple(map(float, told.get("cuts_s", ()))))
