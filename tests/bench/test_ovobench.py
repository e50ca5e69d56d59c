"""`vigild bench ovobench`: its annotations, prompts, times and scores, on a small data set of its form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.bench import _published as published
from daemon.bench import form, ovobench
from daemon.bench._showing import Asked, Question
from daemon.bench._tally import Tally
from daemon.bench.form import Options
from daemon.bench.ovobench import MODE_OF, MODES, digits_are, figures, letter_is_in, read, says
from daemon.errors import DaemonError
from streaming.sources.synthetic import Scene, render_file

CHOICE: dict[str, Any] = {
    "id": 7,
    "task": "OJR",
    "video": "COIN/yard.mp4",
    "realtime": 2.73,
    "question": "What stands at the door?",
    "answer": "A person.",
    "options": ["A person.", "A dog.", "Nothing."],
    "gt": 1,
}
REC: dict[str, Any] = {
    "id": 20,
    "task": "REC",
    "video": "COIN/yard.mp4",
    "activity": "open the door",
    "start_times": [1],
    "end_times": [2],
    "test_info": [{"realtime": 1, "count": 0}, {"realtime": 3.5, "count": 1}],
}
SSR: dict[str, Any] = {
    "id": 21,
    "task": "SSR",
    "video": "COIN/yard.mp4",
    "tutorial": "LeaveTheYard",
    "all_steps": ["open the door", "walk away"],
    "start_time": [1, 2],
    "end_time": [2, 3],
    "test_info": [{"realtime": 1, "step": "open the door", "type": 1}, {"realtime": 2, "step": "walk away", "type": 0}],
}
CRR: dict[str, Any] = {
    "id": 22,
    "task": "CRR",
    "video": "road.mp4",
    "question": "What does he do next?",
    "answer": "He leaves.",
    "ask_time": 1,
    "clue_time": 2,
    "test_info": [{"realtime": 1, "type": 0}, {"realtime": 30, "type": 1}],
}
DATA = [CHOICE, CHOICE | {"id": 8, "task": "EPM", "realtime": 1}, REC, SSR, CRR]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The annotations and both videos, each of four seconds; not to be changed."""
    folder = tmp_path_factory.mktemp("ovobench")
    for name, start_s in (("COIN/yard", 4.0), ("road", 20.0)):
        path = folder / "src_videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        render_file(path, Scene("yard", 96, 64), seconds=4.0, fps=8, start_s=start_s)
    write(folder, DATA)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MAX_PIXELS", 64 * 64)
    monkeypatch.setattr(ovobench, "ANSWER_TOKENS", 8)


def write(folder: Path, data: list[Any]) -> None:
    (folder / "ovo_bench_new.json").write_text(json.dumps(data))


def begun(question: Question) -> Asked:
    return next(question.talk())


def mark(question: Question, said: str | None) -> bool:
    talk = question.talk()
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(said)
    return bool(end.value.value)


def test_every_moment_is_read_as_a_question(whole: Path) -> None:
    """In its mode, at its time, on its video; the moments of the forward tasks one by one."""
    found = {each.id: (each.group, each.task, begun(each).at_s, each.video.name) for each in read(whole)}
    assert found == {
        "7": ("realtime", "OJR", 2.73, "yard.mp4"),
        "8": ("backward", "EPM", 1, "yard.mp4"),
        "20_0": ("forward", "REC", 1, "yard.mp4"),
        "20_1": ("forward", "REC", 3.5, "yard.mp4"),
        "21_0": ("forward", "SSR", 1, "yard.mp4"),
        "21_1": ("forward", "SSR", 2, "yard.mp4"),
        "22_0": ("forward", "CRR", 1, "road.mp4"),
        "22_1": ("forward", "CRR", 30, "road.mp4"),
    }
    assert sum(len(tasks) for tasks in MODES.values()) == len(MODE_OF) == 12


def test_the_prompts_are_theirs(whole: Path) -> None:
    """The templates of constant.py, filled as utils/OVOBench.py fills them, word for word."""
    prompts = {each.id: begun(each).prompt for each in read(whole)}
    assert prompts["7"] == (
        "\nQuestion: What stands at the door?\nOptions:\nA. A person.; B. A dog.; C. Nothing.;\n\n"
        "Respond only with the letter corresponding to your chosen option (e.g., A, B, C). \n"
        "Do not include any additional text or explanation in your response.\n"
    )
    assert "\nNow, answer the following question: How many times did they open the door?\n" in prompts["20_0"]
    assert "(e.g., 0, 1, 2, 3…) indicating the total count.\n" in prompts["20_1"]
    assert "one step from the whole procedures: \nwalk away\nYour task" in prompts["21_1"]
    assert "i.e. the end of the video.\nWhat does he do next?\nDecide whether" in prompts["22_0"]
    assert all("Answer only with “Yes” or “No”.\n" in prompts[name] for name in ("21_0", "22_1"))
    only = "Do not include any additional text or explanation in your response.\n"
    assert all(prompt.startswith("\n") and prompt.endswith(only) for prompt in prompts.values())


@pytest.mark.parametrize(
    ("said", "right"), [("B", True), ("B. A dog.", True), ("It is B.", True), ("A", False), ("b", False), ("", False)]
)
def test_the_letter_is_in_the_answer(whole: Path, said: str, right: bool) -> None:
    """`int(gt in response)`, also where they would rather not have: "AB" has both."""
    assert letter_is_in("B")(said) == mark(read(whole)[0], said) == right
    assert letter_is_in("B")("AB")
    assert not mark(read(whole)[0], None)


