"""daemon/placement/serving.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.placement.rendezvous import owner
from daemon.placement.serving import place, refusal, served

SERVES = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(["large", "small"]), min_size=1, max_size=6)


@given(st.text(max_size=16), SERVES, st.sampled_from([None, "large", "small", "other"]))
def test_a_camera_goes_where_its_model_is(camera, serves, model):
    """To a worker that serves it, whichever would have it among those alone; to any where it names none or nobody does."""
    able = [worker for worker, at in serves.items() if model in (None, at)]
    assert place(camera, model, serves) == owner(camera, able or list(serves))
    assert (refusal(model, serves.values()) is None) == bool(able)


def test_a_refusal_says_what_there_is_and_what_to_do():
    said = refusal("qwen", ["b", "a", "b"])
    assert said == (
        "no worker serves the model 'qwen', only 'a', 'b'; name one of those, leave camera.model out, or run a worker "
        "with model.name = 'qwen'"
    )


def test_what_a_heartbeat_says_is_taken_as_it_is():
    """A worker that says nothing of a model serves none that could be named."""
    assert served({"w0": {"model": "a"}, "w1": {"pid": 1}}) == {"w0": "a", "w1": ""}
    assert refusal("", ["a"]) is not None
