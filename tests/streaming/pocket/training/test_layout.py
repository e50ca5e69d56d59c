"""What the decoder is taught is laid out exactly as the engine serves it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memory.kv import KV
from memory.pool import SlabPool
from memory.types import TokenMeta
from streaming.models import checkpoint
from streaming.models.base import Chunk, text_ids
from streaming.models.patches import PatchGrid
from streaming.models.qwen3_vl import Qwen3VL
from streaming.pocket.training import model as pocket
from streaming.pocket.training.eyes import Eyes
from streaming.pocket.training.mind import Lesson, Mind
from streaming.pocket.training.pictures import patches
from streaming.pocket.training.recording import record, see
from streaming.pocket.training.sequence import Asked, Writer, visible
from streaming.pocket.training.shape import CELLS, GRID


@pytest.fixture(scope="module")
def trained():
    words = pocket.tokenizer()
    return pocket.untrained(words, seed=3).eval(), words


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """The same weights through the family that the daemon uses."""
    model, words = trained
    folder = tmp_path_factory.mktemp("pocket")
    pocket.save(model, words, folder)
    parts = checkpoint.load_parts(
        Qwen3VL.architecture, folder, name="pocket", device=torch.device("cpu"), dtype=torch.float32
    )
    model.load_state_dict(parts.model.state_dict())  # as rounded on disk
    return Qwen3VL(parts)


def test_a_lesson_has_the_ids_and_positions_of_the_family(trained, served):
    random = np.random.default_rng(0)
    kept = random.random((5, CELLS)) < 0.3
    kept[2] = False
    times_s = [0.0, 0.5, 1.0, 123.4, 124.0]
    asked = [Asked(1, served.dialogue.question("Is a dog there?"), (5, 6)), Asked(4, (7, 8, 9), (10,))]
    laid = Writer(served.dialogue, video_pad=trained[0].config.video_token_id).write(times_s, kept, asked)

    ids, pos, cursor, after = [*served.dialogue.head], [text_ids(0, len(served.dialogue.head))], laid.head, []
    for t_s, mask in zip(times_s, kept, strict=True):
        layout = served.layout(GRID, time_s=t_s, start=cursor)
        rows = ~layout.visual
        rows[layout.visual] = mask
        if mask.any():
            ids += layout.ids[rows].tolist()
            pos.append(layout.pos[:, rows])
        cursor = layout.end
        after.append((len(ids), cursor))
    for one in asked:
        said = [*one.question, *one.answer[:-1]]
        ids += said
        pos.append(text_ids(after[one.after][1], len(said)))
    assert laid.ids.tolist() == ids
    assert np.array_equal(laid.pos, np.concatenate(pos, axis=1))
    assert laid.stream == after[-1][0]
    assert [laid.ids[row] for row in laid.visual] == [trained[0].config.video_token_id] * int(kept.sum())
    seen = visible(laid)
    first = laid.block[laid.stream :] == 0
    assert (seen[torch.from_numpy(first)][:, : laid.stream].sum(1) == after[1][0]).all()
    assert not seen[torch.from_numpy(first)][:, laid.stream + int(first.sum()) :].any()


def test_a_lesson_gives_the_logits_that_serving_gives(trained, served):
    """One packed row with all questions teaches what each question meets on a fork, with tokens dropped before it."""
    model, _ = trained
    eyes, mind = Eyes(model.model.visual), Mind(model)
    random = np.random.default_rng(2)
    recording = record(eyes, random, seconds=3.0)
    images = random.integers(0, 255, (len(recording), 96, 128, 3), np.uint8)
    with torch.no_grad():
        tokens, deep = eyes(images)
    kept = random.random((len(recording), CELLS)) < 0.4
    kept[0] = True
    question = served.dialogue.question("What colour is the car?")
    asked = [Asked(number, question, (1,)) for number in range(len(recording))]
    laid = Writer(served.dialogue, video_pad=model.config.video_token_id).write(recording.times_s, kept, asked)
    whole = type(recording)(recording.times_s, tokens, deep[0], recording.luma, 0.0, {}, [])
    with torch.no_grad():
        hidden, _ = mind([Lesson(laid, whole)])
        taught = model.lm_head(hidden[torch.from_numpy(np.flatnonzero(laid.wanted != -100))])
    kv = KV(SlabPool(served.kv, slabs=1, rows=2048), budget=1500, rope=served.rope)
    _write(served, kv, torch.tensor(served.dialogue.head), text_ids(0, laid.head), TokenMeta.prompt, laid.head)
    met = []
    for number, t_s in enumerate(recording.times_s):
        code = served.encode([PatchGrid(patches(images[number : number + 1]), GRID)])[0]
        layout = served.layout(GRID, time_s=float(t_s), start=kv.cursor)
        rows = ~layout.visual
        rows[layout.visual] = kept[number]
        visual = np.flatnonzero(layout.visual[rows])
        embeds = served.embed(torch.from_numpy(layout.ids[rows])).clone()
        embeds[visual] = code.embeds[torch.from_numpy(kept[number])]
        features = tuple(part[torch.from_numpy(kept[number])] for part in code.deepstack)
        chunk = Chunk(embeds, layout.pos[:, rows], kv.tail(), (len(embeds),), visual=visual, deepstack=features)
        served.forward([chunk])
        kv.commit(TokenMeta.prompt(layout.pos[:, rows]), cursor=layout.end)
        chunk = Chunk(
            served.embed(torch.tensor(question)),
            text_ids(kv.cursor, len(question)),
            kv.tail(),
            blocks=(len(question),),
            read=(len(question) - 1,),
        )
        met.append(served.forward([chunk]))
    assert (taught - torch.cat(met)).abs().max() < 2e-4


def test_recordings_hold_what_the_encoder_sees(trained):
    eyes = Eyes(trained[0].model.visual)
    images = np.random.default_rng(4).integers(0, 255, (3, 96, 128, 3), np.uint8)
    together, _ = see(eyes, images)
    apart = torch.cat([see(eyes, images[i : i + 1])[0] for i in range(3)])
    assert together.shape == (3, CELLS, 192)
    assert (together.float() - apart.float()).abs().max() < 0.1  # bfloat16


def _write(served, kv, ids, pos, meta, cursor):
    served.forward([Chunk(served.embed(ids), pos, kv.tail(), blocks=(len(ids),))])
    kv.commit(meta(pos), cursor=cursor)
