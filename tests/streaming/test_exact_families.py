"""
Every family, on every kernel, by the lean forward and by the stock one, computes what its stock class computes in one
shot over the same tokens and ids, in fp32 to 1e-4.

Frame by frame, batched, forked, compacted with nothing evicted, rebased; and what is batched equals what is single.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from memory.kernels import Chosen, Kernel
from memory.kernels.chunked_cpu import ChunkedCpu
from memory.kernels.flash_cpu import FlashCpu
from memory.kernels.reference import Reference
from memory.kernels.varlen import Varlen
from memory.kv import Target
from memory.types import Compaction
from streaming import models
from streaming.bundles import bundled
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk, Layout
from streaming.models.checkpoint import no_bars
from streaming.models.forwards import ChosenForward, StockForward
from streaming.models.patches import normalise, patchify
from streaming.types import Ask, CameraSettings, Check, Image, Polygon, StepPlan
from tests.memory.kernels.plain_varlen import plain_varlen

from .bundle import rows_of
from .recorder import Recorder
from .scenes import frame, visited, walk, yard

QUESTION = "Is a person at the door?"
LEFT = ((0.0, 0.0), (0.32, 0.0), (0.32, 0.6), (0.0, 0.6))
DOOR = ((0.45, 0.4), (0.55, 0.4), (0.55, 0.6), (0.45, 0.6))
EXACT, BATCHED = 1e-4, 1e-5
KERNELS: dict[str, Kernel] = {
    "reference": Reference(),
    "flash-cpu": FlashCpu(),
    "chunked-cpu": ChunkedCpu(everything=True),
    "varlen": Varlen(plain_varlen),
}
WAYS = [*((kernel, "lean") for kernel in KERNELS), ("chunked-cpu", "stock")]


@dataclass(frozen=True)
class Both:
    """The same weights behind the engine, and in the stock class with stock attention."""

    model: VisionLanguageModel
    stock: Any

    def one_shot(
        self,
        layouts: list[Layout],
        seen: Seen,
        *,
        tail: tuple[int, ...] = (),
        keep: Tensor | None = None,
        sees: Tensor | None = None,
    ) -> Tensor:
        """
        Logits of everything behind the prompt.

        keep: bool [frames, cells], the cells that are not dropped. sees: likewise, those that the tail may see, with the
        text of their frames; its other tokens are hidden by the attention's mask.
        """
        dialogue, stock = self.model.dialogue, self.stock
        start = len(dialogue.head)
        ids = torch.tensor([[*dialogue.head, *(int(i) for layout in layouts for i in layout.ids), *tail]])
        end = layouts[-1].end
        pos = np.concatenate([text(0, start), *(layout.pos for layout in layouts), text(end, end + len(tail))], axis=1)
        visual = torch.from_numpy(
            np.concatenate([np.zeros(start, bool), *(layout.visual for layout in layouts), np.zeros(len(tail), bool)])
        )
        kept = torch.ones(int(visual.sum()), dtype=torch.bool) if keep is None else keep.flatten()
        rows = torch.ones(len(visual), dtype=torch.bool)
        rows[visual] = kept
        at = start
        for i, layout in enumerate(layouts):
            if keep is not None and not keep[i].any():
                rows[at : at + len(layout.ids)] = False
            at += len(layout.ids)
        with torch.inference_mode():
            features = stock.model.get_video_features(seen.pixels, seen.thw, return_dict=True)
            inputs = stock.get_input_embeddings()(ids)
            inputs[0, visual] = joined(features.pooler_output)
            extra = {}
            if getattr(features, "deepstack_features", None):
                deepstack = [joined(layer)[kept] for layer in features.deepstack_features]
                extra = {"visual_pos_masks": visual[None, rows], "deepstack_visual_embeds": deepstack}
            if sees is not None:
                extra["attention_mask"] = blinkers(start, layouts, sees, len(tail))[None, None, rows][..., rows]
            hidden = stock.model.language_model(
                inputs_embeds=inputs[:, rows], position_ids=torch.from_numpy(pos)[:, None, rows], **extra
            ).last_hidden_state
            logits: Tensor = stock.lm_head(hidden)[0, start:]
            return logits


@dataclass(frozen=True)
class Seen:
    """Pictures as the published processor hands them to the encoder: one video."""

    pixels: Tensor
    thw: Tensor
    hw: tuple[int, int]


@pytest.fixture(
    scope="module",
    params=[(name, *way) for name in ("tiny-random", "tiny-random-2.5") for way in WAYS],
    ids="-".join,
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    name, kernel, forward = request.param
    cache = tmp_path_factory.mktemp("models")
    model = models.load(name, cache_dir=cache)
    model.attention = Chosen(KERNELS[kernel], "chosen by a test")
    assert model.decoder.forward.name == "lean"
    if model.products.rows is not None:  # oneDNN is exact here: all forwards go through it, with rows behind them
        model.products = dataclasses.replace(model.products, rows=1)
    if forward == "stock":
        text_model = model._parts.model.model.language_model
        model.decoder = ChosenForward(StockForward(text_model), "chosen by a test")
    with no_bars():
        folder = models.built_in()[name].folder(cache)
        stock = models.families()[model.model_type].architecture.from_pretrained(folder, attn_implementation="sdpa")
    return Both(model, stock.eval())


@pytest.fixture
def windowed(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return models.load("tiny-random-2.5", cache_dir=tmp_path_factory.mktemp("models"))


def joined(features: Any) -> Tensor:
    """In one piece or in one per picture, by version of transformers."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))


