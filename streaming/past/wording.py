"""How notes are put before a question: each a line that says when, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from ..types import Note, NoteLine
from .clock import DAY, HOUR, MINUTE, NS, local

HEAD = "Notes that were written about this camera earlier:"


def line_of(note: Note, now_ns: int, zone: tzinfo | None = None) -> NoteLine:
    """The note as `125 s ago, at 14:03:05: A red car parks.`, seen from `now_ns`; with the date on another day."""
    at = local(note.t_ns, zone)
    day = "" if at.date() == local(now_ns, zone).date() else f"on {at:%Y-%m-%d} "
    return NoteLine(note.t_ns, f"{ago(now_ns - note.t_ns)}, {day}at {at:%H:%M:%S}: {note.text}")


def before(question: str, lines: Sequence[NoteLine]) -> str:
    """The question behind these lines; alone where there are none."""
    if not lines:
        return question
    ordered = sorted(lines, key=lambda each: each.t_ns)
    return "\n".join((HEAD, *(f"- {each.line}" for each in ordered), "", question))


def ago(age_ns: int) -> str:
    """A length of time in the largest unit of which there are two."""
    seconds = max(0, age_ns) // NS
    for unit, size in (("days", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
