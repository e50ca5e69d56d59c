"""The rules of both stages inside the engine: what is encoded, what is kept whole, what is always kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from memory.pool import SlabPool
from memory.types import KVShape
from streaming.engine import Engine, EngineSettings
from streaming.errors import ModelError, StreamingError
from streaming.models import VisionLanguageModel
from streaming.reuse import Reuse
from streaming.types import CameraSettings, Check, FrameResult, Image, StepPlan

from .recorder import Recorder
from .scenes import HEIGHT, WIDTH, frame, visited, yard

Make = Callable[..., tuple[Engine, Recorder]]
MIDDLE = ((0.45, 0.4), (0.55, 0.4), (0.55, 0.6), (0.45, 0.6))  # cell 7
CORNER = ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1))


@pytest.fixture
def make(tiny: VisionLanguageModel) -> Make:
    """An engine with these cameras open, each {"camera": "drop"}, and what its model is asked."""

    def build(
        cameras: dict[str, str], *, zones: Any = (), never_drop: Any = (), budget: int = 400, **settings: Any
    ) -> tuple[Engine, Recorder]:
        recorder = Recorder(tiny)
        engine = Engine(recorder, settings=EngineSettings(**{"max_cameras": 4, **settings}))
        for camera, rule in cameras.items():
            engine.open(CameraSettings(camera, drop=rule, zones=zones, never_drop=never_drop, budget_tokens=budget))
        return engine, recorder

    return build


def watch(engine: Engine, images: list[Image], camera: str = "yard", *, start: int = 0) -> list[FrameResult]:
    return [
        engine.step(StepPlan(frames=(frame(camera, start + i, image),))).frames[0] for i, image in enumerate(images)
    ]


def still(n: int, *, start: int = 0) -> list[Image]:
    """The same yard n times, but for its noise."""
    return [yard(noise=start + i) for i in range(n)]


def test_a_frame_without_change_costs_no_encoder_call_and_no_prefill(make: Make) -> None:
    """It is told as seen and not encoded, its time passes, nothing is written, and rules need not look again."""
    engine, model = make({"yard": "pixel+dtdr"})
    watch(engine, still(1))
    calls, before = (model.encodes, model.forwards), engine.memory("yard")
    results = watch(engine, still(8, start=1), start=1)
    assert (model.encodes, model.forwards) == calls
    assert engine.memory("yard") == before
    assert {(r.tokens_in, r.tokens_kept, r.encoded, r.key) for r in results} == {(15, 0, False, False)}
    check = Check("yard", (("r", "Is it night?"),), only_if_changed=True)
    assert engine.step(StepPlan(frames=(frame("yard", 9, yard(noise=9)),), checks=(check,))).checks == ()


def test_only_frames_that_changed_are_encoded_and_leave_what_changed(make: Make) -> None:
    """Of two cameras in one step, and of the picture's cells only those that moved."""
    engine, model = make({"yard": "pixel+dtdr", "dock": "pixel+dtdr"})
    sizes: list[int] = []
    encode = model.encode
    model.encode = lambda grids, *rest: sizes.append(len(grids)) or encode(grids, *rest)  # type: ignore[method-assign]
    pair = [(yard(noise=1), yard(noise=2)), (yard(noise=3), yard(noise=4)), (visited(7, noise=5), yard(noise=6))]
    for at, (a, b) in enumerate(pair):
        result = engine.step(StepPlan(frames=(frame("yard", at, a), frame("dock", at, b))))
    told = {r.camera: r for r in result.frames}
    assert sizes == [2, 1]
    assert (told["dock"].encoded, told["dock"].tokens_kept) == (False, 0)
    assert np.flatnonzero(np.unpackbits(np.frombuffer(told["yard"].kept, np.uint8))).tolist() == [7]


