from __future__ import annotations

import numpy as np
import torch

from memory.kv import KV
from memory.merging import fold
from memory.pool import SlabPool
from memory.rope import turn, waves
from memory.types import Compaction

from .random_memory import ROPE, described, drawn, fill, kept_in_pool
from .rows import SHAPE


def test_the_mean_is_of_keys_before_rotation_at_the_survivors_ids() -> None:
    """Equal content at three ids stays that content at the last; the mean of rotated keys would not."""
    meta = described(1, [[0], [0], [0]])
    plain = drawn(1).expand(-1, -1, 4, -1).clone()
    pool, slab = kept_in_pool(plain, drawn(4, seed=1), meta)
    folded = fold(pool, slab, meta, np.array([-1, 3, 3, -1]), ROPE)
    assert folded.rows.tolist() == [3]
    assert torch.allclose(folded.keys[:, :, 0], pool.keys[slab, :, :, 3], atol=1e-5)
    assert not torch.allclose(pool.keys[slab, :, :, 1:4].mean(dim=2), pool.keys[slab, :, :, 3], atol=1e-2)


def test_weights_add_up_over_generations() -> None:
    """Merging two and then one more equals merging three at once."""
    meta = described(0, [[0], [0], [0], [0]])
    plain, values = drawn(4), drawn(4, seed=1)
    pools = [SlabPool(SHAPE, slabs=1, rows=4) for _ in range(2)]
    once, twice = (KV(pool, budget=4, rope=ROPE) for pool in pools)
    for kv in (once, twice):
        fill(kv, plain, values, meta)
    once.apply(Compaction(np.array([2, 3]), merge_into=np.array([2, 2, -1, -1])))
    twice.apply(Compaction(np.array([1, 2, 3]), merge_into=np.array([1, -1, -1, -1])))
    twice.apply(Compaction(np.array([1, 2]), merge_into=np.array([1, -1, -1])))
    assert once.meta.weight.tolist() == twice.meta.weight.tolist() == [3, 1]
    assert torch.allclose(pools[0].keys[0, :, :, :2], pools[1].keys[0, :, :, :2], atol=1e-5)
    assert torch.allclose(pools[0].values[0, :, :, :2], pools[1].values[0, :, :, :2], atol=1e-5)
    plain_mean = turn(pools[0].keys[0, :, :, :1], waves(-ROPE.angle(torch.from_numpy(once.meta.pos[:, :1]))))
    assert torch.allclose(plain_mean[:, :, 0], plain[:, :, :3].mean(dim=2), atol=1e-5)


def test_a_fork_reads_on_what_was_there_before_the_merge() -> None:
    pool, suffixes = SlabPool(SHAPE, slabs=2, rows=4), SlabPool(SHAPE, slabs=1, rows=2)
    meta = described(0, [[0], [0], [0]])
    kv = KV(pool, budget=4, rope=ROPE)
    fill(kv, drawn(3), drawn(3, seed=1), meta)
    fork, before = kv.fork(suffixes), pool.keys[kv.slab, :, :, :3].clone()
    kv.apply(Compaction(np.array([1, 2]), merge_into=np.array([1, -1, -1])))
    assert torch.equal(pool.keys[fork.slab, :, :, :3], before)
    assert kv.slab != fork.slab
    fork.close()
