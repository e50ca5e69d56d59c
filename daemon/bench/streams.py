"""
`vigild bench streams`: how many cameras at 2 fps one accelerator carries, each with 1, 8 and 32 rules.

Carried: 95 of 100 frames are decided within 500 ms of the moment they were taken, and a frame that had to be replaced
by a newer one counts as late. The cameras show the clips of --clips, looped with offsets (on a GPU at 448 px, on a CPU
as `pocket` sees them), and are played to the engine in virtual time (see _replay): the figures are the engine's,
scheduler and mailboxes included, decoders and store not. Beside it in the same run: the same cameras one a step, and
the drop rules none and paper-exact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from daemon.devices import resolve
from streaming.models import VisionLanguageModel
from streaming.types import CameraSettings

from ._footage import Footage, footage
from ._model import loaded
from ._replay import BUDGET_TOKENS, DEADLINE_MS, Cast, Played, Setting, play
from ._rules import rules_for
from .form import Options, Report, Row, Say

SUMMARY: Final = "most cameras at 2 fps within 500 ms, batching over a loop, what 32 rules cost"

FPS: Final = 2.0
MODEL: Final = "pocket"
CPU_PX, GPU_PX = 128, 448  # the long side; 128: what `pocket` sees
DROPS: Final = {"default": CameraSettings("").drop, "paper": "feature", "none": "none"}
RULES: Final = (1, 8, 32)
LADDER: Final = tuple(
    sorted({round(base * 2**octave) for octave in range(9) for base in (1, 1.25, 1.5, 1.75) if base * 2**octave >= 1})
)
COMPARED: Final = 16  # cameras of the comparisons


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of video: warm_s before a measurement, measure_s of it, clip_s of each clip. rounds of a comparison."""

    warm_s: float
    measure_s: float
    clip_s: float
    rounds: int


