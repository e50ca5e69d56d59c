"""`vigild bench pipeline` measures the real path, and its figures have the agreed names."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from daemon.bench import form, pipeline
from daemon.bench.form import Options
from daemon.bench.pipeline import DEFAULT, Measured, measure
from daemon.config import load

FIGURES = {"p50_ms_1", "p95_ms_1", "p95_ms_4", "p95_ms_16", "drop_ratio", "bytes_per_camera"}


def measured(variant: str, cameras: int, latency_ms: float) -> Measured:
    return Measured(
        variant=variant,
        cameras=cameras,
        seconds=2.0,
        latencies_ms=[latency_ms, 3 * latency_ms],
        frames=2,
        dropped=2,
        tokens_in=100,
        tokens_kept=10,
        events=4,
        memory_bytes=1000 * cameras,
        worker_rss_mb=1.0,
    )


def test_a_row_is_what_was_measured() -> None:
    """Rates are by the time measured and by camera; shares are of what was there."""
    row = measured("vigild", 2, 10.0).row()
    assert row["p50_ms"] == 20
    assert row["fps_per_camera"] == 0.5
    assert row["frames_dropped_share"] == 0.5
    assert row["drop_ratio"] == 0.9
    assert row["events_per_s"] == 2
    assert row["bytes_per_camera"] == 1000


def test_the_figures_have_the_agreed_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every agreed figure is there, the baselines of the same run as ratios beside them."""

    async def fake(config: object, variant: pipeline.Variant, counts: tuple[int, ...], *_: object) -> list[Measured]:
        return [measured(variant.name, count, 10.0 if variant is DEFAULT else 40.0) for count in counts]

    monkeypatch.setattr(pipeline, "measure", fake)
    report = pipeline.run(Options(device="cpu"), lambda _: None)
    figures = form.as_map("pipeline", report)["figures"]
    assert set(figures) >= FIGURES
    assert figures["one_by_one_over_batched_p95_16"] == 4
    assert {row["how"] for row in report.rows} == {"vigild", "one camera a step", "no token drop"}


@pytest.mark.slow
def test_the_real_path_is_measured() -> None:
    """One camera, then two, on a real store with a real worker: frames flow, tokens are dropped, memory is held."""
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        config = load(environ={}, flags={"data.dir": str(Path(folder)), "log.level": "error"})
        one, two = asyncio.run(measure(config, DEFAULT, (1, 2), "cpu", 0, 1.0, 3.0, lambda _: None))
    assert (one.cameras, two.cameras) == (1, 2)
    for each in (one, two):
        assert each.frames >= each.cameras
        assert all(latency > 0 for latency in each.latencies_ms)
        assert 0 <= each.tokens_kept < each.tokens_in
    assert two.memory_bytes == 2 * one.memory_bytes > 0
