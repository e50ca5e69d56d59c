"""
The decoder learns to read the stream: questions behind random moments of recordings with dropped tokens.

Besides the answers, what every picture's last token tells half way up is trained, by throw-away heads, to hold the
answer to every question that could be asked then: so each answer lies ready where a question looks first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from streaming.models.dialogue import Dialogue
from streaming.models.qwen3_vl import VIDEO_PAD, VISION_END, VISION_START
from streaming.pocket.questions import DESCRIBE, KINDS_OF_QUESTION, YES, Topic

from .dropping import WAYS, drop
from .eyes import Eyes, Heads
from .loop import Pace, Running, Stage
from .precision import mixed
from .recording import Balance, Recording, record
from .sequence import Asked, Laid, Writer, visible
from .shape import MAX_POSITIONS

STREAM = "pocket_stream"
_MIDDLE = 3  # the decoder layer whose output tells what could be asked
_TOPICS = {Topic.PRESENT: 1.0, Topic.CHANGE: 1.8, Topic.PAST: 1.4}
_HARD = {  # how much more often they are asked than others of their topic
    "has_colour_person": 4.0,
    "has_colour_car": 3.0,
    "just": 3.0,
    "cars": 3.0,
    "way_person": 2.0,
    "way_dog": 2.0,
    "way_car": 2.0,
}
_DESCRIBED = 0.06  # share of the questions that ask for a sentence
_LONGEST = 5200  # rows of a stream that are trained on


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a lesson lies in the packed batch, and what its questions see, [length - stream, length]."""

    start: int
    stream: int
    length: int
    seen: Tensor = field(repr=False)


