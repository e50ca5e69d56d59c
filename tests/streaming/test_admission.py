"""What a step costs is learned from steps; what one more camera would get follows from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streaming.admission import AdmissionSettings, Capacity, Cost, CostMeter, Load

COST = Cost(step_ms=10.0, cell_ms=0.5, rule_ms=2.0)
loads = st.builds(Load, st.floats(0.1, 30), st.integers(1, 400), st.floats(0, 32))


def capacity(*cameras: Load, cost: Cost | None = COST, **changes) -> Capacity:
    known = {"cells": 200, "slots": 16, "camera_bytes": 8 << 20, "max_frames": 16, "headroom": 0.9, "min_share": 0.5}
    return Capacity(cost=cost, loads=cameras, **(known | changes))


def test_the_meter_finds_what_steps_are_made_of() -> None:
    """From steps of mixed sizes and some noise, each term to a few percent."""
    meter, random = CostMeter(), np.random.default_rng(1)
    for _ in range(300):
        frames = int(random.integers(1, 16))
        cells, rules = 200 * frames, int(random.integers(0, 2 * frames))
        meter.add(10 + 0.05 * cells + 2 * rules + random.normal(0, 0.5), cells=cells, rules=rules)
    cost = meter.cost
    assert cost is not None
    assert cost.step_ms == pytest.approx(10, rel=0.15)
    assert cost.cell_ms == pytest.approx(0.05, rel=0.05)
    assert cost.rule_ms == pytest.approx(2, rel=0.1)


def test_nothing_is_said_before_enough_was_measured() -> None:
    meter = CostMeter(AdmissionSettings(least_steps=3))
    for _ in range(2):
        meter.add(10, cells=100, rules=0)
        assert meter.cost is None
    meter.add(10, cells=100, rules=0)
    assert meter.cost is not None


def test_steps_that_are_all_alike_are_predicted_right_all_the_same() -> None:
    """One camera alone does not tell what a step is and what a frame; their sum it does tell."""
    meter = CostMeter()
    for _ in range(100):
        meter.add(40, cells=196, rules=1)
    cost = meter.cost
    assert cost is not None
    assert cost.step_ms + 196 * cost.cell_ms + cost.rule_ms == pytest.approx(40, rel=0.02)


@given(st.lists(st.tuples(st.floats(0.1, 1000), st.integers(0, 5000), st.integers(0, 500)), min_size=64, max_size=90))
def test_no_term_is_ever_negative(steps: list[tuple[float, int, int]]) -> None:
    """Whatever was measured: time is never given back."""
    meter = CostMeter()
    for ms, cells, rules in steps:
        meter.add(ms, cells=cells, rules=rules)
    cost = meter.cost
    assert cost is not None
    assert min(cost.step_ms, cost.cell_ms, cost.rule_ms) >= 0


def test_one_stall_is_no_trend_and_a_new_pace_is_learned() -> None:
    """A step of ten seconds moves the cost little; three hundred slower steps move it all the way."""
    meter = CostMeter()
    for _ in range(200):
        meter.add(20, cells=200, rules=0)
    meter.add(10_000, cells=200, rules=0)
    assert meter.cost is not None
    assert meter.cost.step_ms + 200 * meter.cost.cell_ms < 22
    for _ in range(1500):
        meter.add(60, cells=200, rules=0)
    assert meter.cost is not None
    assert meter.cost.step_ms + 200 * meter.cost.cell_ms == pytest.approx(60, rel=0.05)


@given(st.lists(loads, min_size=1, max_size=40), st.integers(1, 64))
def test_the_fair_rate_fills_the_headroom_and_no_more(cameras: list[Load], max_frames: int) -> None:
    """At the rate found the accelerator is as busy as it may be, or every camera has what it asks for."""
    rate = COST.fair_fps(cameras, max_frames=max_frames, headroom=0.9)
    assert COST.busy(cameras, rate, max_frames=max_frames) <= 0.9 + 1e-9
    if rate < max(load.fps for load in cameras):
        assert COST.busy(cameras, rate * 1.001 + 1e-9, max_frames=max_frames) > 0.9


@given(st.lists(loads, min_size=1, max_size=20), loads)
def test_one_more_camera_never_makes_the_others_faster(cameras: list[Load], new: Load) -> None:
    before = COST.fair_fps(cameras, max_frames=16, headroom=0.9)
    assume(before < max(load.fps for load in cameras))
    assert COST.fair_fps([*cameras, new], max_frames=16, headroom=0.9) <= before + 1e-6


def test_a_refusal_names_the_figures() -> None:
    """Cameras of 100 ms a frame: eight still get 1.1 of 2 fps; a tenth would bring all of them below the half."""
    camera = Load(fps=2.0, cells=200)
    assert capacity(*[camera] * 3).refusal(2.0) is None
    assert capacity(*[camera] * 7).refusal(2.0) is None  # 1.1 of 2 fps
    refusal = capacity(*[camera] * 9).refusal(2.0)
    assert refusal is not None
    assert refusal.startswith("10th camera would run at 0.9 fps: 9 take 182 % of the accelerator; ")


def test_a_slower_camera_may_still_fit_where_a_fast_one_does_not() -> None:
    """min_share counts against what is asked for."""
    full = capacity(Load(2.0, 200), Load(2.0, 200))
    assert full.refusal(0.5) is None
    assert full.refusal(30.0) is not None


def test_memory_is_judged_first_and_without_any_measurement() -> None:
    refusal = capacity(*[Load(2.0, 200)] * 2, cost=None, slots=2).refusal(2.0)
    assert refusal is not None
    assert "3rd camera finds no memory: there is room for 2 of 8 MiB each" in refusal
    assert capacity(*[Load(2.0, 200)] * 2, cost=None, slots=3).refusal(2.0) is None


def test_the_first_camera_is_let_in_however_slow_it_will_be() -> None:
    assert capacity(cost=Cost(5000, 100, 0)).refusal(30.0) is None


def test_a_share_of_zero_refuses_nobody() -> None:
    assert capacity(*[Load(2.0, 400)] * 15, min_share=0.0).refusal(30.0) is None


@given(st.lists(loads, max_size=5), st.booleans())
def test_capacity_survives_the_heartbeat(cameras: list[Load], measured: bool) -> None:
    """What is written there is read back, through JSON as well."""
    said = capacity(*cameras, cost=COST if measured else None)
    assert Capacity.from_map(json.loads(json.dumps(said.as_map()))) == said


@pytest.mark.parametrize("settings", [{"headroom": 0.0}, {"headroom": 1.1}, {"min_share": 2}, {"least_steps": 0}])
def test_settings_out_of_bounds_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        AdmissionSettings(**settings)
