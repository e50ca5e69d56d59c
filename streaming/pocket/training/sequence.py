"""One stream and its questions as one row of tokens: the stream once, every question behind its own moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming.models.dialogue import Dialogue
from streaming.models.qwen3_vl import VISION_END, VISION_START

from .dropping import Kept
from .shape import CELLS, GRID

NO_BLOCK = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """after: the number of the picture behind which `question` stands. Both as token ids, the answer with its end."""

    after: int
    question: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Laid:
    """
    ids: int64 [n]. pos: int64 [3, n]. visual: int64 [v], rows of picture tokens; source: int64 [v], picture * CELLS +
    cell of each. stream: how many rows the stream takes; questions follow. upto: int64 [n], how many rows of the stream
    each row sees. since: int64 [n], from which row on it sees them, the prompt apart. block: int64 [n], whose question
    a row is, NO_BLOCK for the stream. ends: rows of the pictures' last token; pictures: int64, which picture each ends.
    wanted: int64 [n], the id that should come next, or -100.
    """

    ids: NDArray[np.int64] = field(repr=False)
    pos: NDArray[np.int64] = field(repr=False)
    visual: NDArray[np.int64] = field(repr=False)
    source: NDArray[np.int64] = field(repr=False)
    head: int
    stream: int
    upto: NDArray[np.int64] = field(repr=False)
    since: NDArray[np.int64] = field(repr=False)
    block: NDArray[np.int64] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)
    pictures: NDArray[np.int64] = field(repr=False)
    wanted: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)


class Writer:
    """Lays streams out exactly as the family does when it serves (a test holds that)."""

    def __init__(self, dialogue: Dialogue, *, video_pad: int) -> None:
        self._dialogue = dialogue
        self._video_pad = video_pad
        self._end = dialogue.text(VISION_END)
        h, w = GRID
        self._cells = np.stack((np.zeros(CELLS, np.int64), np.repeat(np.arange(h), w), np.tile(np.arange(w), h)))

    def write(
        self,
        times_s: Sequence[float],
        kept: Kept,
        asked: Sequence[Asked],
        *,
        jumps: Sequence[int] | None = None,
        forget: Sequence[int] | None = None,
    ) -> Laid:
        """
        jumps: ids that pass before each picture besides, as if pictures had been dropped. forget: for each question,
        up to which row of the stream, the prompt apart, it sees nothing any more.
        """
        head = np.array(self._dialogue.head, np.int64)
        ids: list[NDArray[np.int64]] = [head]
        pos: list[NDArray[np.int64]] = [_text(0, len(head))]
        visual, source, ends, pictures = [], [], [], []
        rows, cursor = len(head), len(head)
        after_rows, after_ids = [], []
        for number, t_s in enumerate(times_s):
            cursor += jumps[number] if jumps is not None else 0
            lead = self._dialogue.text(f"<{t_s:.1f} seconds>{VISION_START}")
            first = cursor + len(lead)
            behind = first + max(GRID)
            cells = np.flatnonzero(kept[number])
            if len(cells):
                ids += [np.array(lead, np.int64), np.full(len(cells), self._video_pad), np.array(self._end, np.int64)]
                pos += [_text(cursor, len(lead)), self._cells[:, cells] + first, _text(behind, len(self._end))]
                visual.append(np.arange(len(cells)) + rows + len(lead))
                source.append(number * CELLS + cells)
                rows += len(lead) + len(cells) + len(self._end)
                ends.append(rows - 1)
                pictures.append(number)
            cursor = behind + len(self._end)
            after_rows.append(rows)
            after_ids.append(cursor)
        stream = rows
        upto = [np.arange(1, stream + 1)]
        since, block, wanted = [np.zeros(stream)], [np.full(stream, NO_BLOCK)], [np.full(stream, -100)]
        for number, one in enumerate(asked):
            said = np.array([*one.question, *one.answer[:-1]], np.int64)
            ids.append(said)
            pos.append(_text(after_ids[one.after], len(said)))
            upto.append(np.full(len(said), after_rows[one.after]))
            since.append(np.full(len(said), forget[number] if forget is not None else 0))
            block.append(np.full(len(said), number))
            hoped = np.full(len(said), -100)
            hoped[len(one.question) - 1 :] = one.answer
            wanted.append(hoped)
        return Laid(
            ids=np.concatenate(ids),
            pos=np.concatenate(pos, axis=1),
            visual=np.concatenate(visual),
            source=np.concatenate(source),
            head=len(head),
            stream=stream,
            upto=np.concatenate(upto).astype(np.int64),
            since=np.concatenate(since).astype(np.int64),
            block=np.concatenate(block).astype(np.int64),
            ends=np.array(ends, np.int64),
            pictures=np.array(pictures, np.int64),
            wanted=np.concatenate(wanted).astype(np.int64),
        )


def visible(one: Laid) -> Tensor:
    """What each row of the questions sees, bool [n - stream, n]; the stream's rows see those before them."""
    columns = torch.arange(len(one))[None]
    upto, since, block = (torch.from_numpy(x)[:, None] for x in (one.upto, one.since, one.block))
    asked = slice(one.stream, None)
    held = (columns < upto[asked]) & ((columns >= since[asked]) | (columns < one.head))
    own = (block[asked] == block.T) & (columns <= columns.T[asked])
    return held | own


def _text(start: int, n: int) -> NDArray[np.int64]:
    return np.tile(np.arange(start, start + n, dtype=np.int64), (3, 1))
