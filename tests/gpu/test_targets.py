"""What vigild promises on a GPU, on the published shapes with random weights in bfloat16. Minutes long: one test a shape."""

from __future__ import annotations

import pytest
import torch

from daemon.bench import device, streams, ttft
from daemon.bench.form import Options

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPES = ("preset:qwen3-vl-8b", "preset:qwen2.5-vl-7b")


@pytest.mark.parametrize("model", SHAPES)
def test_the_first_token_comes_within_30_ms(model: str) -> None:
    """At 256 frames, median, with a new picture encoded and read before the question; flat in history."""
    figures = ttft.run(Options(device="cuda:0", model=model), print).figures
    assert figures["ttft_with_picture_ms_256"] <= 30
    assert figures["flatness"] <= 1.2
    assert figures["vs_reprefill_256"] >= 20
    assert figures["vs_last4_256"] > 1


@pytest.mark.parametrize("model", SHAPES)
def test_a_hundred_cameras_are_carried(model: str, clips) -> None:
    """At 2 fps and 448 px, p95 within 500 ms, on the real clips with the default drop; batching at least three times."""
    figures = streams.run(Options(device="cuda:0", model=model, clips=clips), print).figures
    assert figures["max_cameras"] >= 100
    assert figures["batch_speedup_16"] >= 3
    assert figures["rules32_cost"] <= 1.5


@pytest.mark.parametrize("model", SHAPES)
def test_decoding_is_bound_by_memory(model: str) -> None:
    """Within 1.3 times of reading the weights, keys and values once."""
    assert device.run(Options(device="cuda:0", model=model), print).figures["decode_over_floor"] <= 1.3