def text(start: int, stop: int) -> np.ndarray:
    return np.tile(np.arange(start, stop, dtype=np.int64), (3, 1))


def watching(both: Both, images: list[Image], *, drop: str = "none", **settings: Any) -> tuple[Engine, Recorder]:
    """An engine whose one camera has seen the images one by one, and the logits it computed for them."""
    recorder = Recorder(both.model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=2, **settings))
    engine.open(CameraSettings("yard", drop=drop))
    recorder.others.clear()
    for i, image in enumerate(images):
        engine.step(StepPlan(frames=(frame("yard", i, image),)))
    return engine, recorder


def published(
    both: Both, images: list[Image], pairing: Literal["repeat", "pair"] = "repeat"
) -> tuple[list[Layout], Seen]:
    """The same frames as layouts and as the encoder's input, two frames a second."""
    model, pair = both.model, pairing == "pair"
    groups = [images[i : i + 2] for i in range(0, len(images), 2)] if pair else [[i, i] for i in images]
    grids = [patchify(group, model.vision) for group in groups]
    pixels = torch.cat([normalise(torch.from_numpy(grid.patches), model.vision) for grid in grids])
    (h, w), merge = grids[0].hw, model.vision.merge
    layouts: list[Layout] = []
    start = len(model.dialogue.head)
    for i in range(len(grids)):
        layouts.append(model.layout((h, w), time_s=0.25 + i if pair else 0.5 * i, start=start))
        start = layouts[-1].end
    return layouts, Seen(pixels, torch.tensor([[len(grids), h * merge, w * merge]]), (h, w))


def blinkers(start: int, layouts: list[Layout], sees: Tensor, tail: int) -> Tensor:
    """The additive mask [n, n] of a causal sequence whose last `tail` tokens see certain cells of its frames alone."""
    shown = [torch.ones(start, dtype=torch.bool)]
    for layout, cells in zip(layouts, sees, strict=True):
        rows = torch.from_numpy(~layout.visual) & cells.any()
        rows[torch.from_numpy(layout.visual)] = cells
        shown.append(rows)
    visible = torch.cat([*shown, torch.ones(tail, dtype=torch.bool)])
    allowed = torch.ones(len(visible), len(visible), dtype=torch.bool).tril()
    allowed[-tail:] &= visible
    return torch.zeros(allowed.shape).masked_fill(~allowed, float("-inf"))


