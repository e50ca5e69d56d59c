"""Training multiplies in bfloat16 where the device has it."""

import pytest
import torch

from streaming.pocket.training.precision import computes_bfloat16, mixed


@pytest.mark.parametrize(
    ("device", "capability", "fast"),
    [("cuda", "AVX2", True), ("cpu", "AVX512", True), ("cpu", "AVX2", False), ("cpu", "DEFAULT", False)],
)
def test_only_where_its_products_are_fast(device, capability, fast, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert computes_bfloat16(torch.device(device)) is fast


@pytest.mark.parametrize(("capability", "dtype"), [("AVX512", torch.bfloat16), ("AVX2", torch.float32)])
def test_products_inside_have_that_precision(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    x = torch.ones(2, 2)
    with mixed(torch.device("cpu")):
        assert (x @ x).dtype is dtype
    assert (x @ x).dtype is torch.float32
