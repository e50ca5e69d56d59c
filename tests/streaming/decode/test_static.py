"""Static steps decode what ordinary forwards decode, and touch no row but their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memory.kernels import Chosen, Kernel
from memory.kernels.reference import Reference
from memory.kernels.varlen import Varlen
from memory.kv import KV
from memory.pool import SlabPool
from memory.types import TokenMeta
from streaming import models
from streaming.decode import choose
from streaming.decode.choice import _tried
from streaming.decode.static import StaticDecode, Step, Steps, sizes_up_to
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.types import Ask, CameraSettings, StepPlan
from tests.memory.kernels.plain_varlen import plain_varlen
from tests.streaming.scenes import frame, visited

from .playing import ASKS, decoded_by, engine_of, play

KERNELS: dict[str, Kernel] = {"masked": Reference(), "paged": Varlen(plain_varlen)}
NAMES = ("tiny-random", "tiny-random-2.5")


@pytest.fixture(scope="module", params=[(name, kernel) for name in NAMES for kernel in KERNELS], ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    name, kernel = request.param
    loaded = models.load(name, cache_dir=tmp_path_factory.mktemp("models"))
    loaded.attention = Chosen(KERNELS[kernel], "chosen by a test")
    return loaded


def unrecorded(static: StaticDecode) -> StaticDecode:
    return static


def test_sizes_hold_all() -> None:
    assert [sizes_up_to(most) for most in (1, 2, 3, 16, 17)] == [
        (1,),
        (1, 2),
        (1, 2, 4),
        (1, 2, 4, 8, 16),
        (1, 2, 4, 8, 16, 32),
    ]


def test_rows_equal_those_of_ordinary_forwards(model: VisionLanguageModel) -> None:
    """Keys and values of three tokens of 1 to 5 questions behind other numbers of rows, fp32 to 1e-5, all layers."""
    prefixes, suffixes = SlabPool(model.kv, slabs=1, rows=256), SlabPool(model.kv, slabs=ASKS, rows=256)
    for size in (1, 2, 4, 8):
        _, off = _tried(model, size, unrecorded, prefixes=prefixes, suffixes=suffixes)
        assert off <= 1e-5
    assert prefixes.used == suffixes.used == 0


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_near(name: str, tmp_path: Path) -> None:
    """Roundings that differ do not turn a right step away."""
    half = models.load(name, dtype=torch.bfloat16, cache_dir=tmp_path)
    assert choose(half, **pools(half), record=unrecorded).steps is not None


def test_answers_equal_those_of_ordinary_forwards(model: VisionLanguageModel) -> None:
    """Every word of questions that start, end and are cancelled while cameras go on."""
    eager, static = engine_of(model), engine_of(model)
    suffixes = static._answers.suffixes
    decoding = choose(model, prefixes=static._pool, suffixes=suffixes, most=ASKS, record=unrecorded)
    assert decoding.steps is not None, str(decoding)
    assert decoding.steps.sizes == (1, 2, 4, 8)
    want = play(eager)
    assert play(decoded_by(static, decoding)) == want
    assert len({text for _, text, _, _ in want}) > 5, "the play says the same all the time"
    assert {status for _, _, status, _ in want} == {"running", "completed", "cancelled"}


@torch.inference_mode()
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_empty_seats_harm_nothing(model: VisionLanguageModel, n: int) -> None:
    """Of all pools only the questions' new rows change, and the last row of the first one's slab, which nobody uses."""
    prefixes, suffixes = SlabPool(model.kv, slabs=2, rows=256), SlabPool(model.kv, slabs=5, rows=256)
    random = torch.Generator().manual_seed(n)
    for pool in (prefixes, suffixes):
        pool.keys.normal_(generator=random)
        pool.values.normal_(generator=random)
    kv = KV(prefixes, budget=256)
    kv.commit(TokenMeta.prompt(np.zeros((3, 20), np.int64)), cursor=20)
    forks = [kv.fork(suffixes) for _ in range(n)]
    for own, fork in enumerate(forks):
        fork.commit(3 + own)
    before = [each.clone() for pool in (prefixes, suffixes) for each in (pool.keys, pool.values)]
    steps = Steps([StaticDecode(model, 4, prefixes=prefixes, suffixes=suffixes)])
    said = steps.run(forks, [40] * n, torch.arange(5, 5 + n), count=3)
    assert [tokens.shape for tokens in said] == [(n,)] * 3
    want = torch.zeros(5, 256, dtype=torch.bool)
    for fork in forks:
        own = fork.held[1]
        want[own.slab, own.rows : own.rows + 3] = True
    want[forks[0].held[1].slab, -1] = n < 4
    after = [prefixes.keys, prefixes.values, suffixes.keys, suffixes.values]
    assert all(torch.equal(old, new) for old, new in zip(before[:2], after[:2], strict=True))
    for old, new in zip(before[2:], after[2:], strict=True):
        changed = (old != new).any(dim=-1)  # [slabs, layers, kv_heads, rows]
        assert torch.equal(changed.flatten(1, 2).all(dim=1), want)
        assert torch.equal(changed.flatten(1, 2).any(dim=1), want)


def test_no_question_reaches_the_last_row_of_its_slab(model: VisionLanguageModel) -> None:
    """The longest question, answered to the last token that is allowed, leaves a row: empty seats may write there."""
    length = len(model.dialogue.question("Who is there?"))
    settings = EngineSettings(max_cameras=1, max_asks=1, max_question_tokens=length, max_answer_tokens=6)
    engine = Engine(model, settings=settings)
    engine.open(CameraSettings("yard"))
    engine.step(StepPlan(frames=(frame("yard", 0, visited(1)),), start=(Ask("q", "yard", "Who is there?"),)))
    (fork,) = engine._answers.forks
    engine.step(StepPlan(advance=("q",), decode_tokens=9))
    assert engine._answers.forks == ()
    assert fork.held[1].rows == engine._answers.suffixes.rows - 1


def pools(model: VisionLanguageModel, *, rows: int = 256) -> dict[str, Any]:
    return {
        "prefixes": SlabPool(model.kv, slabs=1, rows=rows),
        "suffixes": SlabPool(model.kv, slabs=4, rows=rows),
        "most": 4,
    }


def test_a_cpu_decodes_eagerly_and_says_so(model: VisionLanguageModel) -> None:
    engine = engine_of(model, graphs=True)
    assert str(engine.decoding) == "eager (cpu)"
    assert str(choose(model, **pools(model), graphs=False)) == "eager (as asked)"


def test_what_cannot_be_recorded_is_told(model: VisionLanguageModel) -> None:
    """The reason in one line; what the trial took is given back."""

    def refused(_: StaticDecode) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nstack")

    given = pools(model)
    told = "eager (no step could be recorded: operation not permitted when stream is capturing)"
    assert str(choose(model, **given, record=refused)) == told
    assert given["prefixes"].used == given["suffixes"].used == 0


@pytest.mark.parametrize("fault", ["stands still", "skips a row", "another token", "tells another"])
def test_a_recorded_step_that_is_wrong_is_not_taken(model: VisionLanguageModel, fault: str) -> None:
    """
    One that does nothing, one whose places do not move on as they should, one that is fed something else, and one whose
    last layer or head is wrong: what it stores is right for the tokens that it tells, and only these are not.
    """

    class Wrong(StaticDecode):
        def step(self) -> None:
            if fault == "stands still":
                return
            if fault == "another token":
                self.tokens += 1
            super().step()
            if fault == "tells another":
                self.tokens += 1
            if fault == "skips a row":
                self.numbers[4] += 1

    given = pools(model)

    def record(static: StaticDecode) -> Step:
        return Wrong(model, static.size, prefixes=given["prefixes"], suffixes=given["suffixes"])

    decoding = choose(model, **given, record=record)
    assert decoding.steps is None
    assert "recorded questions are" in str(decoding)
