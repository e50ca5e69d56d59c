"""`vigild pocket render`: a video, and beside it what every picture of it shows."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from daemon import cli
from streaming.pocket.lens import LENSES
from streaming.sources.synthetic import Scene


def vigild(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["pocket", *arguments])
    return int(ended.value.code or 0)


def test_a_scene_is_rendered_with_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a picture, equal to the scene's own truth; every event once, with the first picture that shows it."""
    video, truth = tmp_path / "a.mp4", tmp_path / "a.jsonl"
    how = ["--seed", "3", "--seconds", "12", "--pace", "busy", "--lens", "noisy", "--size", "96x80", "--fps", "5"]
    assert vigild("render", str(video), *how, "--truth", str(truth), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(video), "truth": str(truth), "frames": 60, "fps": 5.0}
    scene = Scene("pocket", 96, 80, seed=3, pace="busy", lens=LENSES["noisy"])
    told = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [each["t_s"] for each in told] == [index / 5 for index in range(60)]
    for each in told[::7]:
        shown = scene.truth(each["t_s"])
        assert (each["door_open"], each["lamp_on"]) == (shown.door_open, shown.lamp_on)
        assert [(one["kind"], one["colour"], one["x"], one["visible"]) for one in each["sightings"]] == [
            (one.kind, one.colour, one.x, one.visible) for one in shown.sightings
        ]
    happened = [(event["t_s"], event["what"]) for each in told for event in each["events"]]
    assert happened == [(event.t_s, event.what) for event in scene.events(0, told[-1]["t_s"])]
    assert len(happened) > 3
    for each in told:
        assert all(each["t_s"] - 0.2 < event["t_s"] <= each["t_s"] for event in each["events"])
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 60
    assert np.abs(frames[30].astype(int) - scene.render(6.0)).mean() < 12


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--pace", "wild"], 2, "no pace 'wild'; there are still, normal, busy"),
        (["--lens", "foggy"], 2, "no lens 'foggy'; there are clean, noisy"),
        (["--scene", "moon"], 2, "no scene 'moon'; there are yard, pocket"),
        (["--size", "12"], 2, "must look like 448x336"),
        (["--size", "101x80"], 2, "H.264 wants an even width and height"),
        (["--truth", "/nowhere/t.jsonl"], 1, "cannot write /nowhere/t.jsonl: no such file or directory"),
    ],
)
def test_what_cannot_be_rendered_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str
) -> None:
    assert vigild("render", str(tmp_path / "a.mp4"), "--seconds", "1", *arguments, "--json") == status
    assert sentence in json.loads(capsys.readouterr().err.strip().splitlines()[-1])["error"]["message"]


def test_a_file_that_is_no_video_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vigild("render", str(tmp_path / "a.foo"), "--seconds", "1") == 1
    assert "could not determine output format" in capsys.readouterr().err
