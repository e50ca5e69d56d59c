"""One worker for each device, found without loading torch."""

from __future__ import annotations

from pathlib import Path

from daemon.devices import count_cuda_devices, resolve


def test_auto_is_every_cuda_device_or_the_processor() -> None:
    """Without a CUDA device "auto" is the CPU; with two it is both."""
    assert resolve(["auto"], cuda_devices=lambda: 0) == ("cpu",)
    assert resolve(["auto"], cuda_devices=lambda: 2) == ("cuda:0", "cuda:1")


def test_each_device_is_taken_once_and_auto_asks_only_when_named() -> None:
    """A device named twice, or named beside "auto", has one worker; named devices are taken at their word."""
    assert resolve(["cuda:1", "auto", "cuda:1"], cuda_devices=lambda: 2) == ("cuda:1", "cuda:0")

    def asked() -> int:
        raise AssertionError("nobody asked for auto")

    assert resolve(["cpu"], cuda_devices=asked) == ("cpu",)


def test_without_a_driver_nothing_is_asked(tmp_path: Path) -> None:
    """A machine without NVIDIA device files has no CUDA device, at no cost."""
    assert count_cuda_devices(tmp_path) == 0
