"""Questions side by side: what several begin with is there once, as a tree of blocks that continue one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from memory.kernels.forest import NONE

Question = tuple[int, ...]  # token ids


@dataclass(frozen=True, slots=True)
class Bundle:
    """
    Questions side by side, behind any memory.

    ids: int64 [n]. step: int64 [n], position ids counted from the memory's next one: a block goes on where the one that
    it continues ends.
    blocks, after: as a Chunk has them.
    read: the row of each question's last token, ascending. order: of each of these which question it is.
    """

    ids: NDArray[np.int64] = field(repr=False)
    step: NDArray[np.int64] = field(repr=False)
    blocks: tuple[int, ...]
    after: tuple[int, ...]
    read: tuple[int, ...]
    order: tuple[int, ...]


@lru_cache(maxsize=1024)  # a camera's rules are the same at every frame
def bundled(questions: tuple[Question, ...], max_tokens: int) -> tuple[Bundle, ...]:
    """
    Questions in as few bundles of at most `max_tokens` rows as their order allows.

    None is empty or longer than that. The last token of each is always its own, for there its answer is read.
    """
    bundles: list[Bundle] = []
    tree = _Tree()
    for question in questions:
        if tree.rows and tree.rows + tree.cost(question) > max_tokens:
            bundles.append(tree.bundle())
            tree = _Tree()
        tree.add(question)
    return (*bundles, tree.bundle())


@dataclass(slots=True)
class _Node:
    """A token behind others. question: which one ends here; its last token is nobody else's."""

    token: int
    question: int | None = None
    inner: dict[int, _Node] = field(default_factory=dict)
    ends: list[_Node] = field(default_factory=list)

    @property
    def ways(self) -> Sequence[_Node]:
        return [*self.inner.values(), *self.ends]


class _Tree:
    """The questions of one bundle. rows: its tokens."""

    def __init__(self) -> None:
        self.rows = 0
        self._root = _Node(NONE)
        self._questions = 0

    def cost(self, question: Question) -> int:
        """How many rows one more would add."""
        node, known = self._root, 0
        for token in question[:-1]:
            if (found := node.inner.get(token)) is None:
                break
            node, known = found, known + 1
        return len(question) - known

    def add(self, question: Question) -> None:
        self.rows += self.cost(question)
        node = self._root
        for token in question[:-1]:
            node = node.inner.setdefault(token, _Node(token))
        node.ends.append(_Node(question[-1], self._questions))
        self._questions += 1

    def bundle(self) -> Bundle:
        """Its blocks are the stretches between two forks; a block comes behind the one that it continues."""
        ids: list[int] = []
        step: list[int] = []
        blocks: list[int] = []
        after: list[int] = []
        ends: list[tuple[int, int]] = []  # row, question
        waiting = [(way, NONE, 0) for way in reversed(self._root.ways)]
        while waiting:
            first, parent, depth = waiting.pop()
            stretch = list(_stretch(first))
            last = stretch[-1]
            ids += (node.token for node in stretch)
            step += range(depth, depth + len(stretch))
            blocks.append(len(stretch))
            after.append(parent)
            if last.question is not None:
                ends.append((len(ids) - 1, last.question))
            waiting += [(way, len(blocks) - 1, depth + len(stretch)) for way in reversed(last.ways)]
        return Bundle(
            ids=np.array(ids, np.int64),
            step=np.array(step, np.int64),
            blocks=tuple(blocks),
            after=tuple(after),
            read=tuple(row for row, _ in ends),
            order=tuple(question for _, question in ends),
        )


def _stretch(node: _Node) -> Iterator[_Node]:
    """This token and those behind it, up to the next fork or end."""
    yield node
    while len(ways := node.ways) == 1:
        (node,) = ways
        yield node
