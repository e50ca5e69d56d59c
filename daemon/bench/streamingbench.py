r"""
`vigild bench streamingbench --data DIR --model ID`: StreamingBench, Lin et al., arXiv 2411.03628.

DIR is src/data of github.com/THUNLP-MT/StreamingBench (or the checkout itself) after its scripts/preprocess.sh:
questions_{real,omni,sqa,proactive}.json, those of them that are there, and the videos where "video_path" says.

* real, omni: a list of {"questions": [{"task_type", "question", "time_stamp": "00:00:50", "answer": "B", "options":
  [4 texts]}], "video_path": "./videos/sample_2_….mp4"}. Prompt and clip: src/benchmark/StreamingBench.py,
  `split_video(video_path, 0, timestamp)`: all context, CONTEXT_TIME=-1 of scripts/eval.sh.
* sqa: lists of such entries, one list a video; the prompt tells the earlier questions with their true answers
  (src/benchmark/StreamingBenchSQA.py).
* proactive: {"question", "time_stamp", "ground_truth_time_stamp", "ground_truth_output"}; src/benchmark/
  StreamingBenchProactive.py shows [time_stamp, now), asks every second until ground truth + 4 s whether it is time, and
  stops at the first answer with "yes" in it.

Scores: src/data/count.py: the answer's first letter is that of the right option; a proactive output is right when
`-2 <= last_time - ground_truth_time <= 2`, whatever it says. Counts are of all questions alike. Where count.py leaves
out what has no answer, we count it wrong. Task groups: Table 1 of the paper.

Left out: the *_stream.json files, whose questions are sound; questions without options, for which no score is
published; the CSV files of the hub, which name no videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from daemon.errors import DaemonError

from ._annotations import Told, entries, first_file, told
from ._published import Benchmark, measure
from ._showing import Asked, Question, Talk, once
from ._tally import Tally
from .form import Options, Report, Say

SUMMARY: Final = "StreamingBench: accuracy by task, tokens kept (needs --data, its annotations and videos)"
NEEDS_DATA: Final = True

FILES: Final = ("real", "omni", "sqa", "proactive")
REAL, OMNI, CONTEXT, OTHER = "real_time", "omni_source", "contextual", "other"
OMNI_TASKS: Final = {
    "Emotion Recognition": OMNI,
    "Scene Understanding": OMNI,
    "Source Discrimination": OMNI,
    "Multimodal Alignment": OMNI,
    "Misleading Context Understanding": CONTEXT,
    "Misleading Context Recognition": CONTEXT,  # its name in the hub's files
    "Anomaly Context Understanding": CONTEXT,
}
LETTERS: Final = "ABCD"
LETTER_TOKENS: Final = 8  # only the first letter counts
YES_TOKENS: Final = 32
POLL_S: Final = 1
POLL_BEHIND_S: Final = 4
WITHIN_S: Final = 2

PROMPT: Final = (
    "You are an advanced video question-answering AI assistant. You have been provided with some frames from the "
    "video and a multiple-choice question related to the video. Your task is to carefully analyze the video and "
    "provide the best answer to question, choosing from the four options provided. Respond with only the letter (A, "
    "B, C, or D) of the correct option.\n\nQuestion: {}\n\nOptions:\n{}\n{}\n{}\n{}\n\nThe best option is:"
)
PROMPT_SQA: Final = (
    "You are an advanced video question-answering AI assistant. You have been provided with a video and a "
    "multiple-choice question related to the video. Your task is to carefully analyze the video and the provided "
    "context to answer the question, choosing from the four options provided. Respond with only the letter (A, B, C, "
    "or D) of the correct option.\n\n{}\n\nHere is the question. Answer it and don't confuse it with the previous "
    "conversation.\nQuestion: {}\n\nOptions:\n{}\n{}\n{}\n{}\n\nThe best option is:"
)
CONTEXT_LEAD: Final = (
    "Here are the contextual information related to the video. Please answer the questions based on the contextual "
    "information: "
)
CONTEXT_EACH: Final = (
    "At timestamp {}, the following question and answer occurred: Question: {}; Options: {}, {}, {}, {}; Answer: {}; "
)
PROMPT_PROACTIVE: Final = (
    "You are an advanced image question-answering AI assistant. You have been provided with images and a question "
    "related to the images. Your task is to carefully analyze the images and provide the answer to the question. You "
    "need to carefully confirm whether the images content meet the conditions of the question, and then output the "
    "correct content.\n\nQuestion: {}\n\nThe answer is:\n"
)
QUERY_PROACTIVE: Final = '{} Is it the right time to output "{}"? You can only answer yes or no.'


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for as long as the videos take. Raises: DaemonError: as `read`, or videos are missing."""
    return measure(Benchmark("streamingbench", read, figures, NOTES), options, say)


NOTES: Final = (
    "all context: a question is asked after everything before it, but for proactive output, shown from its question on",
    "omni_source is judged on the pictures alone: nothing is heard here",
)


