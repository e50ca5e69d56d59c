"""The questions of a bundle, read back from its blocks."""

from __future__ import annotations

import itertools

from streaming.bundles import Bundle


def rows_of(bundle: Bundle) -> list[list[int]]:
    """The rows of each question, in the order in which they were asked."""
    starts = [0, *itertools.accumulate(bundle.blocks)]
    found: dict[int, list[int]] = {}
    for row, question in zip(bundle.read, bundle.order, strict=True):
        number = next(n for n, start in enumerate(starts[1:]) if row < start)
        assert row == starts[number + 1] - 1, "the last token of a question ends a block"
        rows: list[int] = []
        while number >= 0:
            rows = [*range(starts[number], starts[number + 1]), *rows]
            number = bundle.after[number]
        found[question] = rows
    return [found[question] for question in range(len(found))]
