r"""
`vigild bench ovobench --data DIR --model ID`: OVO-Bench, Li et al., of github.com/JoeLeelyf/OVO-Bench.

DIR is its data folder (or the checkout) with what huggingface.co/datasets/JoeLeelyf/OVO-Bench holds:
ovo_bench_new.json, and the videos as src_videos/<"video">, or cut as chunked_videos/<id>.mp4 and <id>_<i>.mp4. The
annotations are one list:

* backward EPM, ASI, HLD and real-time STU, OJR, ATR, ACR, OCR, FPD: {"id", "task", "video", "realtime": s, "question",
  "options": [texts], "gt": index}
* forward, with a "test_info" list of moments: REC {"activity", "test_info": [{"realtime", "count"}]}, SSR {"test_info":
  [{"realtime", "step", "type": 0 or 1}]}, CRR {"question", "test_info": [{"realtime", "type"}]}

Prompts: constant.py and utils/OVOBench.py, where a question sees the video of [0, realtime), and what is longer than
the video is asked at its end. Scores: utils/OVOBenchScore.py: the letter of the right option is in the answer
(`int(gt in response)`); REC: its digits together are the count; SSR and CRR: "Yes" or "No" is in it, or it is "Y" or
"N". No answer is wrong. A mode's score is the mean of its tasks, "Total Avg." the mean of all tasks.

The moments of the forward tasks are asked one by one as they publish it for models that are given files
(OVOBenchOffline); their OVOBenchOnline is an empty class, so that no other protocol is published. The repository's
early data/ovbench.json, without forward tasks and with paths of its authors' machines, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Final

from daemon.errors import DaemonError

from ._annotations import Told, entries, first_file, told
from ._published import Benchmark, measure
from ._showing import Asked, Question, once
from ._tally import Tally
from .form import Options, Report, Say

SUMMARY: Final = "OVO-Bench: accuracy by mode and task, tokens kept (needs --data, its annotations and videos)"
NEEDS_DATA: Final = True

FILE: Final = "ovo_bench_new.json"
BACKWARD, REALTIME, FORWARD = "backward", "realtime", "forward"
MODES: Final = {
    BACKWARD: ("EPM", "ASI", "HLD"),
    REALTIME: ("STU", "OJR", "ATR", "ACR", "OCR", "FPD"),
    FORWARD: ("REC", "SSR", "CRR"),
}
MODE_OF: Final = {task: mode for mode, tasks in MODES.items() for task in tasks}
ANSWER_TOKENS: Final = 256  # max_tokens of models/QWen2VL.py

ONLY: Final = "Do not include any additional text or explanation in your response.\n"
PROMPT: Final = (
    "\nQuestion: {}\n"
    "Options:\n{}\n\n"
    "Respond only with the letter corresponding to your chosen option (e.g., A, B, C). \n" + ONLY
)
PROMPT_REC: Final = (
    "\nYou're watching a video in which people may perform a certain type of action repetively. \n"
    "The person performing this kind of action are referred to as 'they' in the following statement.\n"
    "You're task is to count how many times have different people in the video perform this kind of action in total.\n"
    "One complete motion counts as one. \n"
    "Now, answer the following question: {}\n"
    "Provide your answer as a single number (e.g., 0, 1, 2, 3…) indicating the total count.\n" + ONLY
)
PROMPT_SSR: Final = (
    "\nYou're watching a tutorial video which contain a sequential of steps. \n"
    "The following is one step from the whole procedures: \n"
    "{}\n"
    "Your task is to determine if the man or woman in the video is currently performing this step.\n"
    "Answer only with “Yes” or “No”.\n" + ONLY
)
PROMPT_CRR: Final = (
    "\nYou're responsible of answering questions based on the video content. \n"
    "The following question are relevant to the latest frames, i.e. the end of the video.\n"
    "{}\n"
    "Decide whether existing visual content, especially latest frames, i.e. frames that near the end of the video, "
    "provide enough information for answering the question.\n"
    "Answer only with “Yes” or “No”.\n" + ONLY
)


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for as long as the videos take. Raises: DaemonError: as `read`, or videos are missing."""
    return measure(Benchmark("ovobench", read, figures, NOTES), options, say)


