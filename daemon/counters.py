"""What a camera's frames cost and how late they were decided, as the numbers that `stats` and `camera.get` show."""

from __future__ import annotations

from typing import Any

from streaming.admission import Load
from streaming.trigger import Signal
from streaming.types import Frame, FrameResult

from .meter import Quantiles, Rate

MS = 1_000_000


class Counters:
    """One camera's, since its session began. rejected, notes: of frames and notes."""

    def __init__(self) -> None:
        self.rejected = 0
        self.notes = 0
        self._frames = self._dropped = self._checks = self._changes = 0
        self._tokens_in = self._tokens_kept = 0
        self._seen, self._encoded = Rate(), Rate()
        self._latency_ms = Quantiles()
        self._memory = (0, 0)  # tokens, bytes
        self._cells = 0
        self._rho = 0.0

    def frame(self, frame: Frame, result: FrameResult, checks: int, now_ns: int) -> None:
        """What the engine made of a frame, with so many rules evaluated."""
        self._frames += 1
        self._dropped += frame.dropped_before
        self._checks += checks
        self._tokens_in += result.tokens_in
        self._tokens_kept += result.tokens_kept
        self._seen.add(now_ns)
        if result.encoded:
            self._encoded.add(now_ns)
        self._cells = result.hw[0] * result.hw[1] or self._cells
        self._memory = (result.memory_tokens, result.memory_bytes)
        self._latency_ms.add((now_ns - frame.seen_ns) / MS)

    def signal(self, signal: Signal) -> None:
        """How much changed."""
        self._rho = signal.rho
        self._changes += signal.change

    def load(self, fps: float) -> Load:
        """What the camera is to the accelerator; no cells before its first frame."""
        return Load(fps, self._cells, self._checks / max(1, self._frames))

    def as_map(self, now_ns: int) -> dict[str, Any]:
        """Plain numbers, by their names on the wire."""
        p50_ms, p95_ms = self._latency_ms.at(0.5), self._latency_ms.at(0.95)
        kept, total = self._tokens_kept, self._tokens_in
        return {
            "fps_seen": round(self._seen.per_s(now_ns), 2),
            "fps_encoded": round(self._encoded.per_s(now_ns), 2),
            "frames": self._frames,
            "frames_rejected": self.rejected,
            "tokens_in": total,
            "tokens_kept": kept,
            "drop_ratio": round(1 - kept / total, 4) if total else 0.0,
            "rho": round(self._rho, 4),
            "changes": self._changes,
            "kv_tokens": self._memory[0],
            "kv_bytes": self._memory[1],
            "queue_drops": self._dropped,
            "p50_ms": None if p50_ms is None else round(p50_ms, 1),
            "p95_ms": None if p95_ms is None else round(p95_ms, 1),
            "notes": self.notes,
        }