def apart(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


@pytest.mark.parametrize("pairing", ["repeat", "pair"])
def test_frame_by_frame_equals_one_shot(both: Both, pairing: Literal["repeat", "pair"]) -> None:
    """Every logit of every frame and of a rule behind them."""
    images = walk(24)
    engine, recorder = watching(both, images, pairing=pairing)
    layouts, seen = published(both, images, pairing)
    want = both.one_shot(layouts, seen, tail=both.model.dialogue.check(QUESTION))
    p = engine.step(StepPlan(checks=(Check("yard", (("r", QUESTION),)),))).checks[0].p
    assert apart(torch.cat([*recorder.frames, recorder.others[-1]]), want) <= EXACT
    yes, no = (want[-1, list(ids)].logsumexp(0) for ids in (both.model.dialogue.yes, both.model.dialogue.no))
    assert p == pytest.approx(float((yes - no).sigmoid()), abs=EXACT)


@pytest.mark.parametrize("drop", ["none", "feature"])
def test_a_zone_is_the_stock_model_that_sees_nothing_else(both: Both, drop: str) -> None:
    """Every logit of a rule on a part of the picture, in one forward with a rule on the whole and one on another part."""
    images = walk(24)
    recorder = Recorder(both.model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1))
    engine.open(CameraSettings("yard", drop=drop))
    kept = [engine.step(StepPlan(frames=(frame("yard", i, image),))).frames[0].kept for i, image in enumerate(images)]
    recorder.others.clear()
    names = ("left", "whole", "door")
    check = Check("yard", tuple((name, QUESTION) for name in names), zones=(("left", LEFT), ("door", DOOR)))
    engine.step(StepPlan(checks=(check,)))
    layouts, seen = published(both, images)
    h, w = seen.hw
    keep = torch.from_numpy(np.stack([np.unpackbits(np.frombuffer(k, np.uint8), count=h * w) for k in kept])).bool()
    cells = {"whole": torch.ones(h, w, dtype=torch.bool)} | {
        name: torch.zeros(h, w).bool() for name in ("left", "door")
    }
    cells["left"][:2, :2] = True
    cells["door"][1, 2 : 3 + (w == 6)] = True
    tail = both.model.dialogue.check(QUESTION)
    want = {
        name: both.one_shot(layouts, seen, tail=tail, keep=keep, sees=keep & cells[name].flatten())[-len(tail) :]
        for name in names
    }
    got = dict(zip(("whole", "left", "door"), recorder.others, strict=True))
    assert all(apart(got[name], want[name]) <= EXACT for name in names)
    assert apart(want["left"], want["door"]) > 10 * EXACT
    assert apart(want["left"], want["whole"]) > 10 * EXACT


def test_dropped_tokens_leave_the_kept_ones_exact(both: Both) -> None:
    """Paper-exact drop: the stock model over the same kept tokens at their original ids."""
    images = walk(24)
    _, recorder = watching(both, images, drop="feature")
    layouts, seen = published(both, images)
    with torch.inference_mode():
        cells = joined(both.stock.model.get_video_features(seen.pixels, seen.thw, return_dict=True).pooler_output)
    cells = cells.view(len(images), seen.hw[0] * seen.hw[1], -1)
    similar = torch.cosine_similarity(cells[1:], cells[:-1], dim=-1)
    keep = torch.cat([torch.ones(1, cells.shape[1], dtype=torch.bool), ~(similar > 0.5)])
    assert 0 < int(keep[1:].sum()) < keep[1:].numel() / 2
    assert apart(torch.cat(recorder.frames), both.one_shot(layouts, seen, keep=keep)) <= EXACT


