"""`vigild bench streams`: the search finds the most cameras, virtual time counts what is late, and the real thing runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.bench import form, streams
from daemon.bench._footage import footage
from daemon.bench._model import loaded
from daemon.bench._replay import Cast, Played, Setting, play
from daemon.bench._rules import rules_for
from daemon.bench.form import Options
from daemon.bench.streams import LADDER, search
from streaming.pocket.questions import words
from streaming.types import StepResult

PX = 64


def played(cameras: int, latency_ms: float, *, replaced: int = 0) -> Played:
    result = Played(Setting(cameras), seconds=1.0, replaced=replaced)
    result.add(StepResult(), 1.0, [latency_ms] * 20)
    return result


@given(st.integers(0, 600), st.integers(1, 600))
def test_the_search_finds_the_most_cameras_of_the_ladder(capacity: int, start: int) -> None:
    """From any start, in few measurements, whatever the answer is."""
    asked: list[int] = []

    def measure(cameras: int) -> Played:
        asked.append(cameras)
        return played(cameras, 100 if cameras <= capacity else 900)

    found, measured = search(measure, lambda _: None, start=start)
    assert found == max((rung for rung in LADDER if rung <= capacity), default=0)
    assert len(asked) == len(set(asked)) == len(measured)
    assert len(asked) <= 4 * math.ceil(math.log2(len(LADDER)))


def test_a_replaced_frame_is_late() -> None:
    """Latency is told over all frames: one in twenty may be missing, not two."""
    assert played(1, 100, replaced=1).in_time
    assert not played(1, 100, replaced=2).in_time
    assert played(1, 100, replaced=2).at(0.95) is None
    assert not played(1, 501).in_time


@pytest.mark.parametrize("model", ["pocket", "tiny-random"])
def test_there_are_rules_for_every_count(model: str) -> None:
    rules = rules_for(model)
    assert len(set(rules)) == len(rules) == max(streams.RULES)


def test_the_rules_of_pocket_are_in_its_words() -> None:
    """Its tokenizer is made from these, every word one token."""
    assert set(rules_for("pocket")) <= set(words())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> object:
    return loaded("tiny-random", "cpu", tmp_path_factory.mktemp("models"), max_pixels=PX * PX)


def test_cameras_are_played_in_virtual_time(tiny) -> None:
    """Four small cameras are carried: every frame after the warm-up is decided once, and rules are evaluated."""
    clips = footage(None, fps=2.0, seconds=4.0, long_side_px=PX)
    cast = Cast(tiny, clips, Setting(cameras=4, rules=2, drop="none"), max_pixels=PX * PX)
    result = play(cast, warm_s=0.5, measure_s=2.0, fps=2.0)
    assert (
        result.frames == 4 * 2.0 * 2 - 3 - 0 or result.frames == 4 * 2.0 * 2
    )  # staggered: the last ones may be under way
    assert result.replaced == 0
    assert result.checks == 2 * len(result.latencies_ms)
    assert all(latency_ms > 0 for latency_ms in result.latencies_ms)
    cast.engine.check()


def test_a_hopeless_number_of_cameras_is_given_up_early(tiny, monkeypatch) -> None:
    """When steps take a second, nothing is in time, and not all of it is played."""
    clips = footage(None, fps=2.0, seconds=4.0, long_side_px=PX)
    cast = Cast(tiny, clips, Setting(cameras=4), max_pixels=PX * PX)
    step = cast.step
    steps = 0

    def slow(frames):
        nonlocal steps
        steps += 1
        return step(frames)[0], 1000.0

    monkeypatch.setattr(cast, "step", slow)
    result = play(cast, warm_s=0.0, measure_s=60.0, fps=2.0)
    assert result.given_up
    assert not result.in_time
    assert steps < 20


@pytest.mark.slow
def test_the_suite_measures_and_names_its_figures(monkeypatch) -> None:
    """The short form on small generated pictures."""
    monkeypatch.setattr(streams, "CPU_PX", PX)
    monkeypatch.setattr(streams, "COMPARED", 2)
    monkeypatch.setattr(streams, "LADDER", (1, 2, 3))
    monkeypatch.setattr(streams, "SHORT", streams.Lengths(0.5, 1.0, 4.0, 2))
    report = streams.run(Options(device="cpu", model="tiny-random", short=True), lambda _: None)
    figures = form.as_map("streams", report)["figures"]
    assert {"max_cameras", "batch_speedup_16", "rules32_cost"} <= set(figures)
    assert all(figures[name] > 0 for name in ("batch_speedup_16", "rules32_cost"))
    assert {row["how"] for row in report.rows} >= {"16 in a step", "one a step", "16 in a step, 32 rules"}


def test_real_clips_are_read(clips: Path) -> None:
    """Two seconds of every clip of events.json, at the rate asked for and no larger than asked."""
    found = footage(clips, fps=2.0, seconds=2.0, long_side_px=PX)
    assert len(found) >= 10
    for clip in found:
        assert 3 <= len(clip.images) <= 4
        assert all(max(image.shape[:2]) <= PX for image in clip.images)
        first, again = clip.frame("c", 0), clip.frame("c", len(clip.images))
        assert again.image is first.image
        assert again.pts_ns > first.pts_ns
