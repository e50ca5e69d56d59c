"""What is around a CUDA graph, with one that runs on a CPU: what tests/gpu proves of the real one needs a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from streaming import models
from streaming.decode import choose
from streaming.decode.graphs import WARM, Captured
from streaming.decode.static import StaticDecode

from .playing import ASKS, decoded_by, engine_of, play


class Stream:
    """A stream of a device that does everything at once."""

    def __init__(self, _device: torch.device) -> None: ...

    def wait_stream(self, _other: Stream) -> None: ...


class Graph:
    """Replays what it is told to, as a graph would what was recorded."""

    def __init__(self) -> None:
        self.replay: Callable[[], None] = lambda: None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def graph(_graph: Graph, **_options: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)


@pytest.mark.usefixtures("cuda")
def test_recording_leaves_the_seats_as_they_were(tmp_path: Path) -> None:
    """Warming up and recording move nothing on, so that the first replay is the first step: answers as without."""
    model = models.load("tiny-random", cache_dir=tmp_path)
    took: list[int] = []

    def record(static: StaticDecode) -> Captured:
        before = static.numbers.clone(), static.tokens.clone()
        step, count = static.step, 0

        def counted() -> None:
            nonlocal count
            count += 1
            step()

        static.step = counted  # type: ignore[method-assign]
        captured = Captured(static, pool=None)
        captured._graph.replay = step  # type: ignore[method-assign]
        took.append(count)
        assert torch.equal(static.numbers, before[0])
        assert torch.equal(static.tokens, before[1])
        return captured

    plain, recorded = engine_of(model), engine_of(model)
    decoding = choose(model, prefixes=recorded._pool, suffixes=recorded._answers.suffixes, most=ASKS, record=record)
    assert str(decoding).startswith("cuda graphs, buckets 1..8 ("), str(decoding)
    assert took == [WARM + 1] * 4
    assert play(decoded_by(recorded, decoding)) == play(plain)
