"""`vigild bench streamingbench`: its annotations, prompts, times and scores, on a small data set of its form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.bench import _published as published
from daemon.bench import form, streamingbench
from daemon.bench._showing import Asked, Question, Watched, show_all
from daemon.bench._tally import Tally
from daemon.bench.form import Options
from daemon.bench.streamingbench import figures, first_letter_is, proactive, read
from daemon.errors import DaemonError
from streaming.sources.synthetic import Scene, render_file

FOUR = ["A. Red.", "B. Blue.", "C. White.", "D. None."]


def entry(video: str, **question: Any) -> dict[str, Any]:
    """One entry as they write it."""
    return {
        "time": "[0:00:00 - 0:00:05]",
        "questions": [{**question, "required_ability": "working memory"}],
        "video_categories": "surveillance",
        "video_path": f"./videos/{video}.mp4",
    }


def choice(video: str, task: str, at: str, answer: str = "B", options: list[str] = FOUR) -> dict[str, Any]:
    return entry(
        video, task_type=task, question="What colour is the car?", time_stamp=at, answer=answer, options=options
    )


DATA: dict[str, list[Any]] = {
    "real": [choice("yard_real", "Object Perception", "00:00:01"), choice("yard_real", "Counting", "00:00:03", "A")],
    "omni": [
        choice("road_omni", "Emotion Recognition", "00:00:02"),
        choice("road_omni", "Misleading Context Understanding", "00:00:03"),
    ],
    "sqa": [
        [
            choice("yard_real", "Sequential Question Answering", "00:00:01", "C", ["4.", "2.", "8.", "6."]),
            choice("yard_real", "Sequential Question Answering", "00:00:02", "A", ["5.", "6.", "7.", "8."]),
        ]
    ],
    "proactive": [
        entry(
            "road_omni",
            task_type="Proactive Output",
            question='When a car comes, output "car".',
            time_stamp="00:00:01",
            ground_truth_time_stamp="00:00:02",
            ground_truth_output="car",
        )
    ],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four files and both videos, each of five seconds; not to be changed."""
    folder = tmp_path_factory.mktemp("streamingbench")
    (folder / "videos").mkdir()
    for name, start_s in (("yard_real", 4.0), ("road_omni", 20.0)):
        render_file(folder / "videos" / f"{name}.mp4", Scene("yard", 96, 64), seconds=5.0, fps=8, start_s=start_s)
    write(folder, DATA)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MAX_PIXELS", 64 * 64)


def write(folder: Path, data: dict[str, list[Any]]) -> None:
    for name, value in data.items():
        (folder / f"questions_{name}.json").write_text(json.dumps(value))


def begun(question: Question) -> Asked:
    return next(question.talk())


def mark(question: Question, *said: str | None) -> bool:
    """What the conversation comes to with these answers."""
    talk = question.talk()
    next(talk)
    for text in said[:-1]:
        talk.send(text)
    with pytest.raises(StopIteration) as end:
        talk.send(said[-1])
    return bool(end.value.value)


def test_every_question_of_every_file_is_read(whole: Path) -> None:
    """With its group of Table 1, its video, and its time; a checkout is found by its src/data."""
    found = {each.id: each for each in read(whole)}
    assert {name: (each.group, each.task, each.from_s) for name, each in found.items()} == {
        "questions_real/0/0": ("real_time", "Object Perception", 0),
        "questions_real/1/0": ("real_time", "Counting", 0),
        "questions_omni/0/0": ("omni_source", "Emotion Recognition", 0),
        "questions_omni/1/0": ("contextual", "Misleading Context Understanding", 0),
        "questions_sqa/0/0/0": ("contextual", "Sequential Question Answering", 0),
        "questions_sqa/0/1/0": ("contextual", "Sequential Question Answering", 0),
        "questions_proactive/0/0": ("contextual", "Proactive Output", 1),
    }
    assert found["questions_omni/0/0"].video == whole / "videos" / "road_omni.mp4"
    assert begun(found["questions_omni/1/0"]).at_s == 3


def test_a_checkout_is_read_at_its_data(tmp_path: Path) -> None:
    """Only the files that are there, whatever the others would be."""
    data = tmp_path / "src" / "data"
    data.mkdir(parents=True)
    write(data, {"omni": DATA["omni"]})
    found = read(tmp_path)
    assert [each.task for each in found] == ["Emotion Recognition", "Misleading Context Understanding"]
    assert found[0].video == data / "videos" / "road_omni.mp4"


