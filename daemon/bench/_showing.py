"""
Videos shown to the engine as a camera would show them, and questions asked when their time has come.

A video is shown frame by frame; a question is asked on a fork of the memory, so that many share one showing and none
leaves a trace. As where a benchmark cuts the video for models that are given files, a question at T comes after the
pictures of [from, T), none of T or later. Several ways of dropping are cameras beside each other in the same steps, so
that they are compared on the same pictures. The words around pictures and question are vigild's own, as in use: one
system sentence, and the time of every picture.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av

from daemon.errors import DaemonError
from streaming.engine import Engine
from streaming.types import AnswerDelta, Ask, AskStatus, CameraSettings, Frame, FrameResult, Image, StepPlan

from ._tally import Tally
from .form import Row, Say

MAX_ASKS: Final = 4  # questions answered side by side
DECODE_TOKENS: Final = 8
START_NS: Final = 1_790_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be asked, and when in the video (s)."""

    at_s: float
    prompt: str
    max_tokens: int


Talk = Generator[Asked, str | None, bool]  # asks, is sent the answer (None: nothing was seen yet), ends with the mark


@dataclass(frozen=True, slots=True)
class Question:
    """
    One scored question of a benchmark.

    group, task: what its mark counts for. video: where it should lie. from_s: where in the video its showing begins.
    talk: begins the conversation that decides it; times rise from one asking to the next.
    """

    id: str
    group: str
    task: str
    video: Path
    talk: Callable[[], Talk]
    from_s: float = 0.0