def test_a_forked_answer_equals_one_shot(both: Both) -> None:
    """A question read and answered on a fork, while the camera goes on: the stock logits over what it saw, and no more."""
    images = walk(6)
    engine, recorder = watching(both, images)
    ask = Ask("q", "yard", "What do you see?", max_tokens=8)
    engine.step(StepPlan(start=(ask,)))
    for i in range(6, 16):
        engine.step(StepPlan(frames=(frame("yard", i, visited(i % 15, noise=i)),), advance=("q",)))
    got = torch.cat(recorder.others)
    question = both.model.dialogue.question(ask.text)
    said = [int(row.argmax()) for row in got[len(question) - 1 :]]
    assert len(said) == 8
    layouts, seen = published(both, images)
    want = both.one_shot(layouts, seen, tail=(*question, *said[:-1]))
    assert apart(got, want[-len(got) :]) <= EXACT


def test_cameras_and_questions_in_one_batch_equal_each_alone(both: Both) -> None:
    """Other sizes, lengths and rules beside it change nothing beyond fp32 rounding of a larger product."""
    names = ("a", "b", "c")
    videos = {
        n: [visited((5 * j + i) % 15, noise=9 * j + i)[:, : 160 - 64 * (j == 2)].copy() for i in range(6)]
        for j, n in enumerate(names)
    }
    rules = (("r", QUESTION), ("s", "Is it night?"))
    recorder = Recorder(both.model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=3))
    for name in names:
        engine.open(CameraSettings(name, drop="none"))
    together: dict[str, list[float | None]] = {name: [] for name in names}
    for i in range(6):
        plan = StepPlan(tuple(frame(n, i, videos[n][i]) for n in names), checks=tuple(Check(n, rules) for n in names))
        for check in engine.step(plan).checks:
            together[check.camera].append(check.p)
    for j, name in enumerate(names):
        alone = Recorder(both.model)
        single = Engine(alone, settings=EngineSettings(max_cameras=1))
        single.open(CameraSettings(name, drop="none"))
        p: list[float | None] = []
        for i in range(6):
            for rule in rules:
                frames = (frame(name, i, videos[name][i]),) if rule is rules[0] else ()
                p.append(single.step(StepPlan(frames, checks=(Check(name, (rule,)),))).checks[0].p)
        scale = max(float(logits.abs().max()) for logits in alone.frames)
        worst = max(apart(a, b) for a, b in zip(alone.frames, recorder.frames[j::3], strict=True))
        assert worst <= BATCHED * max(1.0, scale)
        assert together[name] == pytest.approx(p, abs=BATCHED)


@pytest.mark.parametrize("zone", [None, DOOR], ids=["whole", "zone"])
def test_rules_that_share_their_beginning_equal_each_alone(both: Both, zone: Polygon | None) -> None:
    """
    Every logit of every rule behind what all of them begin with is that of the whole question alone, to 1e-5.

    On the whole picture, and on a part of it beside the same questions on the whole one.
    """
    engine, _ = watching(both, walk(6))
    model, view = both.model, engine._views["yard"]
    target: Target = view.kv.tail() if zone is None else view.kv.part(view.rows_in(zone))
    questions = [
        model.dialogue.check(text) for text in (QUESTION, "Is it night?", "Nobody?", "Is a person there? " * 3)
    ]
    (asked,) = bundled(tuple(questions), 1024)
    assert len(asked.ids) < sum(map(len, questions)) - 3 * 5
    with torch.inference_mode():
        embeds, pos = model.embed(torch.from_numpy(asked.ids)), np.tile(asked.step + view.kv.cursor, (3, 1))
        every = tuple(range(len(asked.ids)))
        whole = Chunk(embeds, pos, view.kv.tail(), asked.blocks, after=asked.after, read=every)
        chunk = dataclasses.replace(whole, target=target)
        together = model.forward([chunk] if zone is None else [chunk, whole])[: len(every)]
        for question, rows in zip(questions, rows_of(asked), strict=True):
            n = len(question)
            ids = text(view.kv.cursor, view.kv.cursor + n)
            single = Chunk(model.embed(torch.tensor(question)), ids, target, (n,), read=tuple(range(n)))
            want = model.forward([single])
            assert apart(together[rows], want) <= BATCHED * max(1.0, float(want.abs().max()))
        some = torch.tensor([*model.dialogue.no, *model.dialogue.yes])
        assert apart(model.forward([chunk], words=some), together[:, some]) <= BATCHED


