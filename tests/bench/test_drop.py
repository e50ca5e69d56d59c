"""`vigild bench drop`: what counts as seen, what as quiet, and the real path over video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.bench import drop
from daemon.bench._clips import Clip, Event, Night, generate_clips, pictures, read_clips
from daemon.bench.drop import DEFAULT, Seen, figures
from daemon.errors import DaemonError
from streaming.sources.synthetic import Scene, render_file
from streaming.types import FrameResult

FIGURES = {"event_recall_fixed", "dropped_quiet", "noise_kept", "encoder_calls_saved_quiet"}
YARD = (
    Event(0.0, 4.0, "empty yard", quiet=True),
    Event(4.0, 8.0, "a person comes", quiet=False),
    Event(8.0, 12.0, "empty yard", quiet=True),
)


def seen(kept: dict[float, int], *, key: tuple[float, ...] = (), events: tuple[Event, ...] = YARD) -> Seen:
    """Twelve seconds at 2 fps: tokens kept of ten at some times, none at the others."""
    found = Seen(Clip(Path("yard.mp4"), fixed=True, events=events), DEFAULT)
    for i in range(24):
        t_s = i / 2
        tokens = kept.get(t_s, 0)
        found.ticks.append(
            (t_s, FrameResult("yard", i, i, 10, tokens, (2, 5), b"", 0, 0, encoded=tokens > 0, key=t_s in key))
        )
    return found


@pytest.mark.parametrize(("at", "is_seen"), [(3.0, False), (3.5, True), (4.0, True), (5.0, True), (5.5, False)])
def test_an_event_is_seen_when_the_gate_opens_in_time(at: float, is_seen: bool) -> None:
    """From half a second before it was written down to a second behind."""
    assert seen({at: 2}).events_seen == is_seen


def test_a_key_frame_that_was_due_sees_nothing() -> None:
    """It would have come without the event, so it proves nothing; nor is it noise that was kept."""
    found = seen({0.0: 10, 4.0: 10, 10.0: 10}, key=(0.0, 4.0, 10.0))
    assert found.events_seen == 0
    assert found.quiet[1] == 0


def test_noise_is_what_is_kept_well_inside_a_quiet_stretch() -> None:
    """A second at its ends belongs to what came before or comes next."""
    assert seen({2.0: 3, 8.5: 3, 9.5: 4}).quiet == (6 * 10 + 5 * 10, 7)


def test_the_figures_are_of_fixed_and_of_quiet_cameras() -> None:
    """dropped_quiet tells of the worst; what there is nothing to tell about is left out."""
    good, bad = seen({0.0: 10, 4.5: 1}, key=(0.0,)), seen({0.0: 10, 9.5: 10, 10.0: 10}, key=(0.0,))
    assert figures([(0.95, good), (0.9, bad), (0.5, bad)]) == pytest.approx(
        {
            "event_recall_fixed": 1 / 3,
            "dropped_quiet": 1 - 30 / 240,
            "encoder_calls_saved_quiet": 1 - 5 / 48,
            "noise_kept": 40 / 330,
        }
    )
    assert figures([(0.2, seen({}, events=()))]) == {}


def test_clips_are_read_from_their_list(tmp_path: Path) -> None:
    """Quiet is told by the sentence or said outright; a cut is a beginning too; what began before is none."""
    told = [
        {
            "clip": "a.mp4",
            "camera": "moving",
            "cuts_s": [3.5],
            "events": [
                {"t_start_s": 0, "t_end_s": 2, "what": "three bottles stand: left, middle, right"},
                {"t_start_s": 0, "t_end_s": 2, "what": "a car leaves"},
                {"t_start_s": 2, "t_end_s": 3, "what": "three people walk up"},
                {"t_start_s": 3, "t_end_s": 9, "what": "a lawn", "quiet": True},
            ],
        }
    ]
    (tmp_path / "events.json").write_text(json.dumps(told))
    with pytest.raises(DaemonError, match=r"lacks a\.mp4"):
        read_clips(tmp_path)
    (tmp_path / "a.mp4").touch()
    (clip,) = read_clips(tmp_path)
    assert not clip.fixed
    assert [event.quiet for event in clip.events] == [True, False, False, True]
    assert clip.begins_s == [2.0, 3.5]


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "cannot read"), ("{", "not in the form"), ('[{"clip": 1}]', "form")]
)
def test_a_folder_without_a_list_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "events.json").write_text(text)
    with pytest.raises(DaemonError, match=sentence):
        read_clips(tmp_path)


def test_pictures_come_at_the_rate_asked_for(tmp_path: Path) -> None:
    render_file(tmp_path / "a.mp4", Scene("static", 96, 64), seconds=2.0, fps=10.0)
    assert [t_s for t_s, _ in pictures(tmp_path / "a.mp4", fps=2.0)] == pytest.approx([0.0, 0.5, 1.0, 1.5])


@pytest.mark.slow
def test_generated_video_goes_through_the_same_path(tmp_path: Path) -> None:
    """By day and in a dark noisy night every event is seen, noise alone keeps nothing, every cut opens the gate."""
    model = drop.load("tiny-random", "cpu", tmp_path)
    ways = {clip.name: drop.watch(clip, model) for clip in generate_clips(tmp_path, size=(224, 160), fps=4.0)}
    ours = {name: (still, next(s for s in found if s.way == DEFAULT)) for name, (still, found) in ways.items()}
    for _, each in ours.values():
        assert each.events_seen == each.events
    for name in ("generated_noise", "generated_night", "generated_yard"):
        assert ours[name][1].quiet[1] == 0
    assert ours["generated_noise"][1].calls == 1
    found = figures(list(ours.values()))
    assert set(found) == FIGURES
    assert found["dropped_quiet"] > 0.85


def test_the_night_is_dark_and_never_the_same_twice() -> None:
    night = Night("yard", 96, 64)
    assert night.render(1.0).mean() < 60
    assert (night.render(1.0) != night.render(1.1)).mean() > 0.5
    assert (night.render(1.0) == night.render(1.0)).all()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_clips_keep_their_promise(clips: Path, tmp_path: Path) -> None:
    """Shadows, a dark noisy night and heavy compression: every event is seen, little is kept, of noise nothing."""
    model = drop.load("tiny-random", "cpu", tmp_path)
    hard = ("intel_bottles", "derived_night_noise_dev", "derived_lowbitrate_dev")
    ours = []
    for clip in read_clips(clips):
        if clip.name in hard:
            still, ways = drop.watch(clip, model)
            ours.append((still, next(each for each in ways if each.way == DEFAULT)))
    found = figures(ours)
    assert set(found) == FIGURES
    assert found["event_recall_fixed"] >= 0.95
    assert found["dropped_quiet"] >= 0.85
    kept = {each.clip.name: each.quiet[1] for _, each in ours}
    assert (kept["derived_night_noise_dev"], kept["derived_lowbitrate_dev"]) == (0, 0)