LONG: Final = Lengths(warm_s=2.0, measure_s=8.0, clip_s=40.0, rounds=24)
SHORT: Final = Lengths(warm_s=1.0, measure_s=3.0, clip_s=8.0, rounds=6)


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for about a minute in the short form and up to ten in the long one."""
    device = resolve([options.device])[0]
    side_px = GPU_PX if device.startswith("cuda") else CPU_PX
    lengths = SHORT if options.short else LONG
    say("reading the clips")
    asked = rules_for(options.model)
    clips = footage(options.clips, fps=FPS, seconds=lengths.clip_s, long_side_px=side_px)
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        model = loaded(options.model, device, Path(folder), max_pixels=side_px**2)
        speedup, rules_cost, rows = compare(model, clips, asked, lengths, side_px, say)
        most: dict[tuple[str, int], int] = {}
        for how, rules in wanted(short=options.short):
            carried, played = search(
                lambda cameras, how=how, rules=rules: play(  # type: ignore[misc]
                    Cast(model, clips, Setting(cameras, rules, DROPS[how]), max_pixels=side_px**2, rules=asked),
                    warm_s=lengths.warm_s,
                    measure_s=lengths.measure_s,
                    fps=FPS,
                ),
                lambda cameras, how=how, rules=rules: say(f"{how}, {rules} rules: {cameras} cameras"),  # type: ignore[misc]
                start=most.get((how, 1), most.get(("default", 1), COMPARED)),
            )
            most[how, rules] = carried
            rows += [one.row(f"most, {how}") for one in played if one.setting.cameras == max(1, carried)]
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "dtype": str(model.kv.dtype).removeprefix("torch."),
            "attention": model.attention.kernel.name,
            "decoder": model.decoder.forward.name,
            "products": model.products.name,
            "clips": "real" if options.clips else "generated",
            "clip_names": [clip.name for clip in clips],
            "fps": FPS,
            "side_px": side_px,
            "deadline_ms": DEADLINE_MS,
            "budget_tokens": BUDGET_TOKENS,
            "rules": list(asked),
            "drops": DROPS,
            "threads": torch.get_num_threads(),
            **{name: getattr(lengths, name) for name in ("warm_s", "measure_s", "rounds")},
        },
        rows=rows,
        figures={
            "max_cameras": float(most["default", 1]),
            "batch_speedup_16": speedup,
            "rules32_cost": rules_cost,
            **{f"max_cameras_{how}_{rules}": float(count) for (how, rules), count in most.items()},
        },
        notes=(
            "in virtual time: engine, scheduler and mailboxes; decoding and the store are measured by bench pipeline",
            f"batch_speedup_16: {COMPARED} cameras one a step over all in one, in turns; rules32_cost: 32 rules over 1",
        ),
    )


def wanted(*, short: bool) -> Sequence[tuple[str, int]]:
    """Which most-cameras searches to make."""
    if short:
        return (("default", 1),)
    return tuple((how, rules) for how in DROPS for rules in RULES)


def search(
    measure: Callable[[int], Played], say: Callable[[int], None], *, start: int, ladder: Sequence[int] = LADDER
) -> tuple[int, list[Played]]:
    """
    The most cameras of the ladder that are carried, 0 for none, and what was measured on the way.

    Gallops from `start` in the direction of the answer, then halves; takes it that fewer cameras are no harder.
    """
    done: dict[int, Played] = {}

    def carried(place: int) -> bool:
        cameras = ladder[place]
        say(cameras)
        done[cameras] = measure(cameras)
        return done[cameras].in_time

    at = max((place for place, cameras in enumerate(ladder) if cameras <= start), default=0)
    low, high, stride = -1, len(ladder), 2  # ladder[low] is carried, ladder[high] is not
    if carried(at):
        low = at
        while low + 1 < high and (at := min(low + stride, len(ladder) - 1)) > low:
            if not carried(at):
                high = at
                break
            low, stride = at, 2 * stride
    else:
        high = at
        while high > 0:
            at = max(high - stride, 0)
            if carried(at):
                low = at
                break
            high, stride = at, 2 * stride
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if carried(middle) else (low, middle)
    return (ladder[low] if low >= 0 else 0), [done[cameras] for cameras in sorted(done)]


def compare(
    model: VisionLanguageModel,
    clips: Sequence[Footage],
    asked: Sequence[str],
    lengths: Lengths,
    side_px: int,
    say: Say,
) -> tuple[float, float, list[Row]]:
    """
    Three ways to serve the same frames of 16 cameras, in turns so that all see the same machine.

    Returns: one camera a step over all in one step; 32 rules over one; a row for each. Whole rounds are compared, those
    in which little happens included, by their total time.
    """
    ways: Mapping[str, Cast] = {
        name: Cast(model, clips, Setting(COMPARED, rules, max_frames=together), max_pixels=side_px**2, rules=asked)
        for name, rules, together in (
            ("16 in a step", 1, COMPARED),
            ("one a step", 1, 1),
            ("16 in a step, 32 rules", 32, COMPARED),
        )
    }
    warm = max(2, round(lengths.warm_s * FPS))
    took: dict[str, Played] = {name: Played(cast.setting, lengths.rounds / FPS) for name, cast in ways.items()}
    for seq in range(warm + lengths.rounds):
        say(f"comparing: round {seq + 1} of {warm + lengths.rounds}")
        for name, cast in ways.items():
            frames = [cast.frame(number, seq) for number in range(COMPARED)]
            size = cast.setting.max_frames
            round_ms = 0.0
            for group in (frames[at : at + size] for at in range(0, COMPARED, size)):
                result, took_ms = cast.step(group)
                round_ms += took_ms
                if seq >= warm:
                    took[name].add(result, took_ms, [round_ms] * len(result.frames))
    batched, loop, many = (took[name].busy_ms for name in ways)
    return loop / batched, many / batched, [played.row(name) for name, played in took.items()]