def test_cameras_with_different_rules_share_a_step(make: Make) -> None:
    """Each frame fares as it does alone, whoever else is looked at."""
    rules = {"a": "none", "b": "feature", "c": "pixel", "d": "pixel+dtdr"}
    images = [*still(3), visited(4, noise=3), visited(4, noise=4), visited(9, noise=5)]
    together, _ = make(rules)
    alone = {camera: watch(make({camera: rule})[0], images, camera) for camera, rule in rules.items()}
    for at, image in enumerate(images):
        results = together.step(StepPlan(frames=tuple(frame(camera, at, image) for camera in rules))).frames
        assert {r.camera: r.kept for r in results} == {camera: alone[camera][at].kept for camera in rules}


def test_a_key_frame_comes_when_it_is_due(make: Make) -> None:
    """Every key_s by the frames' own time, whatever the picture; the paper's rule knows none."""
    engine, _ = make({"yard": "pixel+dtdr"}, drop_options={"pixel": {"key_s": 5.0}, "dtdr": {"key_s": 0.0}})
    results = watch(engine, still(31))
    assert [r.seq for r in results if r.key] == [0, 10, 20, 30]
    assert all(r.tokens_kept == 15 for r in results if r.key)
    paper, _ = make({"yard": "feature"}, drop_options={"pixel": {"key_s": 5.0}})
    assert [r.seq for r in watch(paper, still(31)) if r.key] == [0]


def test_a_cut_is_kept_whole(make: Make) -> None:
    """Also past the cap of tokens that a changed frame may keep; it is not a key frame that was due."""
    engine, _ = make({"yard": "pixel+dtdr"}, drop_options={"dtdr": {"cap": 0.1}})
    tiles = np.random.default_rng(3).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    other = tiles.repeat(8, axis=0).repeat(8, axis=1)
    results = watch(engine, [*still(4), visited(7, noise=4), other])
    assert results[4].tokens_kept < 15
    assert (results[5].tokens_kept, results[5].key) == (15, False)


def test_a_zone_that_is_never_dropped_is_in_every_frame(make: Make) -> None:
    """Its cells are kept of a still picture too, which is encoded for that, and nothing else of it is."""
    for rule in ("pixel+dtdr", "pixel", "feature"):
        engine, model = make({"yard": rule}, never_drop=(CORNER,))
        results = watch(engine, still(4))
        assert model.encodes == 4
        assert [np.flatnonzero(np.unpackbits(np.frombuffer(r.kept, np.uint8))).tolist() for r in results[1:]] == [
            [0]
        ] * 3


@pytest.mark.parametrize("rule", ["pixel+dtdr", "pixel", "dtdr", "feature", "none"])
def test_changes_outside_of_the_zones_do_not_matter(make: Make, rule: str) -> None:
    """They leave nothing behind, and where a rule on pixels stands no encoder call; key frames are whole."""
    engine, _ = make({"yard": rule}, zones=(CORNER, MIDDLE))
    results = watch(engine, [*still(3), visited(9, noise=3), visited(5, noise=4), visited(7, noise=5)])
    kept = [set(np.flatnonzero(np.unpackbits(np.frombuffer(r.kept, np.uint8))).tolist()) for r in results]
    assert kept[0] == set(range(15))
    assert all(cells <= {0, 7} for cells in kept[1:])
    assert 7 in kept[5]
    if rule.startswith("pixel"):
        assert [r.encoded for r in results] == [True, False, False, False, False, True]
    engine.check()


def test_another_scene_around_the_zones_is_no_cut(make: Make) -> None:
    """While the zone is as it was, whatever surrounds it may change as it likes; a cut of the zone too is one."""
    tiles = np.random.default_rng(3).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    other = tiles.repeat(8, axis=0).repeat(8, axis=1)
    around = other.copy()
    around[:, :64] = yard(noise=5)[:, :64]
    left = ((0.0, 0.0), (0.39, 0.0), (0.39, 1.0), (0.0, 1.0))
    engine, _ = make({"yard": "pixel+dtdr"}, zones=(left,))
    results = watch(engine, [*still(4), around, other])
    assert (results[4].encoded, results[4].tokens_kept) == (False, 0)
    assert results[5].tokens_kept == 15
    unzoned, _ = make({"yard": "pixel+dtdr"})
    assert watch(unzoned, [*still(4), around])[4].tokens_kept == 15


