"""Questions side by side: nothing is lost, nothing is there twice, and every bundle fits."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.bundles import Bundle, bundled

from .bundle import rows_of

MAX_TOKENS = 24
tokens = st.integers(0, 2)  # few, so that questions begin alike
questions = st.lists(st.lists(tokens, min_size=1, max_size=MAX_TOKENS).map(tuple), min_size=1, max_size=12).map(tuple)


def asked(bundle: Bundle) -> list[tuple[tuple[int, ...], list[int]]]:
    """The questions of a bundle in order, each with the ids of its tokens."""
    return [(tuple(bundle.ids[rows].tolist()), bundle.step[rows].tolist()) for rows in rows_of(bundle)]


@given(questions)
def test_every_question_is_there_and_goes_on_where_what_it_continues_ends(some: tuple[tuple[int, ...], ...]) -> None:
    """Read from its bundle, a question is what was asked, its ids count up, and its last token is its own and read."""
    bundles = bundled(some, MAX_TOKENS)
    read = [each for bundle in bundles for each in asked(bundle)]
    assert tuple(ids for ids, _ in read) == some
    assert all(step == list(range(len(ids))) for ids, step in read)
    for bundle in bundles:
        assert min(bundle.blocks) >= 1
        assert all(parent < number for number, parent in enumerate(bundle.after))
        assert list(bundle.read) == sorted(set(bundle.read))
        assert sorted(bundle.order) == list(range(len(bundle.read)))


@given(questions)
def test_bundles_fit_and_none_ends_early(some: tuple[tuple[int, ...], ...]) -> None:
    """No bundle has more rows than allowed, and none could have taken the next one's first question."""
    bundles = bundled(some, MAX_TOKENS)
    for bundle in bundles:
        assert len(bundle.ids) == len(bundle.step) == sum(bundle.blocks) <= MAX_TOKENS
    for one, two in itertools.pairwise(bundles):
        (longer,) = bundled((*(ids for ids, _ in asked(one)), asked(two)[0][0]), 10**6)
        assert len(longer.ids) > MAX_TOKENS


@given(questions)
def test_what_questions_begin_with_is_there_once(some: tuple[tuple[int, ...], ...]) -> None:
    """As many rows as there are different beginnings, and a last token for each question; blocks end at forks alone."""
    (bundle,) = bundled(some, 10**6)
    beginnings = {question[:length] for question in some for length in range(1, len(question))}
    assert len(bundle.ids) == len(beginnings) + len(some)
    ends = {number for number, start in enumerate(np.cumsum(bundle.blocks)) if start - 1 in bundle.read}
    children = Counter(bundle.after)
    assert all(
        children[number] != 1 and (number in ends) == (not children[number]) for number in range(len(bundle.blocks))
    )


def test_questions_that_begin_alike_are_a_tree() -> None:
    """Blocks are the stretches between forks, depth first; the order is told."""
    (bundle,) = bundled(((1, 2, 3, 9), (1, 5, 9), (1, 2, 4, 9), (7, 9)), 100)
    assert bundle.ids.tolist() == [1, 2, 3, 9, 4, 9, 5, 9, 7, 9]
    assert bundle.blocks == (1, 1, 2, 2, 2, 2)
    assert bundle.after == (-1, 0, 1, 1, 0, -1)
    assert bundle.step.tolist() == [0, 1, 2, 3, 2, 3, 1, 2, 0, 1]
    assert bundle.read == (3, 5, 7, 9)
    assert bundle.order == (0, 2, 1, 3)


def test_a_long_line_of_beginnings_needs_no_deep_stack() -> None:
    """Each question begins as the next one does, two thousand deep."""
    some = tuple((*range(length), 0) for length in range(2000))
    (bundle,) = bundled(some, 10**9)
    assert len(bundle.read) == 2000
