"""What one engine may hold, and how it sees; and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from memory.kernels.flash import in_pages

from .errors import StreamingError
from .reuse import Reuse


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """
    What one engine may hold, and how it sees. All device memory of the KV rows is allocated once, from these figures.

    max_cameras, max_asks: cameras open, questions being answered at the same time.
    max_budget_tokens: the largest budget a camera may ask for; every camera's slab has so many rows.
    spare_slabs: slabs for cameras that must compact while a question reads their rows; without one the question fails.
    max_question_tokens, max_answer_tokens: bounds of one question and its answer.
    max_note_tokens: notes before one question; they take from max_question_tokens what the question itself leaves.
    max_check_tokens: rules of one camera evaluated side by side, in tokens; what some of them begin with counts once.
    max_pixels: area to which a frame is scaled down, where the model does not ask for less.
    pairing: "repeat" fills a temporal patch with one frame and answers at once; "pair" waits for the next frame, which
        halves the tokens and adds one sampling period of delay.
    low_watermark: share of the budget that a compaction leaves, so that the next one is far.
    max_memory_bytes: bound of all keys and values on the device; fewer cameras are taken where max_cameras do not fit,
        0 is no bound.
    archive_bytes: host memory for old spans, taken at once, for policies that send them there; 0 is none.
    max_recall_tokens: archived tokens that one question may bring back.
    canvas_bytes: device memory for what the encoder remembers of the cameras' pictures, taken at once for as many
        cameras as it is enough for, so that of their pictures only what changed is encoded, which is an approximation;
        with 0 every picture is encoded whole. A camera's newest tokens, a few per cent of it, are held besides.
        reuse: what is encoded again.
    rebase_at: position id at which a memory's ids are moved down; capped at three quarters of the trained range.
    threads: CPU threads of one operation; 0: as many as make a pass through the model faster, up to torch's own number.
    graphs: record decoding as CUDA graphs, where a trial finds them right.
    drop_options, policy_options: options of each kind, as {"feature": {"threshold": 0.25}}.
    """

    max_cameras: int = 16
    max_asks: int = 4
    max_budget_tokens: int = 2048
    spare_slabs: int = 2
    max_question_tokens: int = 512
    max_answer_tokens: int = 512
    max_note_tokens: int = 256
    max_check_tokens: int = 1024
    max_pixels: int = 448 * 448
    pairing: Literal["repeat", "pair"] = "repeat"
    low_watermark: float = 0.9
    max_memory_bytes: int = 0
    archive_bytes: int = 0
    max_recall_tokens: int = 256
    canvas_bytes: int = 0
    reuse: Reuse = field(default_factory=Reuse)
    rebase_at: int = 100_000
    threads: int = 0
    graphs: bool = True
    drop_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        for name in (
            "spare_slabs",
            "max_memory_bytes",
            "archive_bytes",
            "canvas_bytes",
            "max_recall_tokens",
            "max_note_tokens",
            "threads",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")
        if not 0.0 < self.low_watermark <= 1.0:
            raise ValueError(f"low_watermark: {self.low_watermark} is outside 0..1")
        if self.pairing not in ("repeat", "pair"):
            raise ValueError(f"pairing: '{self.pairing}' is neither 'repeat' nor 'pair'")


_POSITIVE = (
    "max_cameras",
    "max_asks",
    "max_budget_tokens",
    "max_question_tokens",
    "max_answer_tokens",
    "max_check_tokens",
    "max_pixels",
    "rebase_at",
)


def slab_rows(settings: EngineSettings) -> int:
    """Rows of a camera's slab: its memory, and its rules behind that."""
    return in_pages(settings.max_budget_tokens + settings.max_check_tokens)


def recall_rows(settings: EngineSettings) -> int:
    """Rows of a question's own slab for what comes back from the archive."""
    return settings.max_recall_tokens if settings.archive_bytes else 0


def cameras_within(settings: EngineSettings, row_bytes: int) -> int:
    """How many cameras there is memory for. Raises: StreamingError: for none."""
    if not settings.max_memory_bytes:
        return settings.max_cameras
    asks = in_pages(recall_rows(settings) + settings.max_question_tokens + settings.max_answer_tokens)
    besides = (settings.max_asks * asks + settings.spare_slabs * slab_rows(settings)) * row_bytes
    slab_bytes = slab_rows(settings) * row_bytes
    cameras = min(settings.max_cameras, (settings.max_memory_bytes - besides) // slab_bytes)
    if cameras < 1:
        raise StreamingError(
            f"max_memory_bytes: {settings.max_memory_bytes} hold no camera: questions and spare slabs take {besides} "
            f"bytes, a camera {slab_bytes}; raise it, or lower max_budget_tokens, max_asks or spare_slabs"
        )
    return cameras