def test_cameras_with_and_without_zones_share_a_step(make: Make) -> None:
    """One camera's zones are nothing to the other."""
    engine, _ = make({"dock": "pixel+dtdr"})
    engine.open(CameraSettings("yard", zones=(CORNER,), budget_tokens=400))
    for at, image in enumerate([*still(3), visited(9, noise=3)]):
        result = engine.step(StepPlan(frames=(frame("yard", at, image), frame("dock", at, image))))
    assert {r.camera: r.tokens_kept > 0 for r in result.frames} == {"yard": False, "dock": True}


def test_a_pair_is_looked_at_in_both_of_its_pictures(make: Make) -> None:
    """What shows in the first picture of a pair alone opens the gate."""
    engine, _ = make({"yard": "pixel+dtdr"}, pairing="pair")
    results = watch(engine, [*still(6), visited(7, noise=6), yard(noise=7)])
    assert [r.encoded for r in results] == [False, True, False, False, False, False, False, True]
    assert results[-1].tokens_kept


def test_forgetting_starts_with_a_key_frame(make: Make) -> None:
    """And with noise that is learnt anew."""
    engine, _ = make({"yard": "pixel+dtdr"})
    watch(engine, still(3))
    engine.forget("yard")
    again = watch(engine, still(3, start=3), start=3)
    assert [(r.key, r.encoded) for r in again] == [(True, True), (False, False), (False, False)]


def test_ids_of_a_still_camera_are_held_by_rebasing(make: Make) -> None:
    """Frames that nobody encodes take ids too; far past the limit the memory is in order and answers as before."""
    engine, _ = make({"yard": "pixel+dtdr"}, rebase_at=300)
    watch(engine, still(2))
    check = StepPlan(checks=(Check("yard", (("r", "Is it night?"),)),))
    before = engine.step(check).checks[0].p
    watch(engine, still(57, start=2), start=2)
    assert engine._views["yard"].kv.cursor < 320
    after = engine.step(check).checks[0].p
    assert before is not None
    assert after is not None
    assert 0 < after < 1
    engine.check()


def lit(n: int) -> list[Image]:
    """A yard in which a lamp, one cell, changes its light from picture to picture."""
    found = []
    for i in range(n):
        image = yard()
        image[4 * HEIGHT // 10 : 6 * HEIGHT // 10, 45 * WIDTH // 100 : 55 * WIDTH // 100] = (
            60 + 130 * (i % 2),
            200,
            20,
        )
        found.append(image)
    return found


def test_only_what_changed_is_encoded_where_there_is_a_canvas(make: Make) -> None:
    """The first picture whole, then the changed cells and those around them; what is kept stays among them."""
    engine, _ = make({"yard": "pixel+dtdr"}, canvas_bytes=1 << 20, reuse=Reuse(ring=1, refresh=0.0, most=1.0))
    first, *rest = watch(engine, lit(5))
    assert first.tokens_encoded == first.tokens_in == 15
    assert {result.tokens_encoded for result in rest} == {9}
    for result in rest:
        kept = np.unpackbits(np.frombuffer(result.kept, np.uint8), count=15).reshape(3, 5)
        assert kept.any()
        assert not kept[:, [0, 4]].any()
    engine.check()


def test_pictures_are_whole_again_when_due_and_after_many_portions(make: Make) -> None:
    """After `refresh` pictures' worth of cells, after a forgotten memory, and when the grid changes."""
    engine, _ = make({"yard": "pixel+dtdr"}, canvas_bytes=1 << 20, reuse=Reuse(ring=1, refresh=1.0, most=1.0))
    assert [result.tokens_encoded for result in watch(engine, lit(6))] == [15, 9, 9, 15, 9, 9]
    engine.forget("yard")
    again = watch(engine, lit(2), start=6)
    assert [result.tokens_encoded for result in again] == [15, 9]
    turned = np.ascontiguousarray(np.rot90(lit(1)[0]))
    assert watch(engine, [turned], start=8)[0].tokens_encoded == 15
    engine.check()


