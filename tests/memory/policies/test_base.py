from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory import policies
from memory.policies import room_for


@given(used=st.integers(0, 500), budget=st.integers(1, 500), incoming=st.integers(0, 500), low=st.floats(0, 1))
def test_room_is_made_only_when_needed_and_then_enough(used: int, budget: int, incoming: int, low: float) -> None:
    """None iff everything fits; else what remains and what comes fit together, where that is possible at all."""
    room = room_for(incoming, used=used, budget=budget, low=low)
    assert (room is None) == (used + incoming <= budget)
    if room is not None and incoming <= budget:
        assert room + incoming <= budget


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no memory policy 'magic'; there are: .*window"):
        policies.create("magic")


def test_an_unknown_option_names_the_policy() -> None:
    with pytest.raises(ValueError, match=r"memory policy 'window'.*width"):
        policies.create("window", width=3)
