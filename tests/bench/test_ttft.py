"""`vigild bench ttft`: the baselines compute what they say, and the suite measures them beside ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from daemon.bench import form, ttft
from daemon.bench._model import loaded
from daemon.bench._stock import Keeper, Stock
from daemon.bench.form import Options
from streaming import models
from streaming.engine import Engine
from streaming.types import Ask, CameraSettings, StepPlan
from tests.streaming.scenes import frame, walk

QUESTION = "What is there?"
FIGURES = {"ttft_ms_256", "flatness", "vs_stock_256", "vs_reprefill_256", "vs_last4_256"}


@pytest.fixture(scope="module", params=["tiny-random", "tiny-random-2.5"])
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model = loaded(request.param, "cpu", folder, max_pixels=160 * 96)
    return model, Stock(model, models.stock(request.param, cache_dir=folder).model)


def first_token(monkeypatch, stock: Stock, ask) -> int:
    """The token that a baseline answers with."""
    said = []
    answer = Stock._answer
    monkeypatch.setattr(Stock, "_answer", lambda *args: said.append(answer(*args)))
    assert ask() > 0
    return said[0]


def test_the_kept_rows_read_anew_answer_as_the_memory_does(pair, monkeypatch) -> None:
    """Same tokens, same ids, the stock class: the same first token as the engine's own answer."""
    model, stock = pair
    keeper = Keeper(model)
    engine = Engine(keeper)
    engine.open(CameraSettings("yard", drop="feature"))
    for seq, image in enumerate(walk(12)):
        engine.step(StepPlan(frames=(frame("yard", seq, image),)))
    kept = list(keeper.kept)
    assert 1 < len(kept) <= 12
    assert sum(map(len, kept)) == engine.memory("yard").tokens - len(model.dialogue.head)
    tokens: list[int] = []
    collect = engine._answers.collect
    monkeypatch.setattr(engine._answers, "collect", lambda got: tokens.extend(map(int, got)) or collect(got))
    engine.step(StepPlan(start=(Ask("q", "yard", QUESTION, max_tokens=1),)))
    assert tokens == [first_token(monkeypatch, stock, lambda: stock.from_embeddings(kept, QUESTION))]


def test_pictures_read_anew_depend_on_the_pictures(pair) -> None:
    """Every way of the stock class runs on an odd number of pictures too, and puts all of them in."""
    model, stock = pair
    seen: list[int] = []
    forward = stock.network.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    try:
        for count in (1, 4, 8):
            stock.from_pictures(walk(count), QUESTION)
    finally:
        forward.remove()
    whole = np.prod((3, 5)) if model.vision.cell_px == 32 else None
    one, two, four = seen
    assert two - one == pytest.approx((four - two) / 2, abs=2)
    assert whole is None or two - one >= whole


@pytest.mark.slow
def test_the_suite_measures_and_names_its_figures(monkeypatch) -> None:
    """Short histories on small generated pictures: every way has a time, every figure a number."""
    monkeypatch.setattr(ttft, "HISTORIES", (2, 4, 8, 12))
    monkeypatch.setattr(ttft, "BASELINE", 8)
    monkeypatch.setattr(ttft, "CPU_PX", 96)
    monkeypatch.setattr(ttft, "CLIP_S", 6.0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        report = ttft.run(Options(device="cpu", model="tiny-random", short=True), lambda _: None)
        assert torch.get_num_threads() == 2, "suites that run next would have one thread"
    finally:
        torch.set_num_threads(before)
    assert report.settings["threads"] == 1
    figures = form.as_map("ttft", report)["figures"]
    assert set(figures) >= FIGURES
    assert all(value > 0 for value in figures.values())
    assert len(report.rows) == 4 + 4 + 3
    assert all(row["p50_ms"] > 0 for row in report.rows)