def _stream_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,  # noqa: ARG001  # the decoder passes it by name
    *,
    lessons: Sequence[_Row],
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention [1, heads, total, d] inside each lesson: causal in its stream, as `seen` tells behind it."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    attend = nn.functional.scaled_dot_product_attention
    parts = []
    for row in lessons:
        stream, asked = slice(row.start, row.start + row.stream), slice(row.start + row.stream, row.start + row.length)
        whole = slice(row.start, row.start + row.length)
        parts.append(attend(query[:, :, stream], key[:, :, stream], value[:, :, stream], is_causal=True))
        parts.append(attend(query[:, :, asked], key[:, :, whole], value[:, :, whole], attn_mask=row.seen))
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(STREAM, _stream_attention)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row of a batch and where it comes from."""

    laid: Laid
    recording: Recording = field(repr=False)
    kinds: tuple[str, ...] = ()


class Teacher:
    """Makes lessons from recordings: what is dropped, what is asked and where, how long it has been quiet."""

    def __init__(self, dialogue: Dialogue, tokenizer: Any, random: np.random.Generator, *, questions: int) -> None:
        self._dialogue = dialogue
        self._random = random
        self._questions = questions
        self._balance = Balance(random, _TOPICS, _HARD)
        self._writer = Writer(dialogue, video_pad=int(tokenizer.convert_tokens_to_ids(VIDEO_PAD)))

    def lesson(self, recording: Recording, *, most_rows: int = _LONGEST) -> Lesson:
        random = self._random
        way = str(random.choice(list(WAYS), p=list(WAYS.values())))
        kept, shown = drop(recording, way, random)
        upto = self._fitting(kept, most_rows)
        chosen = self._balance.choose(recording, self._questions, shown[:upto])
        asked, kinds = [], []
        for number, question in chosen:
            text = question.texts[int(random.integers(len(question.texts)))]
            check = question.topic is Topic.PRESENT and YES in question.answers and random.random() < 0.5
            asked.append(self._asked(number, text, question.answer, check=check))
            kinds.append(question.kind)
        for _ in range(max(1, round(_DESCRIBED * self._questions))):
            number = int(random.integers(upto))
            sentence = recording.sentences[number]
            if sentence is not None and shown[number]:
                asked.append(self._asked(number, DESCRIBE[int(random.integers(len(DESCRIBE)))], sentence))
                kinds.append("describe")
        times_s, jumps = self._clock(recording.times_s[:upto])
        laid = self._writer.write(times_s, kept[:upto], asked, jumps=jumps)
        if random.random() < 0.15:
            laid = self._forgetful(times_s, kept[:upto], asked, jumps, laid, [q.topic for _, q in chosen])
        return Lesson(laid, recording, tuple(kinds))

    def _asked(self, number: int, text: str, answer: str, *, check: bool = False) -> Asked:
        question = self._dialogue.check(text) if check else self._dialogue.question(text)
        return Asked(number, question, (*self._dialogue.text(answer), *self._dialogue.text("<|im_end|>")))

    def _fitting(self, kept: np.ndarray[Any, Any], most_rows: int) -> int:
        """How many pictures fit into `most_rows`."""
        rows = np.cumsum(kept.sum(1) + 10 * kept.any(1))
        return max(2, int(np.searchsorted(rows, most_rows)))

    def _clock(self, times_s: np.ndarray[Any, Any]) -> tuple[list[float], list[int]]:
        """The times as the camera tells them: it may run for long already, and have been quiet in between."""
        random = self._random
        jumps = np.zeros(len(times_s), np.int64)
        start = 0.0
        if random.random() < 0.5:
            start = float(np.exp(random.uniform(1.0, 11.0)))
        if random.random() < 0.35:  # quiet for long: nothing was kept, time and ids went on
            at = int(random.integers(len(times_s)))
            jumps[at] = int(np.exp(random.uniform(3.0, np.log(MAX_POSITIONS * 0.6))))
        quiet = np.cumsum(jumps) / 36.0  # about the ids of a second
        return [float(t) for t in times_s + start + quiet], [int(jump) for jump in jumps]

    def _forgetful(
        self,
        times_s: Sequence[float],
        kept: np.ndarray[Any, Any],
        asked: Sequence[Asked],
        jumps: Sequence[int],
        laid: Laid,
        topics: Sequence[Topic],
    ) -> Laid:
        """The same where questions about the present see the newest rows alone, as in a full memory."""
        window = int(self._random.integers(150, 1200))
        ends = dict(zip(laid.pictures.tolist(), laid.ends.tolist(), strict=True))
        forget = []
        for number, one in enumerate(asked):
            behind = max((row for picture, row in ends.items() if picture <= one.after), default=laid.head)
            old = number >= len(topics) or topics[number] is Topic.PAST
            forget.append(0 if old else max(0, behind - window))
        return self._writer.write(times_s, kept, asked, jumps=jumps, forget=forget)


class Mind(nn.Module):
    """The decoder over a batch of lessons."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.model.language_model
        self.decoder.config._attn_implementation = STREAM  # noqa: SLF001
        self._middle: list[Tensor] = []
        self.decoder.layers[_MIDDLE].register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._middle.append(output if isinstance(output, Tensor) else output[0])

    def forward(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
        """Hidden states behind the last layer and behind the middle one, [total, hidden], lesson after lesson."""
        device = self.decoder.embed_tokens.weight.device
        laid = [lesson.laid for lesson in lessons]
        starts = np.cumsum([0, *(len(one) for one in laid)])
        rows = [
            _Row(int(start), one.stream, len(one), visible(one).to(device))
            for start, one in zip(starts, laid, strict=False)
        ]
        source = [torch.from_numpy(one.source).to(device) for one in laid]
        tokens = [x.recording.tokens.flatten(0, 1)[at] for x, at in zip(lessons, source, strict=True)]
        deep = [x.recording.deep.flatten(0, 1)[at] for x, at in zip(lessons, source, strict=True)]
        rows_of_tokens = np.concatenate([one.visual + start for start, one in zip(starts, laid, strict=False)])
        where = torch.from_numpy(rows_of_tokens).to(device)
        embeds = self.decoder.embed_tokens(torch.from_numpy(np.concatenate([one.ids for one in laid])).to(device))
        embeds = embeds.index_copy(0, where, torch.cat(tokens).to(embeds.dtype))
        mask = torch.zeros(1, len(embeds), dtype=torch.bool, device=device)
        mask[0, where] = True
        self._middle.clear()
        hidden = self.decoder(
            inputs_embeds=embeds[None],
            position_ids=torch.from_numpy(np.concatenate([one.pos for one in laid], axis=1))[:, None].to(device),
            use_cache=False,
            visual_pos_masks=mask,
            deepstack_visual_embeds=[torch.cat(deep).to(embeds.dtype)],
            lessons=rows,
        ).last_hidden_state
        return hidden[0], self._middle.pop()[0]


def answers_loss(head: nn.Linear, hidden: Tensor, lessons: Sequence[Lesson]) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy of the answers' tokens, and per kind of question the share answered without a fault."""
    rows, wanted, owners = [], [], []
    start = 0
    for index, lesson in enumerate(lessons):
        at = np.flatnonzero(lesson.laid.wanted != -100)
        rows.append(torch.from_numpy(at) + start)
        start += len(lesson.laid)
        wanted.append(torch.from_numpy(lesson.laid.wanted[at]))
        owners += [(index, int(block)) for block in lesson.laid.block[at]]
    target = torch.cat(wanted).to(hidden.device)
    logits = head(hidden[torch.cat(rows).to(hidden.device)]).float()
    loss = nn.functional.cross_entropy(logits, target, reduction="none")
    right = (logits.argmax(-1) == target).tolist()
    faults: dict[tuple[int, int], bool] = {}
    sizes: dict[tuple[int, int], int] = {}
    for owner, good in zip(owners, right, strict=True):
        faults[owner] = faults.get(owner, False) or not good
        sizes[owner] = sizes.get(owner, 0) + 1
    # each question counts the same, however long its answer
    share = torch.tensor([1.0 / max(2.0, sizes[owner]) for owner in owners], device=hidden.device)
    hits: dict[str, list[bool]] = {}
    for (index, block), wrong in faults.items():
        hits.setdefault(lessons[index].kinds[block], []).append(not wrong)
    return (loss * share).sum() / share.sum(), {kind: float(np.mean(goods)) for kind, goods in hits.items()}


def standing_loss(heads: Heads, middle: Tensor, lessons: Sequence[Lesson]) -> Tensor:
    """Mean cross-entropy of what each picture's last token tells of all that could be asked then."""
    rows, labels = [], []
    start = 0
    for lesson in lessons:
        rows.append(torch.from_numpy(lesson.laid.ends) + start)
        start += len(lesson.laid)
        labels.append(torch.from_numpy(_labels(lesson.recording)[lesson.laid.pictures]))
    wanted = torch.cat(labels).to(middle.device)
    total = torch.zeros((), device=middle.device)
    for number, logits in enumerate(heads(middle[torch.cat(rows).to(middle.device)])):
        target = wanted[:, number]
        if bool((target >= 0).any()):
            total = total + nn.functional.cross_entropy(logits.float(), target, ignore_index=-100)
    return total / len(heads.sizes)


def _labels(recording: Recording) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of the right answer to each kind of question behind each picture, -100 where there is none."""
    found = np.full((len(recording), len(KINDS_OF_QUESTION)), -100, np.int64)
    for column, (kind, answers) in enumerate(KINDS_OF_QUESTION.items()):
        for answer, moments in recording.moments.get(kind, {}).items():
            found[[number for number, _ in moments], column] = answers.index(answer)
    return found


def train(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    pace: Pace,
    seed: int,
    size: int = 2,
    questions: int = 40,
    pool: int = 400,
    limit_s: float = math.inf,
    tell: Callable[[float, str], None],
) -> None:
    """
    Train the decoder in place, the encoder standing still, from where `folder` left off.

    size: streams of a step. pool: recordings held. limit_s: of this stretch. Leaves the weights' running
    mean in it.
    """
    eyes, mind = Eyes(model.model.visual), Mind(model)
    model.model.visual.requires_grad_(False)
    device = model.lm_head.weight.device
    hidden_size = model.config.text_config.hidden_size
    heads = Heads(hidden_size, [len(answers) for answers in KINDS_OF_QUESTION.values()]).to(device)
    stage = Stage(folder, "mind", {"decoder": mind.decoder, "heads": heads}, pace)
    random = np.random.default_rng((seed, 41, stage.steps))
    dialogue = Dialogue(
        tokenizer, video=VIDEO_PAD, wrap=(VISION_START, VISION_END), eos=[model.config.text_config.pad_token_id]
    )
    teacher = Teacher(dialogue, tokenizer, random, questions=questions)
    held: list[Recording] = []
    running = Running()
    for share in stage.steps_left(limit_s=limit_s):
        if len(held) < _FEW or random.random() < _FRESH:
            fresh = record(eyes, random, seconds=_length(share, random))
            if len(held) >= pool:
                held[int(random.integers(pool))] = fresh
            else:
                held.append(fresh)
        picked = [held[i] for i in random.integers(len(held), size=size)]
        lessons = [teacher.lesson(one, most_rows=_rows(share, random)) for one in picked]
        with mixed(device):
            hidden, middle = mind(lessons)
            said, hits = answers_loss(model.lm_head, hidden, lessons)
            told = standing_loss(heads, middle, lessons)
        stage.step(said + 0.5 * told)
        running.add({"loss": float(said.detach()), "told": float(told.detach()), **hits})
        if stage.steps % 25 == 0:
            stage.note(**running.rounded())
            mean = np.mean([value for name, value in running.values.items() if name not in ("loss", "told")])
            tell(share, f"mind: loss {running.values['loss']:.3f}, right {mean:.3f}")
        if stage.steps % 100 == 0:
            stage.save()
    stage.save()
    mind.decoder.load_state_dict(stage.mean("decoder"))


_EARLY = 0.25
_FEW, _FRESH = 24, 0.4  # recordings before any is used again; how often a step makes a new one


def _length(share: float, random: np.random.Generator) -> float:
    """Seconds of the next recording: short ones first."""
    if share < _EARLY:
        return float(random.choice([2.0, 5.0, 10.0, 20.0]))
    return float(random.choice([8.0, 20.0, 60.0], p=[0.2, 0.3, 0.5]))


def _rows(share: float, random: np.random.Generator) -> int:
    """The most rows of the next stream: a long one is dear, and seldom needed."""
    return 500 if share < _EARLY else int(random.choice([800, 1600, _LONGEST], p=[0.45, 0.48, 0.07]))
