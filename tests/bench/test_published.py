"""What the published benchmarks share: showing a video, asking in time, counting."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.bench import _published as published
from daemon.bench import form
from daemon.bench._annotations import entries, told
from daemon.bench._model import loaded
from daemon.bench._published import cameras, first_of_each_task
from daemon.bench._showing import Asked, Question, Talk, Watched, once, pictures, show_all
from daemon.bench._tally import Tally
from daemon.bench.form import Options
from daemon.commands.bench import everything
from daemon.errors import DaemonError
from streaming.sources.synthetic import Scene, render_file

SECONDS, FILE_FPS = 6.0, 10.0
TIMES_S = (0.0, 0.03, 0.5, 1.0, 1.2, 2.49, 2.5, 5.99, 60.0)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds in which something happens all the time."""
    path = tmp_path_factory.mktemp("videos") / "yard.mp4"
    render_file(path, Scene("yard", 96, 64), seconds=SECONDS, fps=FILE_FPS, start_s=4.0)
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> object:
    return loaded("tiny-random", "cpu", tmp_path_factory.mktemp("models"), max_pixels=64 * 64)


def question(name: str, video: Path, *at_s: float, from_s: float = 0.0, task: str = "t") -> Question:
    """One that asks at each of these times and is right when all answers are heard."""

    def talk() -> Talk:
        heard = 0
        for time_s in at_s:
            heard += (yield Asked(time_s, f"{name}: what is to be seen at {time_s} s?", 6)) is not None
        return heard == len(at_s)

    return Question(name, "g", task, video, talk, from_s)


def shown(model: object, questions: list[Question], *, drops: tuple[str, ...] = ("none",), fps: float = 2.0):
    """What every way of dropping answered."""
    watched = [Watched(camera) for camera in cameras(Options(drops=drops, fps=fps, budget_tokens=512))]
    engine = published.engine_for(model, watched)
    show_all(engine, watched, questions, fps=fps, say=lambda _: None)
    engine.check()
    assert engine.rows_taken == 0
    return watched


@pytest.mark.parametrize("fps", [0.5, 2.0, 10.0, 25.0])
def test_no_frame_of_the_questions_time_or_later_is_seen(tiny, video: Path, fps: float) -> None:
    """A question at T knows the last sampled picture before T, as of the file [0, T); at 0 there is none."""
    [watched] = shown(tiny, [question(f"q{at}", video, at) for at in TIMES_S], fps=fps)
    times = [t_s for t_s, _ in pictures(video, fps=fps)]
    assert {reply.at_s for reply in watched.replies} == set(TIMES_S)
    for reply in watched.replies:
        before = [t_s for t_s in times if t_s < reply.at_s]
        assert reply.seen_s == (pytest.approx(before[-1]) if before else None)
        assert (reply.text is None) == (reply.at_s == 0)
    assert watched.frames == len(times)


@pytest.mark.parametrize("drop", ["none", "feature", "pixel+dtdr"])
def test_a_question_leaves_no_trace(tiny, video: Path, drop: str) -> None:
    """Asked in one showing or each in a showing of its own: the same answers on the same memory."""
    questions = [question(f"q{at}", video, at) for at in TIMES_S]
    [together] = shown(tiny, questions, drops=(drop,))
    alone = [shown(tiny, [each], drops=(drop,))[0] for each in questions]
    assert sorted(together.replies, key=str) == sorted((reply for each in alone for reply in each.replies), key=str)
    assert any(reply.text for reply in together.replies)


def test_ways_of_dropping_see_the_same_pictures(tiny, video: Path) -> None:
    """Beside each other or alone makes no difference, and dropping keeps less."""
    questions = [question(f"q{at}", video, at, at + 1.0) for at in TIMES_S]
    whole, dropped = shown(tiny, questions, drops=("none", "pixel+dtdr"))
    assert [whole.costs(), whole.replies] == [(w := shown(tiny, questions)[0]).costs(), w.replies]
    assert whole.frames == dropped.frames
    assert whole.tokens_kept == whole.tokens_in == dropped.tokens_in > dropped.tokens_kept
    assert dropped.memory_tokens < whole.memory_tokens


def test_a_conversation_goes_on_in_the_same_showing(tiny, video: Path) -> None:
    """What an answer leads to is asked at its own time, many conversations side by side, past the end at the end."""
    questions = [question(f"q{n}", video, n / 4, n / 4 + 1, 10.0 + n) for n in range(1, 20)]
    [watched] = shown(tiny, questions)
    assert len(watched.marks) == len(questions)
    assert all(right for _, right in watched.marks)
    assert len(watched.replies) == 3 * len(questions)
    for reply in watched.replies:
        assert reply.seen_s is not None
        assert min(reply.at_s, SECONDS) - 0.5 - 1e-6 <= reply.seen_s < reply.at_s


def test_a_showing_stops_with_its_last_question(tiny, video: Path) -> None:
    [watched] = shown(tiny, [question("q", video, 1.1)])
    assert watched.frames == 3


def test_a_showing_may_begin_within_the_video(tiny, video: Path) -> None:
    """What lies before `from_s` is never seen."""
    [watched] = shown(tiny, [question("q", video, 3.0, from_s=2.0), question("r", video, 3.0)])
    late, whole = sorted(watched.replies, key=lambda reply: reply.memory_tokens)
    assert (late.question, whole.question) == ("q", "r")
    assert late.seen_s == whole.seen_s == pytest.approx(2.5)
    assert watched.frames == 2 + 6


