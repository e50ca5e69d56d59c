"""One line of text for each message of the wire, for people. Pure; unknown kinds are told by their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .terminal import clock

Message = Mapping[str, Any]


def tell(message: Message) -> str:
    """The message as one line: when, where, what."""
    kind = str(message.get("type", "?"))
    detail = DETAILS[kind](message) if kind in DETAILS else kind
    seq = f"{message['seq']:>7} " if "seq" in message else ""
    camera = f"{message['camera']}  " if message.get("camera") else ""
    return f"{seq}{clock(message.get('ts'))}  {camera}{detail}"


def style(message: Message) -> str | None:
    """The rich style of the line: what wants attention stands out."""
    kind = message.get("type")
    if kind == "camera.state":
        return "green" if message.get("state") == "live" else "yellow"
    return {"alert.started": "bold red", "alert.ended": "cyan", "gap": "yellow", "lagged": "dim"}.get(str(kind))


def alert_started(message: Message) -> str:
    text = f" {message['text']}" if message.get("text") else ""
    return f"ALERT {message.get('rule')}{text}  p {share(message.get('p'))}, {milliseconds(message.get('age_ms'))} old"


def alert_ended(message: Message) -> str:
    return f"ended {message.get('rule')}  after {message.get('duration_s', 0):.1f} s"


def camera_state(message: Message) -> str:
    reason = f": {message['reason']}" if message.get("reason") else ""
    return f"{message.get('state')}{reason}"


def answer(message: Message) -> str:
    status = message.get("status")
    text = message.get("text") or ""
    doubtful = message.get("doubtful")
    doubt = f" (not borne out: {', '.join(doubtful)})" if doubtful else ""
    return f"{text}{doubt}" if status == "completed" else f"{text} [{status}]".strip()


def gap(message: Message) -> str:
    start, end = message.get("from"), message.get("to")
    if isinstance(start, int) and isinstance(end, int):
        return f"gap of {(end - start) / 1000:.1f} s: {message.get('reason')}"
    return f"gap: {message.get('reason')}"


def note(message: Message) -> str:
    return f"note: {message.get('text', '')}"


def lagged(message: Message) -> str:
    dropped = message.get("dropped") or {}
    return "this connection lags: " + ", ".join(f"{count} {topic} dropped" for topic, count in dropped.items())


def trace(message: Message) -> str:
    return f"{message.get('rule')} p {share(message.get('p'))}"


def share(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "unknown"


def milliseconds(value: Any) -> str:
    return f"{value:,} ms" if isinstance(value, int) else "unknown"


def bar(p: float, on: float, off: float, width: int = 32) -> str:
    """P as a bar of `width` cells with the thresholds marked: `|` on, `:` off."""
    cells = ["█" if (cell + 0.5) / width <= p else "·" for cell in range(width)]
    for threshold, mark in ((off, ":"), (on, "|")):
        cells[min(width - 1, max(0, int(threshold * width)))] = mark
    return "".join(cells)


DETAILS = {
    "alert.started": alert_started,
    "alert.ended": alert_ended,
    "camera.state": camera_state,
    "answer": answer,
    "answer.done": answer,
    "gap": gap,
    "note": note,
    "lagged": lagged,
    "trace": trace,
}