def test_the_prompt_is_theirs(whole: Path) -> None:
    """PROMPT_TEMPLATE and what StreamingBench.py puts behind it, word for word."""
    assert begun(read(whole)[0]).prompt == (
        "You are an advanced video question-answering AI assistant. You have been provided with some frames from the video and a multiple-choice question related to the video. Your task is to carefully analyze the video and provide the best answer to question, choosing from the four options provided. Respond with only the letter (A, B, C, or D) of the correct option.\n"
        "\n"
        "Question: What colour is the car?\n"
        "\n"
        "Options:\n"
        "A. Red.\nB. Blue.\nC. White.\nD. None.\n"
        "\n"
        "The best option is:"
    )


def test_later_questions_know_the_earlier_ones_and_their_true_answers(whole: Path) -> None:
    """As StreamingBenchSQA.py tells them; options without letters are given theirs."""
    first, second = (begun(each).prompt for each in read(whole) if each.task.startswith("Sequential"))
    assert "correct option.\n\n\n\nHere is the question." in first
    assert "Options:\nA. 4.\nB. 2.\nC. 8.\nD. 6.\n\nThe best option is:" in first
    assert (
        "correct option.\n\nHere are the contextual information related to the video. Please answer the questions based on the contextual information: "
        "At timestamp 00:00:01, the following question and answer occurred: Question: What colour is the car?; "
        "Options: A. 4., B. 2., C. 8., D. 6.; Answer: C; \n\n"
        "Here is the question. Answer it and don't confuse it with the previous conversation.\nQuestion: What colour"
    ) in second


@pytest.mark.parametrize(
    ("said", "right"),
    [("B", True), ("B. Blue.", True), ("\nB", True), ("A", False), ("b", False), ("The best is B", False), ("", False)],
)
def test_the_first_letter_counts(whole: Path, said: str, right: bool) -> None:
    """`question[model][0] == question["answer"]` of count.py; no answer is a wrong one."""
    assert first_letter_is("B")(said) == right
    assert mark(read(whole)[0], said) == right
    assert not mark(read(whole)[0], None)


def asked_until(answers: Callable[[int], str | None]) -> tuple[list[float], bool]:
    """When a proactive question at 10 s with its truth at 14 s is asked, given what is said each time; and its mark."""
    talk = proactive("Now?", start_s=10, truth_s=14)
    times, asked = [], next(talk)
    while True:
        times.append(asked.at_s)
        try:
            asked = talk.send(answers(int(asked.at_s)))
        except StopIteration as end:
            return times, bool(end.value)


@pytest.mark.parametrize(
    ("yes_from", "last", "right"),
    [(11, 11, False), (12, 12, True), (14, 14, True), (16, 16, True), (17, 17, False), (19, 18, False)],
)
def test_a_proactive_output_is_right_within_two_seconds(yes_from: int, last: int, right: bool) -> None:
    """Asked every second from the one behind the question to the truth + 4 s; the first yes decides."""
    times, mark = asked_until(lambda at: "  Yes, it is." if at >= yes_from else "No." if at % 2 else None)
    assert times == list(range(11, last + 1))
    assert mark == right


def test_a_proactive_output_is_asked_as_theirs(whole: Path) -> None:
    asked = begun(read(whole)[-1])
    assert asked.at_s == 2
    assert asked.prompt.endswith(
        'then output the correct content.\n\nQuestion: When a car comes, output "car". Is it the right time to output '
        '"car"? You can only answer yes or no.\n\nThe answer is:\n'
    )


def test_figures_are_of_all_questions_alike() -> None:
    """A task with many questions weighs more; a group of which nothing was asked is left out."""
    found = figures({("real_time", "a"): Tally(9, 10), ("real_time", "b"): Tally(0, 2), ("other", "c"): Tally(0, 3)})
    assert found == pytest.approx({"accuracy": 9 / 15, "real_time": 9 / 12})


def test_the_suite_runs_and_names_its_figures(whole: Path) -> None:
    """From files to figures with two ways of dropping; the videos are shown, and the proactive one from its question."""
    report = streamingbench.run(
        Options(device="cpu", data=whole, drops=("pixel+dtdr", "none"), budget_tokens=512), lambda _: None
    )
    line = json.loads(form.last_line("streamingbench", report))
    names = {"accuracy", "real_time", "omni_source", "contextual", "kept", "encoded", "memory_tokens"}
    assert set(line["figures"]) == names | {f"none.{name}" for name in names} | {
        "questions",
        "questions_skipped",
        "videos_missing",
    }
    assert line["figures"]["questions"] == 7
    assert line["figures"]["none.kept"] == 1 > line["figures"]["kept"]
    rows = {(row["drop"], row["task"]): row for row in line["rows"]}
    assert rows["none", "Sequential Question Answering"]["asked"] == 2
    assert 0 <= rows["none", "all"]["low95"] <= rows["none", "all"]["accuracy"] <= rows["none", "all"]["high95"] <= 1
    assert rows["none", "all"]["frames"] >= 6 + 6 + 2  # two videos to 3 s, and the road again from 1 s
    assert str(whole) not in json.dumps(line)


