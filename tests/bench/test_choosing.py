"""Which questions are asked: every answer equally often, and at the same times."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.bench._choosing import STRATA, Candidate, balance, choose, spread

pools = st.lists(
    st.builds(
        Candidate,
        scene=st.sampled_from("abcd"),
        kind=st.just("k"),
        answer=st.sampled_from(["Yes", "No", "unknown"]),
        at=st.floats(0, 0.999),
    ),
    max_size=80,
)


@given(pools, st.integers(1, 40), st.integers(0, 9))
@example([Candidate("a", "k", "Yes", 0.1)] + [Candidate("a", "k", "No", i / 10) for i in range(9)], 8, 0)
@example([Candidate("a", "k", "Yes", 0.1)] + [Candidate("a", "k", "No", i / 10) for i in range(9)], 8, 1)
@settings(deadline=None)
def test_as_many_as_asked_for_and_answers_take_turns(pool: list[Candidate], count: int, seed: int) -> None:
    """Each place once; an answer falls behind only where there is no more of it."""
    chosen = choose(pool, count, random=np.random.default_rng(seed))
    assert chosen == sorted(set(chosen))
    there = Counter(one.answer for one in pool)
    if len(there) < 2:
        assert chosen == []
        return
    assert len(chosen) == min(count, len(pool))
    taken = Counter(pool[place].answer for place in chosen)
    most = max(taken.values())
    for answer, available in there.items():
        assert taken[answer] >= min(available, most - 1)


def test_the_same_seed_chooses_the_same() -> None:
    pool = [Candidate(scene, "k", answer, at / 20) for scene in "ab" for answer in "xy" for at in range(20)]
    one, two, other = (choose(pool, 8, random=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one == two != other


def test_scenes_take_turns() -> None:
    pool = [Candidate(scene, "k", answer, at / 20) for scene in "abcd" for answer in "xy" for at in range(20)]
    chosen = choose(pool, 16, random=np.random.default_rng(0))
    assert set(Counter(pool[place].scene for place in chosen).values()) == {4}


def test_the_time_tells_nothing_where_every_answer_occurs_at_every_time() -> None:
    """Yes is nine times as frequent late as early; what is chosen is as late for yes as for no."""
    pool = [
        Candidate("a", "k", answer, (stratum + i / 200) / STRATA)
        for stratum in range(STRATA)
        for answer, often in (("Yes", 10 + 20 * stratum), ("No", 150 - 20 * stratum))
        for i in range(often)
    ]
    chosen = [pool[place] for place in choose(pool, 20 * STRATA, random=np.random.default_rng(0))]
    when = {answer: Counter(int(c.at * STRATA) for c in chosen if c.answer == answer) for answer in ("Yes", "No")}
    assert when["Yes"] == when["No"] == Counter(dict.fromkeys(range(STRATA), 10))
    assert balance(pool).clock == pytest.approx(0.5)


def test_what_only_the_end_can_show_is_told_as_clock() -> None:
    """No answer early but "none": whoever knows the time is right without seeing, and the balance says so."""
    pool = [Candidate("a", "k", "none", at / 100) for at in range(40)]
    pool += [Candidate("a", "k", "two", at / 100) for at in range(60, 100)]
    assert balance(pool).clock == pytest.approx(1.0)
    assert balance(pool).answers == ("none", "two")


@given(st.lists(st.lists(st.integers(0, 5), min_size=STRATA, max_size=STRATA).filter(any), min_size=2, max_size=6))
@settings(deadline=None)
def test_every_answer_has_the_same_share(counts: list[list[int]]) -> None:
    """Of what is there, and nothing of what is not."""
    shares = spread(np.array(counts))
    assert shares.sum(axis=1) == pytest.approx(np.full(len(counts), 1 / len(counts)))
    assert (shares[np.array(counts) == 0] == 0).all()
    assert (shares >= 0).all()
