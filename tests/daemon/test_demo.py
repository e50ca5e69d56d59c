"""The demo shows what it promises, and fails when it does not."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.demo import Thresholds
from daemon.programme import YARD
from tests.peers.daemon import ROOT


def feed(thresholds: Thresholds, values: list[float]) -> list[tuple[float, float]]:
    """The placements that a run of p leads to."""
    return [placed for value in values if (placed := thresholds.take(value)) is not None]


def test_thresholds_lie_among_the_values() -> None:
    """After a window of values there is one placement, with values on both sides of either threshold."""
    rng = random.Random(7)
    values = [rng.random() for _ in range(Thresholds.WINDOW)]
    ((on, off),) = feed(Thresholds(), values)
    assert min(values) < off < on < max(values)


def test_a_still_picture_is_waited_for() -> None:
    """Equal values give no thresholds; the first that differ enough do, at once."""
    thresholds = Thresholds()
    assert feed(thresholds, [0.5] * 100) == []
    assert len(feed(thresholds, [0.1, 0.9] * Thresholds.WINDOW)) >= 1


def test_thresholds_follow_a_drift_and_stay_while_they_are_crossed() -> None:
    """Placed again when p has gone elsewhere; left alone for as long as alerts begin and end."""
    thresholds = Thresholds()
    rng = random.Random(7)
    (first,) = feed(thresholds, [rng.uniform(0.8, 0.9) for _ in range(Thresholds.WINDOW)])
    for _ in range(3 * Thresholds.WINDOW):
        thresholds.crossed()
        assert thresholds.take(rng.uniform(0.8, 0.9)) is None
    (second,) = feed(thresholds, [rng.uniform(0.1, 0.2) for _ in range(Thresholds.WINDOW - 1)])
    assert second[0] < first[1]


@given(st.lists(st.floats(0, 1), max_size=200))
def test_placed_thresholds_are_never_crossed_over(values: list[float]) -> None:
    """Whatever p does, off lies below on, and both within 0..1: the daemon would refuse anything else."""
    for on, off in feed(Thresholds(), values):
        assert 0 <= off < on <= 1


def demo(*arguments: str) -> list[dict[str, object]]:
    """What `vigild demo --json` shows, having ended by itself with status 0."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "demo", "--seconds", "80", "--json", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(item["type"] == "camera.state" and item["state"] == "live" for item in shown)
    for alert in (item for item in shown if item["type"] == "alert.started"):
        assert alert["evidence"]["jpg"].startswith("/v1/evidence/e_")
    assert shown[-1]["type"] == "demo"
    return shown


@pytest.mark.slow
def test_the_demo_sees_the_yard_and_answers_truly() -> None:
    """`vigild demo`: an alert of every rule, and true answers about the person, the door and the car."""
    shown = demo()
    said = {item["question"]: str(item["text"]).strip() for item in shown if item["type"] == "answer.done"}
    assert said == {
        "What colour does the person wear?": "blue",
        "Is the door open?": "No",
        "What colour is the car?": "red",
        "What was the first vehicle?": "a red car",
    }
    assert shown[-1]["alerts"] >= len(YARD.acts)


@pytest.mark.slow
def test_the_demo_goes_the_whole_path_with_random_weights() -> None:
    """Thresholds are placed among the values of p; alerts and one answer come."""
    shown = demo("--model", "tiny-random")
    assert shown[-1]["alerts"] >= 1
    assert shown[-1]["answers"] == 1