def test_cameras_beyond_the_canvases_are_encoded_whole(make: Make, tiny: VisionLanguageModel) -> None:
    """And a camera that leaves hands its canvas to the next one; all of it is given back in the end."""
    largest = 20 * tiny.vision.merge**2  # patches of the largest picture
    engine, _ = make(
        {"yard": "pixel+dtdr", "dock": "pixel+dtdr", "gate": "dtdr"},
        canvas_bytes=largest * tiny.canvas.row_bytes + 1,
        reuse=Reuse(ring=1, refresh=0.0, most=1.0),
    )
    assert [[r.tokens_encoded for r in watch(engine, lit(2), name)] for name in ("yard", "dock", "gate")] == [
        [15, 9],
        [15, 15],
        [15, 15],
    ]
    engine.close("yard")
    engine.open(CameraSettings("door", drop="pixel+dtdr", budget_tokens=400))
    assert [r.tokens_encoded for r in watch(engine, lit(2), "door")] == [15, 9]
    engine.check()
    for name in ("dock", "gate", "door"):
        engine.close(name)
    assert engine.rows_taken == 0


def stored(engine: Engine, camera: str) -> Tensor:
    """The keys and values of a camera's rows, with which p would hardly move."""
    kv = engine._view(camera).kv
    return torch.stack([held[kv.slab, :, :, : len(kv)] for held in (engine._pool.keys, engine._pool.values)])


def test_another_cameras_portion_changes_nothing(make: Make) -> None:
    """
    Beside a camera that is encoded in portions, one is seen as if it were alone, but for how larger products round.

    Attending over the other's slab would move a row by 5.6e-5.
    """
    reuse = Reuse(ring=1, refresh=0.0, most=1.0)
    together, one = make({"yard": "pixel+none", "dock": "pixel+none"}, canvas_bytes=1 << 20, reuse=reuse)
    alone, other = make({"dock": "pixel+none"}, canvas_bytes=1 << 20, reuse=reuse)
    for i, image in enumerate(lit(4)):
        shown = visited(3 * i)
        portion, _ = together.step(StepPlan(frames=(frame("yard", i, image), frame("dock", i, shown)))).frames
        assert portion.tokens_encoded == (9 if i else 15)
        alone.step(StepPlan(frames=(frame("dock", i, shown),)))
    assert torch.allclose(stored(together, "dock"), stored(alone, "dock"), rtol=0, atol=1e-5)
    assert (one.encodes, other.encodes) == (4, 4)


def test_a_picture_too_long_for_its_canvas_is_encoded_whole(make: Make) -> None:
    """Rounded up to one cell, a narrow picture has more cells than its area: it harms no camera, and is seen."""
    shown = {"yard": "pixel+dtdr", "dock": "pixel+dtdr"}
    engine, _ = make(shown, canvas_bytes=1 << 20, reuse=Reuse(ring=1, refresh=0.0, most=1.0))
    first, second = lit(2)
    watch(engine, [first])
    watch(engine, [first], "dock")
    strip = np.random.default_rng(0).integers(0, 256, (40, 4000, 3), np.uint8)
    result = engine.step(StepPlan(frames=(frame("yard", 1, strip), frame("dock", 1, second))))
    assert [(r.tokens_in > engine.max_frame_tokens, r.tokens_encoded) for r in result.frames] == [
        (True, result.frames[0].tokens_in),
        (False, 9),
    ]
    assert [r.tokens_encoded for r in watch(engine, [first, second], start=2)] == [15, 9]
    engine.check()


def test_canvases_that_cannot_be_had_say_so(
    make: Make, tiny: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few bytes for one picture, or more than the device has: a sentence, not pictures that are encoded whole."""
    with pytest.raises(StreamingError, match=r"canvas_bytes: 1000 hold no picture: one takes \d+ bytes; raise it"):
        make({}, canvas_bytes=1000)

    def short(shape: KVShape, **size: int) -> SlabPool:
        if shape is tiny.canvas:
            raise RuntimeError("out of memory")
        return SlabPool(shape, **size)

    monkeypatch.setattr("streaming.engine.SlabPool", short)
    with pytest.raises(ModelError, match=r"for the pictures of 4 cameras are not free on cpu; lower engine\.canvas_mb"):
        make({}, canvas_bytes=1 << 20)