def test_a_compaction_that_evicts_nothing_changes_no_bit(both: Both) -> None:
    engine, plain = watching(both, walk(8))
    other, recorder = watching(both, walk(8))
    kv = other._views["yard"].kv
    kv.apply(Compaction(np.arange(len(kv), dtype=np.int64)))
    for each in (engine, other):
        each.step(StepPlan(frames=(frame("yard", 8, visited(14)),)))
    assert torch.equal(plain.frames[-1], recorder.frames[-1])


@pytest.mark.parametrize(("shift", "near"), [(-4, EXACT), (300, EXACT), (3000, 1e-3)])
def test_a_rebased_memory_equals_one_shot(both: Both, shift: int, near: float) -> None:
    """
    All moving ids shifted alike: the next frame is what the stock model says of the whole video.

    Far up, the model's own fp32 angles are what differs: that is why ids are brought down.
    """
    images = [*walk(12), visited(14)]
    engine, recorder = watching(both, images[:-1])
    view = engine._views["yard"]
    with torch.inference_mode():
        view.kv.shift(np.full(len(view.kv), shift, np.int64), both.model.rope.drift, cursor=view.kv.cursor + shift)
    if both.model.ids_per_second:
        view.origin_ns -= int(shift / both.model.ids_per_second * 1e9)
    engine.step(StepPlan(frames=(frame("yard", 12, images[-1]),)))
    layouts, seen = published(both, images)
    moved = np.array(both.model.rope.moving)[:, None] * shift
    want_pos = layouts[-1].pos + moved
    assert np.array_equal(recorder.frame_pos[-1], want_pos)
    want = both.one_shot(layouts, seen)[-len(recorder.frames[-1]) :]
    assert apart(recorder.frames[-1], want) <= near


def test_ids_stay_below_the_limit_and_time_goes_on(both: Both) -> None:
    """A day of a still yard in small: ids never pass the limit, and two neighbouring frames keep their distance."""
    limit = 200 if both.model.ids_per_second else 400
    recorder = Recorder(both.model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1, rebase_at=limit))
    engine.open(CameraSettings("yard", drop="feature"))
    kv = engine._views["yard"].kv
    cursors = []
    for i in range(300):
        engine.step(StepPlan(frames=(frame("yard", i, visited(i // 60 % 15) if i % 60 == 0 else yard(noise=i)),)))
        cursors.append(kv.cursor)
        assert int(kv.meta.pos.max()) < max(kv.cursor, len(both.model.dialogue.head) + 8)
    assert max(cursors) <= limit + 40
    assert sum(now < before for before, now in itertools.pairwise(cursors)) >= 2
    if both.model.ids_per_second:  # one id a frame at two frames a second, also right behind a rebase
        steps = np.diff(cursors)[20:]
        assert set(steps[steps > 0].tolist()) == {1}
        assert int(kv.meta.pos[1:].max()) < len(both.model.dialogue.head) + 8, "places do not move"


def test_a_windowed_encoder_puts_pictures_side_by_side(windowed: VisionLanguageModel) -> None:
    """Several windows a picture, other sizes beside it, windows cut at the edge: each as alone."""
    images = [yard(), yard()[:, :96].copy(), visited(3), yard()[:60, :60].copy()]
    grids = [patchify([image, image], windowed.vision) for image in images]
    assert len({grid.hw for grid in grids}) == 3
    with torch.inference_mode():
        for together, grid in zip(windowed.encode(grids), grids, strict=True):
            (alone,) = windowed.encode([grid])
            assert together.hw == grid.hw
            assert apart(together.embeds, alone.embeds) <= BATCHED * float(alone.embeds.abs().max())
