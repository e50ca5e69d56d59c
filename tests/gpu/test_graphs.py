"""Recorded decoding steps on a GPU say what unrecorded ones say, and are taken for every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streaming import models
from streaming.decode import choose
from streaming.decode.graphs import Captured
from streaming.decode.static import StaticDecode
from streaming.models import VisionLanguageModel
from tests.streaming.decode.playing import ASKS, decoded_by, engine_of, play

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module", params=["tiny-random", "tiny-random-2.5", "pocket"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    cache: Path = tmp_path_factory.mktemp("models")
    return models.load(request.param, device="cuda:0", dtype=torch.bfloat16, cache_dir=cache)


def test_the_lean_decoder_and_graphs_are_taken(model: VisionLanguageModel) -> None:
    assert model.decoder.forward.name == "lean", str(model.decoder)
    engine = engine_of(model, graphs=True)
    assert str(engine.decoding).startswith("cuda graphs, buckets 1..8 ("), str(engine.decoding)


def test_recorded_steps_say_what_unrecorded_ones_say(model: VisionLanguageModel) -> None:
    """
    Word for word, over questions that start, end and are cancelled while cameras go on: lengths change between replays,
    1 to 5 questions share a step, forks close and their slabs are used again.
    """
    recorded, plain = engine_of(model, graphs=True), engine_of(model)
    assert recorded.decoding.steps is not None, str(recorded.decoding)
    unrecorded = choose(
        model,
        prefixes=plain._pool,
        suffixes=plain._answers.suffixes,
        most=ASKS,
        record=lambda static: static,
    )
    assert play(recorded) == play(decoded_by(plain, unrecorded))


def test_nothing_is_asked_of_the_host_between_two_tokens(model: VisionLanguageModel) -> None:
    """A recorded step, and reading its tokens on, waits for nothing: torch refuses to wait meanwhile."""
    engine = engine_of(model, graphs=True)
    steps = engine.decoding.steps
    assert steps is not None, str(engine.decoding)
    static = next(step for step in steps._steps if isinstance(step, Captured))
    torch.cuda.synchronize()
    with torch.inference_mode():
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(8):
                static.step()
            unrecorded = StaticDecode(model, static.size, prefixes=engine._pool, suffixes=engine._answers.suffixes)
            unrecorded.numbers.copy_(static._static.numbers)
            unrecorded.step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    torch.cuda.synchronize()