def once(asked: Asked, right: Callable[[str], bool]) -> Callable[[], Talk]:
    """A conversation of one question; no answer is a wrong one."""

    def talk() -> Talk:
        answer = yield asked
        return answer is not None and right(answer)

    return talk


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. seen_s: time in the video of the newest picture before it; None where none was."""

    question: str
    at_s: float
    seen_s: float | None
    memory_tokens: int
    text: str | None


@dataclass(slots=True)
class Watched:
    """What one way of dropping saw, answered, and was worth."""

    camera: CameraSettings
    marks: list[tuple[Question, bool]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    frames: int = 0
    encoded: int = 0
    tokens_in: int = 0
    tokens_kept: int = 0

    @property
    def drop(self) -> str:
        return self.camera.drop

    @property
    def tallies(self) -> dict[tuple[str, str], Tally]:
        """By group and task, in the order of their names."""
        found: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for question, right in self.marks:
            found[question.group, question.task].append(right)
        return {key: Tally.of(found[key]) for key in sorted(found)}

    @property
    def memory_tokens(self) -> float:
        """What a question read of the video, on average."""
        return sum(reply.memory_tokens for reply in self.replies) / max(1, len(self.replies))

    def saw(self, frame: FrameResult) -> None:
        """Count what became of a picture."""
        self.frames += 1
        self.encoded += frame.encoded
        self.tokens_in += frame.tokens_in
        self.tokens_kept += frame.tokens_kept

    def costs(self) -> dict[str, float]:
        """Tokens kept and frames encoded as shares of all; missing where no picture was shown."""
        if not self.tokens_in:
            return {"memory_tokens": self.memory_tokens}
        return {
            "kept": self.tokens_kept / self.tokens_in,
            "encoded": self.encoded / self.frames,
            "memory_tokens": self.memory_tokens,
        }

    def rows(self) -> Iterator[Row]:
        for (group, task), tally in self.tallies.items():
            yield {"drop": self.drop, "group": group, "task": task, **tally.row()}
        every = Tally.of(right for _, right in self.marks)
        yield {"drop": self.drop, "group": "all", "task": "all", **every.row(), "frames": self.frames, **self.costs()}


def show_all(
    engine: Engine, watched: Sequence[Watched], questions: Sequence[Question], *, fps: float, say: Say
) -> None:
    """Show every video once for all questions that begin at the same place in it; fills `watched`."""
    showings: dict[tuple[Path, float], list[Question]] = defaultdict(list)
    for question in questions:
        showings[question.video, question.from_s].append(question)
    for number, ((video, from_s), asked) in enumerate(showings.items()):
        say(f"{video.name}, {number + 1} of {len(showings)}")
        show(engine, [Desk(each, asked) for each in watched], video, from_s=from_s, fps=fps)


class Desk:
    """The conversations of one camera in one showing: what is asked next, and what came of it."""

    def __init__(self, watched: Watched, questions: Sequence[Question]) -> None:
        self.watched = watched
        self._waiting: list[tuple[float, int, Asked]] = []
        self._questions = questions
        self._talks = [question.talk() for question in questions]
        for number, talk in enumerate(self._talks):
            self._advance(number, lambda talk=talk: next(talk))  # type: ignore[misc]

    @property
    def camera(self) -> str:
        return self.watched.camera.camera

    @property
    def done(self) -> bool:
        return not self._waiting

    def due(self, until_s: float, count: int) -> Iterator[tuple[int, Asked]]:
        """Take up to `count` askings of that time or before; each must be answered before the next call."""
        while count and self._waiting and self._waiting[0][0] <= until_s:
            _, number, asked = heapq.heappop(self._waiting)
            count -= 1
            yield number, asked

    def answered(self, number: int, reply: Reply) -> None:
        self.watched.replies.append(reply)
        self._advance(number, lambda: self._talks[number].send(reply.text))

    def id_of(self, number: int) -> str:
        return self._questions[number].id

    def _advance(self, number: int, go: Callable[[], Asked]) -> None:
        try:
            asked = go()
        except StopIteration as end:
            self.watched.marks.append((self._questions[number], bool(end.value)))
        else:
            heapq.heappush(self._waiting, (asked.at_s, number, asked))


def show(engine: Engine, desks: Sequence[Desk], video: Path, *, from_s: float, fps: float) -> None:
    """
    Show one video from `from_s` on until the last question is answered; what is later than its end is asked there.

    Raises: DaemonError: it cannot be read, or a question cannot be asked.
    """
    for desk in desks:
        engine.open(desk.watched.camera)
    try:
        for seq, (t_s, image) in enumerate(pictures(video, fps=fps, from_s=from_s)):
            ask(engine, desks, until_s=t_s, from_s=from_s)
            going = [desk for desk in desks if not desk.done]
            if not going:
                break
            pts_ns = START_NS + round((t_s - from_s) * 1e9)
            result = engine.step(StepPlan(frames=tuple(Frame(d.camera, seq, pts_ns, pts_ns, image) for d in going)))
            if result.failed:
                raise DaemonError(f"{video.name} at {t_s:.2f} s: {result.failed[0][1]}")
            became = {done.camera: done for done in result.frames}
            for desk in going:
                desk.watched.saw(became[desk.camera])
        ask(engine, desks, until_s=math.inf, from_s=from_s)
    finally:
        for desk in desks:
            engine.close(desk.camera)


def ask(engine: Engine, desks: Sequence[Desk], *, until_s: float, from_s: float) -> None:
    """Ask all that is due by then; what an answer leads to is asked too, where that is due."""
    while True:
        due: dict[str, tuple[Desk, int, Asked]] = {}
        for desk in desks:
            for number, asked in desk.due(until_s, MAX_ASKS - len(due)):
                due[f"{desk.camera} {number}"] = desk, number, asked
        if not due:
            return
        asks = [Ask(key, desk.camera, asked.prompt, asked.max_tokens) for key, (desk, _, asked) in due.items()]
        for key, (text, last) in answers(engine, asks).items():
            desk, number, asked = due[key]
            if last.status is AskStatus.FAILED:
                raise DaemonError(f"question {desk.id_of(number)} cannot be asked: {last.reason}")
            seen_s = None if last.frame_ns is None else from_s + (last.frame_ns - START_NS) / 1e9
            said = text if last.status is AskStatus.COMPLETED else None
            desk.answered(number, Reply(desk.id_of(number), asked.at_s, seen_s, last.memory_tokens, said))


def answers(engine: Engine, asks: Sequence[Ask]) -> dict[str, tuple[str, AnswerDelta]]:
    """The whole text of every answer, and how it ended, by the question's id."""
    said = {each.id: "" for each in asks}
    ended: dict[str, AnswerDelta] = {}
    plan = StepPlan(start=tuple(asks))
    while len(ended) < len(said):
        for delta in engine.step(plan).answers:
            said[delta.ask] += delta.text
            if delta.status is not AskStatus.RUNNING:
                ended[delta.ask] = delta
        plan = StepPlan(advance=tuple(key for key in said if key not in ended), decode_tokens=DECODE_TOKENS)
    return {key: (said[key], ended[key]) for key in said}


def pictures(path: Path, *, fps: float, from_s: float = 0.0) -> Iterator[tuple[float, Image]]:
    """
    The picture at or behind each tick of `fps` from `from_s` on, with its time (s) since the video's beginning.

    Decoded as they are asked for. Raises: DaemonError: no video that can be read.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DaemonError(f"{path.name} holds no video")
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            begin_s = float((stream.start_time or 0) * stream.time_base)
            if from_s > 0:
                container.seek(math.floor((begin_s + from_s) / stream.time_base), stream=stream)
            tick = 0
            for frame in container.decode(stream):
                since_s = float(frame.time or 0.0) - begin_s - from_s
                if since_s + 1e-6 >= tick / fps:
                    tick = int(since_s * fps + 1e-6) + 1
                    yield from_s + since_s, frame.to_ndarray(format="rgb24")
    except av.FFmpegError as error:
        raise DaemonError(f"{path.name} cannot be read: {error.strerror or error}") from error