@given(st.text(alphabet="0123456789 .ab-", max_size=8), st.integers(0, 120))
def test_the_digits_of_the_answer_are_the_count(said: str, count: int) -> None:
    """`"".join(re.findall(r"\\d+", response)) == str(gt)`"""
    assert digits_are(count)(said) == ("".join(char for char in said if char.isdigit()) == str(count))


@pytest.mark.parametrize(
    ("said", "yes", "no"),
    [
        ("Yes", 1, 0),
        ("Yes.", 1, 0),
        ("No", 0, 1),
        ("Y", 1, 0),
        ("N", 0, 1),
        ("yes", 0, 0),
        ("No. Yes.", 1, 1),
        ("", 0, 0),
    ],
)
def test_yes_and_no_are_in_the_answer(whole: Path, said: str, yes: int, no: int) -> None:
    """The words with their capitals, or the bare letters."""
    assert (says(yes=True)(said), says(yes=False)(said)) == (yes, no)
    found = {each.id: each for each in read(whole)}
    assert (mark(found["21_0"], said), mark(found["21_1"], said)) == (yes, no)
    assert (mark(found["22_1"], said), mark(found["22_0"], said)) == (yes, no)


def test_figures_are_means_of_tasks() -> None:
    """As score.py has it: a mode is the mean of its tasks, the total that of all tasks, however many questions each has."""
    tallies = {
        ("backward", "EPM"): Tally(1, 4),
        ("backward", "ASI"): Tally(30, 40),
        ("forward", "REC"): Tally(0, 5),
    }
    assert figures(tallies) == pytest.approx({"accuracy": 1 / 3, "backward": 0.5, "forward": 0.0})


def test_the_suite_runs_and_names_its_figures(whole: Path) -> None:
    """From files to figures, by mode; each video is shown once for all its questions."""
    report = ovobench.run(Options(device="cpu", data=whole, drops=("none", "feature"), fps=4.0), lambda _: None)
    line = json.loads(form.last_line("ovobench", report))
    assert {"accuracy", "backward", "realtime", "forward", "kept", "feature.accuracy", "feature.kept"} <= set(
        line["figures"]
    )
    rows = {(row["drop"], row["task"]): row for row in line["rows"]}
    assert rows["none", "all"]["asked"] == line["figures"]["questions"] == 8
    assert rows["none", "all"]["frames"] == 14 + 16  # the yard until 3.5 s, the road to its end: 30 s are not there
    assert rows["none", "REC"]["asked"] == rows["feature", "CRR"]["asked"] == 2
    assert line["settings"]["fps"] == 4.0


def test_videos_may_be_cut_for_each_question(whole: Path, tmp_path: Path) -> None:
    """chunked_videos/<id>.mp4 and <id>_<i>.mp4, where the whole video is not there."""
    (tmp_path / "chunked_videos").mkdir()
    write(tmp_path, DATA)
    for name in ("7", "20_1"):
        (tmp_path / "chunked_videos" / f"{name}.mp4").symlink_to(whole / "src_videos" / "road.mp4")
    report = ovobench.run(Options(device="cpu", data=tmp_path, skip_missing=True), lambda _: None)
    assert report.figures["questions"] == 2
    assert report.figures["questions_skipped"] == 6
    assert {row["task"] for row in report.rows} == {"OJR", "REC", "all"}
    with pytest.raises(DaemonError, match="videos are missing"):
        ovobench.run(Options(data=tmp_path), lambda _: None)


def test_the_early_annotations_are_not_taken_for_the_benchmark(tmp_path: Path) -> None:
    """They are a third of it, and lack a mode."""
    (tmp_path / "ovbench.json").write_text(json.dumps(DATA))
    with pytest.raises(DaemonError, match=r"holds no ovo_bench_new\.json"):
        read(tmp_path)


def test_the_checkouts_data_folder_is_found(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(whole)
    assert [each.id for each in read(tmp_path)] == [each.id for each in read(whole)]


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        (CHOICE, {"task": "XYZ"}, r"ovo_bench_new\.json, entry 0: 'task' is none of EPM, ASI, .*: 'XYZ'"),
        (CHOICE, {"id": "7"}, "'id' is no whole number"),
        (CHOICE, {"realtime": "2"}, "'realtime' is no number of seconds"),
        (CHOICE, {"realtime": -1}, "'realtime' is no number of seconds"),
        (CHOICE, {"options": []}, "'options' is no list of texts"),
        (CHOICE, {"gt": 3}, "'gt' is no whole number from 0 to 2: '3'"),
        (CHOICE, {"gt": True}, "'gt' is no whole number"),
        (CHOICE, {"question": None}, "'question' is no text"),
        (CHOICE, {"video": 5}, "'video' is no text"),
        (REC, {"activity": ""}, "'activity' is no text"),
        (REC, {"test_info": [{"realtime": 1}]}, "entry 0, test_info 0: 'count' is missing"),
        (SSR, {"test_info": [{"realtime": 1, "step": "go", "type": 2}]}, "'type' is no whole number from 0 to 1"),
        (SSR, {"test_info": [{"realtime": 1, "type": 1}]}, "'step' is missing"),
        (CRR, {"test_info": {}}, "'test_info' is no list"),
        (CRR, {"question": ""}, "'question' is no text"),
    ],
)
def test_malformed_annotations_are_told_with_their_place(
    tmp_path: Path, entry: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    write(tmp_path, [entry | change])
    with pytest.raises(DaemonError, match=message):
        read(tmp_path)
