"""
What an answer rests on: stretches of memory and notes, and never what the model says of itself.

Every citation is a time at which the camera was seen: a note's frame, or a stretch that lies in memory (or came back
from the archive) and between the camera's gaps. Times that the answer names are held against these; those that none of
them bears out are listed as doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from ..types import AnswerDelta, Note
from .clock import Stretch
from .seen import Seen
from .times import mentioned


@dataclass(frozen=True, slots=True)
class Citation:
    """A time that an answer rests on, Unix epoch nanoseconds; `note` where it is that note's frame."""

    t0_ns: int
    t1_ns: int
    note: Note | None = None


@dataclass(frozen=True, slots=True)
class Cited:
    """
    citations: notes, then what came back from the archive, then what memory held, each oldest first.
    doubtful: times in the answer's words that lie in none of them.
    """

    citations: tuple[Citation, ...] = ()
    doubtful: tuple[str, ...] = ()


def cite(
    delta: AnswerDelta,
    text: str,
    *,
    now_ns: int,
    notes: Sequence[Note] = (),
    seen: Seen | None = None,
    zone: tzinfo | None = None,
) -> Cited:
    """
    What the answer may cite, and which of its times nothing bears out.

    Args:
        delta: the answer's end, with the span its memory held.
        text: the whole answer. notes: those that stood before the question.
        now_ns: when it was asked; "2 minutes ago" is counted from here.
        seen: when the camera was seen; None takes every span whole.
    """
    held = [Stretch(t0_ns, t1_ns) for t0_ns, t1_ns in delta.recalled]
    if delta.t0_ns is not None and delta.t1_ns is not None:
        held.append(Stretch(delta.t0_ns, delta.t1_ns))
    spans = [part for each in held for part in ([each] if seen is None else seen.within(each))]
    ordered = sorted(notes, key=lambda note: note.t_ns)
    citations = (
        *(Citation(note.t_ns, note.t_ns, note) for note in ordered),
        *(Citation(span.t0_ns, span.t1_ns) for span in spans),
    )
    borne_out = [Stretch(each.t0_ns, each.t1_ns) for each in citations]
    doubtful = (
        mention.said
        for mention in mentioned(text, now_ns, origin_ns=delta.origin_ns, zone=zone)
        if not any(meant.meets(each) for meant in mention.meant for each in borne_out)
    )
    return Cited(citations, tuple(dict.fromkeys(doubtful)))