def figures(tallies: Mapping[tuple[str, str], Tally]) -> dict[str, float]:
    """accuracy: of all questions alike; and of the questions of each group of Table 1."""
    found: dict[str, float] = {}
    for name, groups in {"accuracy": {REAL, OMNI, CONTEXT, OTHER}, **{g: {g} for g in (REAL, OMNI, CONTEXT)}}.items():
        counted = [tally for (group, _), tally in tallies.items() if group in groups]
        if counted:
            found[name] = sum(tally.right for tally in counted) / sum(tally.asked for tally in counted)
    return found


def read(folder: Path) -> list[Question]:
    """The questions of every annotation file that is there. Raises: DaemonError: none is, or one is malformed."""
    root = folder / "src" / "data" if (folder / "src" / "data").is_dir() else folder
    there = [name for name in FILES if _file(root, name).is_file()]
    if not there:
        raise DaemonError(
            f"--data: {folder} holds none of {', '.join(_file(root, name).name for name in FILES)}, "
            "the annotations in src/data of github.com/THUNLP-MT/StreamingBench"
        )
    return [question for name in there for question in READERS[name](root, _file(root, name))]


def choices(entry: Told) -> Sequence[str]:
    """The first four options, which the prompt shows: lettered, unless they are already."""
    options = entry.texts("options")[: len(LETTERS)]
    if len(options) < len(LETTERS):
        entry.refuse("options", f"are {len(options)} texts, not {len(LETTERS)}")
    if options[0].startswith("A."):
        return options
    return [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]


def first_letter_is(answer: str) -> Callable[[str], bool]:
    """Right is what begins with the letter; white space that a model puts before it is no letter."""
    return lambda text: text.lstrip()[:1] == answer


def proactive(query: str, *, start_s: int, truth_s: int) -> Talk:
    """Asks every second whether it is time. Right is a first yes within WITHIN_S of the truth."""
    prompt = PROMPT_PROACTIVE.format(query)
    for at_s in range(start_s + POLL_S, truth_s + POLL_BEHIND_S + 1, POLL_S):
        answer = yield Asked(at_s, prompt, YES_TOKENS)
        if answer is not None and "yes" in answer.strip().lower():
            return abs(at_s - truth_s) <= WITHIN_S
    return False


def _file(root: Path, name: str) -> Path:
    return root / f"questions_{name}.json"


def _read_real(root: Path, path: Path) -> Iterator[Question]:
    for entry, question, video, name in _questions(root, path, entries(path), path.name):
        yield _choice(entry, video, name, REAL, question)


def _read_omni(root: Path, path: Path) -> Iterator[Question]:
    for entry, question, video, name in _questions(root, path, entries(path), path.name):
        yield _choice(entry, video, name, OMNI_TASKS.get(entry.text("task_type"), OTHER), question)


def _choice(entry: Told, video: Path, name: str, group: str, question: str) -> Question:
    asked = Asked(entry.seconds("time_stamp"), PROMPT.format(question, *choices(entry)), LETTER_TOKENS)
    return Question(name, group, entry.text("task_type"), video, once(asked, first_letter_is(entry.text("answer"))))


def _read_sqa(root: Path, path: Path) -> Iterator[Question]:
    for number, video_entries in enumerate(entries(path)):
        where = f"{path.name}, video {number}"
        if not isinstance(video_entries, list):
            raise DaemonError(f"--data: {where}: a list of entries was expected, not {str(video_entries)[:60]!r}")
        before = ""
        for entry, question, video, name in _questions(root, path, video_entries, where, f"{number}/"):
            options, answer = choices(entry), entry.text("answer")
            prompt = PROMPT_SQA.format(before, question, *options)
            asked = Asked(entry.seconds("time_stamp"), prompt, LETTER_TOKENS)
            yield Question(name, CONTEXT, entry.text("task_type"), video, once(asked, first_letter_is(answer)))
            said = CONTEXT_EACH.format(entry.text("time_stamp"), question, *options, answer)
            before = (before or CONTEXT_LEAD) + said


def _read_proactive(root: Path, path: Path) -> Iterator[Question]:
    for entry, question, video, name in _questions(root, path, entries(path), path.name):
        start_s, truth_s = entry.seconds("time_stamp"), entry.seconds("ground_truth_time_stamp")
        query = QUERY_PROACTIVE.format(question, entry.text("ground_truth_output"))

        def talk(query: str = query, start_s: int = start_s, truth_s: int = truth_s) -> Talk:
            return proactive(query, start_s=start_s, truth_s=truth_s)

        yield Question(name, CONTEXT, entry.text("task_type"), video, talk, from_s=start_s)


READERS: Final[Mapping[str, Callable[[Path, Path], Iterator[Question]]]] = {  # by the name in FILES
    "real": _read_real,
    "omni": _read_omni,
    "sqa": _read_sqa,
    "proactive": _read_proactive,
}


def _questions(
    root: Path, path: Path, found: Sequence[Any], where: str, prefix: str = ""
) -> Iterator[tuple[Told, str, Path, str]]:
    """Each question of the entries with its text, its video and its id."""
    for number, value in enumerate(found):
        entry = told(f"{where}, entry {number}", value)
        given = Path(entry.text("video_path"))
        video = first_file((root / given, root / "videos" / given.name))
        for place, question in enumerate(entry.each("questions")):
            yield question, question.text("question"), video, f"{path.stem}/{prefix}{number}/{place}"
