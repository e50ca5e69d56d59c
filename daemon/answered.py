"""The durable event of a question that has been answered: what was said, of what, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaming.past import Seen, cite
from streaming.types import AnswerDelta, AskStatus, Note

from .scribe import as_citation
from .store import Draft

MS = 1_000_000


def answer_draft(
    delta: AnswerDelta,
    text: str,
    asked_ns: int,
    first_ns: int | None,
    now_ns: int,
    event: str,
    *,
    notes: Sequence[Note] = (),
    seen: Seen | None = None,
) -> Draft:
    """
    The durable `answer` of a finished ask.

    Args:
        text: everything its deltas said.
        asked_ns, first_ns, now_ns: when the client asked, when the first token was there, now.
        notes: those that stood before the question. seen: when the camera was seen; None takes every span whole.
    """
    cited = cite(delta, text, now_ns=asked_ns, notes=notes, seen=seen)
    data: dict[str, Any] = {
        "ask": delta.ask,
        "text": text,
        "frame_ts": None if delta.frame_ns is None else delta.frame_ns // MS,
        "age_ms": None if delta.frame_ns is None else max(0, now_ns - delta.frame_ns) // MS,
        "citations": [as_citation(each) for each in cited.citations],
        "usage": {
            "memory_tokens": delta.memory_tokens,
            "output_tokens": delta.output_tokens,
            "ttft_ms": None if first_ns is None else (first_ns - asked_ns) // MS,
            "total_ms": (now_ns - asked_ns) // MS,
        },
        "status": str(delta.status),
    }
    if cited.doubtful:
        data["doubtful"] = list(cited.doubtful)
    if delta.reason is not None:
        data["reason"] = delta.reason
    elif delta.status is AskStatus.UNKNOWN:
        data["reason"] = "nothing was seen yet"
    return Draft(kind="answer", camera=delta.camera, data=data, dedup=f"answer:{delta.ask}", id=event, ts=now_ns // MS)
