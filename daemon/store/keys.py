"""
The keyspace: every key of vigild begins with ROOT, whose hash tag keeps them in one cluster slot.

Only functions.lua derives keys from it; the names that Python reads directly stand here too.

    seq                 newest event                     events              the durable stream, ids "seq-0"
    change              newest change                    changes             what happened to specs and asks, capped
    cameras, rules      hash id -> specification         rules:<camera>      set of rule ids
    epochs              hash camera -> fencing epoch     lease:<camera>      owner, expires
    states, counters    hash camera -> latest            alerts:<camera>     hash alert -> open alert
    asks:<camera>       hash ask -> question             ask_camera          hash ask -> camera (index)
    cancelled           hash ask -> "1"                  workers, tokens     hash id -> map
    notes:<camera>      list of the seqs of its notes, capped
    once:<request>      reply of a request, expires      lossy               pub/sub channel
"""

from __future__ import annotations

from typing import Final

ROOT: Final = "vigil:1:{v}:"
EVENTS: Final = ROOT + "events"
SEQ: Final = ROOT + "seq"
CHANGES: Final = ROOT + "changes"
CHANGE: Final = ROOT + "change"
CAMERAS: Final = ROOT + "cameras"
RULES: Final = ROOT + "rules"
STATES: Final = ROOT + "states"
TOKENS: Final = ROOT + "tokens"
CANCELLED: Final = ROOT + "cancelled"
LOSSY: Final = ROOT + "lossy"


def alerts_of(camera: str) -> str:
    return f"{ROOT}alerts:{camera}"


def asks_of(camera: str) -> str:
    return f"{ROOT}asks:{camera}"


def lease_of(camera: str) -> str:
    return f"{ROOT}lease:{camera}"


def rules_of(camera: str) -> str:
    return f"{ROOT}rules:{camera}"
