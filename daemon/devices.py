"""Which accelerators there are, found out without loading torch into the process that asks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ASK_S = 120.0  # importing torch from a cold disk takes its time


def resolve(devices: Sequence[str], *, cuda_devices: Callable[[], int] | None = None) -> tuple[str, ...]:
    """
    The device of each worker: "auto" becomes every CUDA device, or "cpu" when there is none; each device once.

    cuda_devices: how many there are; asked only for "auto". Blocks for seconds on a machine with an NVIDIA driver.
    """
    found: dict[str, None] = {}
    for device in devices:
        if device != "auto":
            found[device] = None
            continue
        count = (cuda_devices or count_cuda_devices)()
        found |= dict.fromkeys([f"cuda:{index}" for index in range(count)] or ["cpu"])
    return tuple(found)


def count_cuda_devices(dev: Path = Path("/dev")) -> int:
    """The CUDA devices that torch can use. Asks a short-lived child process, and only where there is a driver."""
    if not any(dev.glob("nvidia[0-9]*")) and not (dev / "dxg").exists():
        return 0
    code = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=ASK_S)  # noqa: S603
        return int(done.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0  # a driver that does not work is no accelerator; doctor says why
