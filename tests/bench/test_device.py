"""`vigild bench device`: ceilings, and what the engine reaches of them, with the agreed names."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from daemon.bench import device, form
from daemon.bench.device import Weights
from daemon.bench.form import Options


def test_weights_are_counted_by_what_they_are_applied_to() -> None:
    """Blocks by patch, mergers by token, and a table of embeddings not at all."""
    visual = nn.ModuleDict({
        "patch_embed": nn.Linear(3, 4, bias=False),
        "blocks": nn.ModuleList([nn.Linear(4, 4, bias=False)] * 1),
        "pos_embed": nn.Embedding(100, 4),
        "merger": nn.Linear(16, 5, bias=False),
        "deepstack_merger_list": nn.ModuleList([nn.Linear(16, 5, bias=False)]),
    })  # fmt: skip
    language = SimpleNamespace(layers=nn.ModuleList([nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)]))
    head = nn.Linear(5, 11, bias=False)
    network = SimpleNamespace(
        model=SimpleNamespace(visual=visual, language_model=language), lm_head=head, parameters=head.parameters
    )
    assert Weights.of(network) == Weights(patch=12 + 16, merged=160, decoder=50, head=55, item_bytes=4)


def test_the_suite_measures_and_names_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """On small pictures: every share lies between nothing and the ceiling, decoding never below its floor."""
    monkeypatch.setattr(device, "CPU_PX", 96)
    monkeypatch.setattr(device, "PICTURES", 2)
    monkeypatch.setattr(device, "MEMORY_TOKENS", 512)
    report = device.run(Options(device="cpu", short=True), lambda _: None)
    figures = form.as_map("device", report)["figures"]
    assert 0 < figures["encoder_share"] < 1.2
    assert 0 < figures["prefill_share"] < 1.2
    assert figures["decode_over_floor"] > 0.8
    assert figures["decode_ms"] > 0
