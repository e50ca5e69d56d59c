"""Questions being answered: each on a fork of its camera's memory, decoded greedily, many in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memory.archive import Shelf
from memory.kernels.flash import in_pages
from memory.kv import Fork
from memory.pool import SlabPool
from memory.types import Span

from .decode import choose
from .models.base import Chunk, VisionLanguageModel, text_ids
from .models.dialogue import AnswerText
from .past.wording import before
from .recall import Recall
from .types import AnswerDelta, Ask, AskStatus
from .view import View


@dataclass(slots=True)
class _Answer:
    """
    cursor: the id of the next token. said: tokens decoded so far, the newest of them not yet in the fork.
    token: the newest token [1] on the device. fresh: tokens of this step, likewise, not yet seen by the host.
    """

    ask: Ask
    fork: Fork
    cursor: int
    limit: int
    text: AnswerText
    memory_tokens: int
    frame_ns: int
    t0_ns: int | None
    t1_ns: int | None
    origin_ns: int | None = None
    notes_read: int = 0
    recalled: tuple[Span, ...] = ()
    said: int = 0
    token: Tensor | None = None
    fresh: list[Tensor] = field(default_factory=list)

    def delta(self, text: str, status: AskStatus, reason: str | None = None) -> AnswerDelta:
        return AnswerDelta(
            ask=self.ask.id,
            camera=self.ask.camera,
            text=text,
            status=status,
            frame_ns=self.frame_ns,
            memory_tokens=self.memory_tokens,
            output_tokens=len(self.text),
            t0_ns=self.t0_ns,
            t1_ns=self.t1_ns,
            reason=reason,
            recalled=tuple((span.t0_ns, span.t1_ns) for span in self.recalled),
            notes_read=self.notes_read,
            origin_ns=self.origin_ns,
        )


class Answers:
    """
    The running answers. Device work happens in `start` and `advance`; the host learns the tokens in `collect`, after
    the engine has brought all numbers of a step over at once.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        prefixes: SlabPool,
        device: torch.device,
        max_asks: int,
        max_question: int,
        max_answer: int,
        max_notes: int = 0,
        max_recall: int = 0,
        reach: int = 0,
        graphs: bool = True,
    ) -> None:
        """
        prefixes: where the cameras' rows lie; no slab of it is taken yet. graphs: record decoding where that is right.
        max_notes: tokens of notes before a question, within max_question.
        max_recall: archived tokens that a question may bring back, from at most `reach` ids before it.
        """
        self._model = model
        self._recall = Recall(model, max_tokens=max_recall, reach=reach)
        self._device = device
        self._max_question = max_question
        self._max_notes = max_notes
        self._max_answer = max_answer
        self._suffixes = SlabPool(model.kv, slabs=max_asks, rows=in_pages(max_recall + max_question + max_answer))
        self.decoding = choose(model, prefixes=prefixes, suffixes=self._suffixes, most=max_asks, graphs=graphs)
        self._running: dict[str, _Answer] = {}
        self._ended: list[AnswerDelta] = []

    @property
    def suffixes(self) -> SlabPool:
        """Where the forks' own rows lie."""
        return self._suffixes

    @property
    def forks(self) -> tuple[Fork, ...]:
        return tuple(answer.fork for answer in self._running.values())

    def start(self, asks: Sequence[Ask], views: dict[str, View]) -> None:
        """
        Fork and read all questions in one forward; each decodes its first token.

        Does not synchronise, but for cameras with an archive, from which the fitting spans come back first; not for a
        background question, which is about now.
        """
        chunks: list[Chunk] = []
        started: list[_Answer] = []
        shelves: list[Shelf | None] = []
        for ask in asks:
            begun = self._begin(ask, views.get(ask.camera))
            if begun is not None:
                answer, chunk = begun
                self._running[ask.id] = answer
                started.append(answer)
                chunks.append(chunk)
                shelves.append(None if ask.background else views[ask.camera].kv.shelf)
        asked = [(shelf, answer.fork, chunk) for shelf, answer, chunk in zip(shelves, started, chunks, strict=True)]
        for answer, spans in zip(started, self._recall.fetch(asked), strict=True):
            answer.recalled = spans
            answer.memory_tokens += answer.fork.own
        self._decode(started, chunks)

    def advance(self, ids: Sequence[str], tokens: int) -> None:
        """Decode up to `tokens` more of each; does not synchronise, so an answer may run past its end by a few."""
        answers = [self._running[ask] for ask in ids if ask in self._running]
        while tokens > 0 and (going := [answer for answer in answers if answer.said < answer.limit]):
            newest = torch.cat([answer.token for answer in going if answer.token is not None])
            if (steps := self.decoding.steps) is None:
                embeds = self._model.embed(newest)
                self._decode(going, [_next(answer, embeds[i : i + 1]) for i, answer in enumerate(going)])
                tokens -= 1
            else:
                count = min(tokens, *(answer.limit - answer.said for answer in going))
                said = steps.run([a.fork for a in going], [a.cursor for a in going], newest, count=count)
                for each in said:
                    _take(going, each, rows=1)
                for answer in going:
                    answer.cursor += count
                tokens -= count

    def cancel(self, ids: Sequence[str]) -> None:
        """End these; unknown ids are over already."""
        for ask in ids:
            self._end(ask, AskStatus.CANCELLED, None)

    def fail(self, reason: str, *, where: Callable[[Ask, Fork], bool]) -> None:
        """End the answers that `where` picks."""
        for ask, answer in list(self._running.items()):
            if where(answer.ask, answer.fork):
                self._end(ask, AskStatus.FAILED, reason)

    def fresh(self) -> list[Tensor]:
        """This step's tokens, each [1] on the device, in the order in which `collect` wants them back."""
        return [token for answer in self._running.values() for token in answer.fresh]

    def collect(self, tokens: Sequence[int]) -> tuple[AnswerDelta, ...]:
        """What the step added to every answer, the ended ones last; frees the forks of those that are done."""
        deltas: list[AnswerDelta] = []
        at = 0
        for ask, answer in list(self._running.items()):
            if not answer.fresh:
                continue
            new = [int(token) for token in tokens[at : at + len(answer.fresh)]]
            at += len(answer.fresh)
            answer.fresh.clear()
            end = next((i for i, token in enumerate(new) if token in self._model.dialogue.eos), None)
            done = end is not None or answer.said >= answer.limit
            text = answer.text.add(new[:end])
            deltas.append(answer.delta(text, AskStatus.COMPLETED if done else AskStatus.RUNNING))
            if done:
                self._running.pop(ask).fork.close()
        deltas += self._ended
        self._ended.clear()
        return tuple(deltas)

    def check(self) -> None:
        """Prove that every suffix slab is free or some answer's. Raises: IntegrityError."""
        self._suffixes.check()
        assert self._suffixes.used == len(self._running), "a suffix slab has no answer"

    def _begin(self, ask: Ask, view: View | None) -> tuple[_Answer, Chunk] | None:
        """A fork and the question as a chunk; None where the question ended before it began."""
        if view is None:
            return self._refused(ask, AskStatus.FAILED, f"no camera '{ask.camera}' is open")
        if view.newest is None:
            return self._refused(ask, AskStatus.UNKNOWN, "the camera has not shown anything yet")
        if self._suffixes.free == 0:
            return self._refused(
                ask, AskStatus.FAILED, f"{self._suffixes.total} questions are being answered already; ask again later"
            )
        ids = self._model.dialogue.question(ask.text)
        if len(ids) > self._max_question:
            return self._refused(
                ask,
                AskStatus.FAILED,
                f"the question has {len(ids)} tokens, {self._max_question} are possible; shorten it",
            )
        ids, notes_read = self._with_notes(ask, ids)
        span = view.kv.span
        answer = _Answer(
            ask=ask,
            fork=view.kv.fork(self._suffixes),
            cursor=view.kv.cursor + len(ids),
            limit=max(1, min(ask.max_tokens, self._max_answer)),
            text=AnswerText(self._model.dialogue),
            memory_tokens=len(view.kv),
            frame_ns=view.newest[1],
            t0_ns=span.t0_ns if span else None,
            t1_ns=span.t1_ns if span else None,
            origin_ns=view.origin_ns,
            notes_read=notes_read,
        )
        embeds = self._model.embed(torch.tensor(ids).to(self._device, non_blocking=True))
        pos = text_ids(view.kv.cursor, len(ids))
        return answer, Chunk(embeds, pos, answer.fork, blocks=(len(ids),), read=(len(ids) - 1,))

    def _with_notes(self, ask: Ask, plain: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """The question behind as many of its notes as there is room for, and their number; `plain` is it alone."""
        most = min(len(plain) + self._max_notes, self._max_question)
        for count in range(len(ask.notes), 0, -1):
            ids = self._model.dialogue.question(before(ask.text, ask.notes[:count]))
            if len(ids) <= most:
                return ids, count
        return plain, 0

    def _decode(self, answers: Sequence[_Answer], chunks: Sequence[Chunk]) -> None:
        """One forward; every answer gains its most likely next token, on the device."""
        if not chunks:
            return
        tokens = self._model.forward(chunks).argmax(dim=-1)
        for i, (answer, chunk) in enumerate(zip(answers, chunks, strict=True)):
            _take([answer], tokens[i : i + 1], rows=len(chunk))

    def _refused(self, ask: Ask, status: AskStatus, reason: str) -> tuple[_Answer, Chunk] | None:
        """Queue the end of a question that never began."""
        self._ended.append(AnswerDelta(ask.id, ask.camera, "", status, reason=reason))
        return None

    def _end(self, ask: str, status: AskStatus, reason: str | None) -> None:
        answer = self._running.pop(ask, None)
        if answer is not None:
            answer.fork.close()
            self._ended.append(answer.delta("", status, reason))


def _take(answers: Sequence[_Answer], tokens: Tensor, *, rows: int) -> None:
    """Each gains one of tokens [n], on the device, and keeps the `rows` rows that were written on the way there."""
    for i, answer in enumerate(answers):
        answer.fork.commit(rows)
        answer.token = tokens[i : i + 1]
        answer.fresh.append(answer.token)
        answer.said += 1


def _next(answer: _Answer, embed: Tensor) -> Chunk:
    pos = text_ids(answer.cursor, 1)
    answer.cursor += 1
    return Chunk(embed, pos, answer.fork, blocks=(1,), read=(0,))
