"""The one command that trains: it runs, it resumes, what it writes loads; its parts keep their promises."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.models import load
from streaming.pocket.questions import Topic
from streaming.pocket.training import CHECKPOINT, train
from streaming.pocket.training import model as pocket
from streaming.pocket.training.dropping import WAYS, drop
from streaming.pocket.training.eyes import Eyes
from streaming.pocket.training.feed import ahead
from streaming.pocket.training.loop import Pace, Stage
from streaming.pocket.training.recording import Balance, record


def test_a_smoke_run_trains_saves_and_loads(tmp_path):
    said = []
    folder = train(tmp_path, smoke=True, seed=5, tell=lambda share, phrase: said.append(share))
    assert folder == tmp_path / CHECKPOINT
    assert said == sorted(said)
    assert said[-1] == 1.0
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 16 * 2**20
    assert weights.stat().st_mode & 0o444 == 0o444, "whoever serves it may be somebody else"
    model = load(str(folder), device="cpu", cache_dir=tmp_path)
    assert model.kv.dtype is torch.float32
    assert model.vision.temporal == 1
    again = train(tmp_path, smoke=True, seed=5)  # nothing is left to do: the same weights
    assert (again / "model.safetensors").read_bytes() == weights.read_bytes()


def test_training_goes_on_from_a_checkpoint(tmp_path):
    """Its weights are where the next training begins, to the rounding of what is stored."""
    words = pocket.tokenizer()
    first = pocket.untrained(words, seed=11)
    pocket.save(first, words, tmp_path / "first")
    again = pocket.trained(tmp_path / "first")
    for name, weight in first.state_dict().items():
        assert torch.equal(weight.to(torch.bfloat16).float(), again.state_dict()[name]), name
    train(tmp_path / "next", smoke=True, stretch_minutes=0.0, start=tmp_path / "first")
    assert (tmp_path / "next" / CHECKPOINT / "model.safetensors").is_file()
    with pytest.raises(OSError, match="none"):
        train(tmp_path / "other", smoke=True, start=tmp_path / "none")


def test_a_stretch_ends_early_and_the_next_goes_on(tmp_path):
    train(tmp_path, smoke=True, seed=1, stretch_minutes=0.0)
    assert not (tmp_path / "mind.pt").exists()
    train(tmp_path, smoke=True, seed=1)
    assert torch.load(tmp_path / "mind.pt", weights_only=True)["steps"] == 2


def test_the_schedule_rises_then_falls_and_survives_a_restart(tmp_path):
    pace = Pace(0, 1.0, steps=100)
    rates = [pace.at(step / 100) for step in range(101)]
    top = rates.index(max(rates))
    assert top <= 4
    assert all(a >= b for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    layer = torch.nn.Linear(3, 2)
    stage = Stage(tmp_path, "x", {"layer": layer}, pace)
    for _ in range(3):
        stage.step(layer(torch.ones(1, 3)).square().sum())
    stage.save()
    stage.note(loss=0.5)
    other = torch.nn.Linear(3, 2)
    resumed = Stage(tmp_path, "x", {"layer": other}, pace)
    assert resumed.steps == 3
    assert torch.equal(other.weight, layer.weight)
    assert torch.equal(resumed.mean("layer")["weight"], stage.mean("layer")["weight"])
    assert json.loads((tmp_path / "x.jsonl").read_text())["loss"] == 0.5


@pytest.fixture(scope="module")
def recording():
    model = pocket.untrained(pocket.tokenizer(), seed=0)
    return record(Eyes(model.model.visual), np.random.default_rng(8), seconds=20.0)


@settings(max_examples=25, deadline=None)
@given(way=st.sampled_from(list(WAYS)), seed=st.integers(0, 2**20))
def test_however_much_is_dropped_the_first_picture_stays(recording, way, seed):
    kept, shown = drop(recording, way, np.random.default_rng(seed))
    assert kept.shape == (len(recording), recording.tokens.shape[1])
    assert kept[0].all()
    assert way != "full" or kept.all()
    assert shown[kept.any(axis=1)].all()
    assert way not in ("frames", "random") or (shown == kept.any(axis=1)).all()


def test_questions_are_balanced_over_the_answers(recording):
    balance = Balance(np.random.default_rng(3), dict.fromkeys(Topic, 1.0))
    chosen = balance.choose(recording, 2000, np.ones(len(recording), np.bool_))
    assert len(chosen) == 2000
    counts = Counter((question.kind, question.answer) for _, question in chosen)
    for kind, by_answer in recording.moments.items():
        spread = [counts[kind, answer] for answer in by_answer]
        assert max(spread) - min(spread) <= 0.5 * max(spread) + 4, kind
    assert all(number < 5 for number, _ in balance.choose(recording, 200, np.arange(len(recording)) < 5))


def test_a_feed_hands_on_what_fails():
    def broken():
        yield 1
        raise OSError("no more")

    feed = ahead(broken())
    assert next(feed) == 1
    with pytest.raises(OSError, match="no more"):
        next(feed)
