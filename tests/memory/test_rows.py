from __future__ import annotations

import numpy as np
import torch

from memory.rows import newest_of_cell, next_of_cell

from .random_memory import described, drawn, rows_of


def test_redundancy_is_the_mean_cosine_with_the_recent_rows_of_the_cell() -> None:
    """Over layers and heads, before rotation; cells without a recent row ask their newest; text is 0."""
    meta = described(1, [[0, 1, 2], [0, 1], [0, 1], [0]], text=1)
    plain = drawn(len(meta))
    recent = meta.frame >= 2
    got = rows_of(plain, drawn(len(meta), seed=1), meta).redundancy(recent)
    for i in range(len(meta)):
        same = [j for j in range(len(meta)) if meta.cell[j] == meta.cell[i] >= 0]
        witnesses = [j for j in same if recent[j]] or same[-1:]
        want = np.mean(
            [float(torch.cosine_similarity(plain[:, :, i], plain[:, :, j], dim=-1).mean()) for j in witnesses] or [0.0]
        )
        assert abs(got[i] - want) < 1e-5


def test_similarity_ignores_where_the_rows_stand() -> None:
    """Equal content at different ids is alike; without a partner the figure is -1."""
    meta = described(0, [[0, 1], [0, 1]])
    plain = drawn(4)
    plain[:, :, 2] = plain[:, :, 0]
    got = rows_of(plain, drawn(4, seed=1), meta).similarity(np.array([2, 3, -1, -1]))
    assert abs(got[0] - 1) < 1e-5
    assert got[1] < 0.9
    assert got[2:].tolist() == [-1, -1]


def test_value_norm_is_the_mean_over_layers_and_heads() -> None:
    meta = described(0, [[0, 1, 2]])
    values = drawn(3, seed=1)
    got = rows_of(drawn(3), values, meta).value_norm()
    assert np.allclose(got, values.norm(dim=-1).mean(dim=(0, 1)).numpy(), atol=1e-5)


def test_the_standing_picture_is_the_newest_row_of_every_cell() -> None:
    meta = described(1, [[0, 1, 2], [1], [0]], text=1)
    assert np.flatnonzero(newest_of_cell(meta)).tolist() == [4, 6, 8]


def test_each_row_knows_the_next_one_of_its_cell() -> None:
    meta = described(1, [[0, 1], [1], [0, 1]])
    assert next_of_cell(meta).tolist() == [-1, 4, 3, 5, -1, -1]


def test_a_memory_without_pictures_has_no_figures() -> None:
    meta = described(3, [])
    rows = rows_of(drawn(3), drawn(3), meta)
    assert rows.redundancy(np.zeros(3, np.bool_)).tolist() == [0, 0, 0]
    assert next_of_cell(meta).tolist() == [-1] * 3
