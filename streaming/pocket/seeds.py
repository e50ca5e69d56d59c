"""Which scenes training may see, and so which ones nobody has seen."""

from __future__ import annotations

from typing import Final

TRAINING_SEEDS: Final = 2**30  # training draws its scenes from the seeds below; a benchmark takes those from here on