@pytest.mark.parametrize("from_s", [0.3, 1.0, 2.5, 5.9])
def test_pictures_from_within_are_those_of_the_whole(video: Path, from_s: float) -> None:
    """Seeking to the key frame before and decoding on gives the same pictures at the same times."""
    whole = [(t_s, image) for t_s, image in pictures(video, fps=FILE_FPS) if t_s >= from_s - 1e-6]
    part = list(pictures(video, fps=FILE_FPS, from_s=from_s))
    assert [t_s for t_s, _ in part] == pytest.approx([t_s for t_s, _ in whole])
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(part, whole, strict=True))


def test_beyond_the_end_there_is_nothing_to_see(tiny, video: Path) -> None:
    """A question that begins there is asked all the same, and gets no answer."""
    assert list(pictures(video, fps=2.0, from_s=60.0)) == []
    [watched] = shown(tiny, [question("q", video, 61.0, from_s=60.0)])
    assert [(reply.seen_s, reply.text) for reply in watched.replies] == [(None, None)]
    assert [right for _, right in watched.marks] == [False]
    assert watched.costs() == {"memory_tokens": 0.0}


def test_a_file_that_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("not a video")
    with pytest.raises(DaemonError, match=r"clip\.mp4 cannot be read"):
        list(pictures(tmp_path / "clip.mp4", fps=2.0))


def test_a_question_that_is_too_long_ends_the_run(tiny, video: Path) -> None:
    """A benchmark that could not ask is no wrong answer."""
    long = Question("long", "g", "t", video, once(Asked(1.0, "word " * 5000, 2), bool))
    with pytest.raises(DaemonError, match=r"question long cannot be asked: .* shorten it"):
        shown(tiny, [long])


def test_no_answer_is_a_wrong_one() -> None:
    for text, right in ((None, False), ("x", True)):
        talk = once(Asked(0.0, "?", 1), lambda _: True)()
        next(talk)
        with pytest.raises(StopIteration) as end:
            talk.send(text)
        assert end.value.value is right


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(drops=("none", "half")), "--drop: no drop rule 'half'"),
        (Options(drops=("pixel+pixel",)), "--drop: .*both look at"),
        (Options(policy="all"), "--policy: no memory policy 'all'"),
        (Options(budget_tokens=0), "--budget: 0 is not above 0"),
        (Options(fps=0.0), "--fps: 0.0 is not above 0"),
        (Options(fps=math.nan), "--fps: nan"),
    ],
)
def test_options_that_cannot_be_are_told(options: Options, message: str) -> None:
    with pytest.raises(DaemonError, match=message):
        cameras(options)


def test_a_budget_too_small_is_told_before_a_video_is_shown(tiny) -> None:
    with pytest.raises(DaemonError, match="--budget 3: a memory of 3 tokens is too small"):
        published.engine_for(tiny, [Watched(camera) for camera in cameras(Options(budget_tokens=3))])


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(right: int, asked: int, low: float, high: float) -> None:
    """The examples of Newcombe 1998, method 3; and those of the opposite question."""
    assert Tally(right, asked).interval == pytest.approx((low, high), abs=6e-5)
    assert Tally(asked - right, asked).interval == pytest.approx((1 - high, 1 - low), abs=6e-5)


@given(st.integers(1, 2000), st.data())
def test_the_interval_holds_the_accuracy(asked: int, data: st.DataObject) -> None:
    """Within 0..1, symmetric in right and wrong, narrower with more of the same."""
    tally = Tally(data.draw(st.integers(0, asked)), asked)
    low, high = tally.interval
    assert 0 <= low <= tally.accuracy <= high <= 1
    assert Tally(asked - tally.right, asked).interval == pytest.approx((1 - high, 1 - low))
    more_low, more_high = Tally(4 * tally.right, 4 * asked).interval
    assert more_high - more_low < high - low


def test_the_short_form_takes_the_first_of_every_task(video: Path) -> None:
    questions = [question(f"{task}{n}", video, 1.0, task=task) for n in range(3) for task in "ab"]
    assert [each.id for each in first_of_each_task(questions, 2)] == ["a0", "b0", "a1", "b1"]


def test_all_leaves_out_what_needs_data(capsys: pytest.CaptureFixture[str]) -> None:
    """And says so on stderr, one line each."""
    ran = everything()
    assert {"drop", "ttft"} <= set(ran)
    left = set(form.names()) - set(ran)
    assert {"streamingbench", "ovobench"} <= left
    lines = capsys.readouterr()
    assert not lines.out
    assert [line.partition(":")[0] for line in lines.err.splitlines()] == sorted(left)
    assert all("--data" in line for line in lines.err.splitlines())


@pytest.mark.parametrize("name", ["streamingbench", "ovobench"])
def test_without_data_a_sentence_says_what_is_needed(name: str, tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=f"bench {name} needs --data"):
        form.load(name).run(Options(), lambda _: None)
    with pytest.raises(DaemonError, match=r"holds n.*\.json"):
        form.load(name).run(Options(data=tmp_path), lambda _: None)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("{}", "holds no list"), ("[]", "holds no list"), (None, "cannot be read")],
)
def test_a_file_that_holds_no_annotations_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "told.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DaemonError, match=message):
        entries(path)


@pytest.mark.parametrize(
    ("value", "seconds"), [("00:00:50", 50), ("0:02:22", 142), ("01:00:01", 3601), ("03:10", 190), ("7", 7)]
)
def test_times_are_read_as_theirs(value: str, seconds: int) -> None:
    """`sum(int(x) * 60 ** i for i, x in enumerate(reversed(t.split(":"))))`"""
    assert told("here", json.loads(json.dumps({"t": value}))).seconds("t") == seconds


@pytest.mark.parametrize("value", ["soon", "", "-1:00", "1:2.5", 5, None, True])
def test_what_is_no_time_is_told_with_its_place(value: object) -> None:
    with pytest.raises(DaemonError, match=r"--data: file, entry 3: 't'"):
        told("file, entry 3", {"t": value}).seconds("t")