def test_what_the_model_says_is_what_is_scored(whole: Path, tmp_path: Path) -> None:
    """With its own first letters as the true answers it is right, with others wrong."""
    replies = said(whole, tmp_path / "cache")
    (tmp_path / "videos").symlink_to(whole / "videos")
    truth = [entry | {"questions": [dict(entry["questions"][0])]} for entry in DATA["real"]]
    for number, each in enumerate(truth):
        each["questions"][0]["answer"] = replies[f"questions_real/{number}/0"].lstrip()[:1]
    write(tmp_path, {"real": truth})
    assert streamingbench.run(Options(device="cpu", data=tmp_path), lambda _: None).figures["accuracy"] == 1
    for each in truth:
        each["questions"][0]["answer"] += "?"
    write(tmp_path, {"real": truth})
    assert streamingbench.run(Options(device="cpu", data=tmp_path), lambda _: None).figures["accuracy"] == 0


def said(folder: Path, cache: Path) -> dict[str, str]:
    """What the model answers to every question that is asked once."""
    found: dict[str, str] = {}
    questions = [each for each in read(folder) if each.task != "Proactive Output"]
    [camera] = published.cameras(Options())
    watched = Watched(camera)
    model = published.loaded("tiny-random", "cpu", cache, max_pixels=published.MAX_PIXELS)
    show_all(published.engine_for(model, [watched]), [watched], questions, fps=2.0, say=lambda _: None)
    for reply in watched.replies:
        assert reply.text
        found[reply.question] = reply.text
    return found


def test_missing_videos_are_told_or_left_out(whole: Path, tmp_path: Path) -> None:
    """An error that names one and the way out; with --skip-missing the others are asked and both are counted."""
    write(tmp_path, DATA)
    (tmp_path / "videos").mkdir()
    with pytest.raises(DaemonError, match=r"2 videos are missing, the first is .*road_omni\.mp4; .*--skip-missing"):
        streamingbench.run(Options(data=tmp_path), lambda _: None)
    with pytest.raises(DaemonError, match="not one of the 2 videos is there"):
        streamingbench.run(Options(data=tmp_path, skip_missing=True), lambda _: None)
    (tmp_path / "videos" / "yard_real.mp4").symlink_to(whole / "videos" / "yard_real.mp4")
    report = streamingbench.run(Options(device="cpu", data=tmp_path, skip_missing=True), lambda _: None)
    counts = {name: report.figures[name] for name in ("questions", "questions_skipped", "videos_missing")}
    assert counts == {"questions": 4, "questions_skipped": 3, "videos_missing": 1}
    assert any("1 videos are missing" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("real", {"time_stamp": "soon"}, r"questions_real\.json, entry 0, questions 0: 'time_stamp' is no time"),
        ("real", {"time_stamp": None}, "'time_stamp' is no text"),
        ("real", {"question": " "}, "'question' is no text"),
        ("real", {"options": "A. Red."}, "'options' is no list of texts"),
        ("real", {"options": ["A. Red.", "B. Blue."]}, "'options' are 2 texts, not 4"),
        ("omni", {"answer": 2}, r"questions_omni\.json, entry 0, questions 0: 'answer' is no text: '2'"),
        ("proactive", {"ground_truth_output": None}, "'ground_truth_output' is no text"),
        ("proactive", {"ground_truth_time_stamp": "x"}, "'ground_truth_time_stamp' is no time"),
    ],
)
def test_a_malformed_question_is_told_with_its_place(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    [first, *_] = DATA[name]
    write(tmp_path, {name: [first | {"questions": [first["questions"][0] | change]}]})
    with pytest.raises(DaemonError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("real", ["text"], "entry 0: an object was expected"),
        ("real", [{"questions": []}], "'video_path' is missing"),
        ("real", [{"video_path": "a.mp4", "questions": []}], "'questions' is no list"),
        (
            "real",
            [{"video_path": "a.mp4", "questions": [{"question": "?"}]}],
            "'task_type' is missing|'time_stamp' is missing",
        ),
        ("sqa", [{"questions": []}], r"questions_sqa\.json, video 0: a list of entries was expected"),
    ],
)
def test_malformed_entries_are_told_with_their_place(tmp_path: Path, name: str, value: list[Any], message: str) -> None:
    write(tmp_path, {name: value})
    with pytest.raises(DaemonError, match=message):
        read(tmp_path)
