"""`vigild bench age` compares the end of a run with its beginning, and its figures have the agreed names."""

from __future__ import annotations

import pytest

from daemon.bench import age, form
from daemon.bench.age import Aged
from daemon.bench.form import Options
from streaming import models
from streaming.sources.synthetic import Scene


def aged(*, late_ms: float = 10.0, rss_step_mb: float = 0.0, leaked: int = 0) -> Aged:
    """A run of 4,000 frames: 10 ms a step at first, `late_ms` at last, the process growing evenly."""
    frames = 4000
    return Aged(
        policy="window",
        frames=frames,
        early_ms=[10.0, 10.0, 90.0],
        late_ms=[late_ms, late_ms, 70.0],
        rss_mb=[400.0 + rss_step_mb * i for i in range(frames // age.RSS_EVERY)],
        memory_tokens=500,
        archived_tokens=0,
        answers=1,
        leaked_tokens=leaked,
    )


def test_the_ratio_is_of_medians() -> None:
    assert aged().row()["step_ratio"] == 1
    assert aged(late_ms=15.0).row()["step_ratio"] == 1.5


def test_growth_is_by_the_hour_of_video() -> None:
    """0.01 MiB each 20 frames at 2 fps are 360 times as much an hour."""
    assert aged(rss_step_mb=0.01).rss_mb_per_h == pytest.approx(3.6)
    assert aged().rss_mb_per_h == 0


def test_the_figures_have_the_agreed_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default policy's ratio and growth, and what leaked under any."""
    monkeypatch.setattr(age, "age", lambda *_: aged(late_ms=11.0, leaked=3))
    figures = form.as_map("age", age.run(Options(device="cpu", short=True), lambda _: None))["figures"]
    assert figures["step_ratio"] == pytest.approx(1.1)
    assert figures["rss_mb_per_h"] == 0
    assert figures["pool_leak_tokens"] % 3 == 0
    assert figures["pool_leak_tokens"] >= 3 * 4


@pytest.mark.parametrize("policy", ["window", "retrieve"])
def test_a_real_run_fills_its_memory_and_leaks_nothing(tmp_path_factory: pytest.TempPathFactory, policy: str) -> None:
    """As many steps as frames, questions answered, the memory within its budget and everything given back."""
    model = models.load("tiny-random", cache_dir=tmp_path_factory.mktemp("models"))
    pictures = [Scene("yard", 160, 128, 0).render(i / age.FPS) for i in range(40)]
    done = age.age(model, pictures, policy, 220, lambda _: None)
    assert (len(done.early_ms), len(done.late_ms), len(done.rss_mb)) == (age.WINDOW, age.WINDOW, 11)
    assert all(ms > 0 for ms in (*done.early_ms, *done.late_ms))
    assert 0.8 * age.BUDGET_TOKENS < done.memory_tokens <= age.BUDGET_TOKENS
    assert (done.archived_tokens > 0) == (policy == "retrieve")
    assert done.answers >= 20
    assert done.leaked_tokens == 0