NOTES: Final = ("accuracy: the mean of all tasks, a mode's the mean of its tasks, as their score.py has it",)


def figures(tallies: Mapping[tuple[str, str], Tally]) -> dict[str, float]:
    """accuracy: their "Total Avg."; and the average of each mode that was asked."""
    found = {"accuracy": fmean(tally.accuracy for tally in tallies.values())}
    for mode in MODES:
        if tasks := [tally.accuracy for (group, _), tally in tallies.items() if group == mode]:
            found[mode] = fmean(tasks)
    return found


def read(folder: Path) -> list[Question]:
    """The questions of the annotations. Raises: DaemonError: there are none, or they are malformed."""
    root = folder / "data" if (folder / "data").is_dir() else folder
    path = root / FILE
    if not path.is_file():
        raise DaemonError(
            f"--data: {folder} holds no {FILE}, the annotations of huggingface.co/datasets/JoeLeelyf/OVO-Bench"
        )
    found: list[Question] = []
    for number, value in enumerate(entries(path)):
        entry = told(f"{path.name}, entry {number}", value)
        task = entry.text("task")
        if task not in MODE_OF:
            entry.refuse("task", f"is none of {', '.join(MODE_OF)}")
        found += _moments(root, entry, task) if MODE_OF[task] == FORWARD else [_choice(root, entry, task)]
    return found


def letter_is_in(letter: str) -> Callable[[str], bool]:
    return lambda text: letter in text


def digits_are(count: int) -> Callable[[str], bool]:
    """All digits of the answer, put together, are the count."""
    return lambda text: "".join(re.findall(r"\d+", text)) == str(count)


def says(*, yes: bool) -> Callable[[str], bool]:
    """The word is in the answer, with its capital; or the answer is its first letter."""
    word = "Yes" if yes else "No"
    return lambda text: text == word[0] or word in text


def _choice(root: Path, entry: Told, task: str) -> Question:
    number, options = entry.whole("id"), entry.texts("options")
    letter = chr(ord("A") + entry.whole("gt", below=len(options)))
    listed = "; ".join(f"{chr(ord('A') + place)}. {option}" for place, option in enumerate(options)) + ";"
    asked = Asked(entry.number("realtime"), PROMPT.format(entry.text("question"), listed), ANSWER_TOKENS)
    video = _video(root, entry, f"{number}.mp4")
    return Question(f"{number}", MODE_OF[task], task, video, once(asked, letter_is_in(letter)))


def _moments(root: Path, entry: Told, task: str) -> Iterator[Question]:
    number = entry.whole("id")
    for place, moment in enumerate(entry.each("test_info")):
        if task == "REC":
            prompt = PROMPT_REC.format(f"How many times did they {entry.text('activity')}?")
            right = digits_are(moment.whole("count"))
        else:
            asks = moment.text("step") if task == "SSR" else entry.text("question")
            prompt = (PROMPT_SSR if task == "SSR" else PROMPT_CRR).format(asks)
            right = says(yes=moment.whole("type", below=2) == 1)
        asked = Asked(moment.number("realtime"), prompt, ANSWER_TOKENS)
        video = _video(root, entry, f"{number}_{place}.mp4")
        yield Question(f"{number}_{place}", MODE_OF[task], task, video, once(asked, right))


def _video(root: Path, entry: Told, chunk: str) -> Path:
    """The whole video, which questions share; else the one that was cut for this question."""
    name = entry.text("video")
    places = [root, root / "videos"]
    return first_file([p / "src_videos" / name for p in places] + [p / "chunked_videos" / chunk for p in places])
