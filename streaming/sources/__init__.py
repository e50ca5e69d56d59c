"""
Where pictures come from. One module is one kind of source; a new kind is found by being here.

    source = open_source("rtsp://camera/stream", fps=2.0, limits=Limits())
    for picture in source.frames(): ...

`Capture` does that for ever on a thread of its own, and puts sampled frames into a `Mailbox`.
"""

from __future__ import annotations

from .base import Limits, Picture, Source
from .capture import Capture, CaptureCounters
from .errors import SourceEnded, SourceError, SourceLost, SourceRefused
from .health import Status
from .luma import luma
from .probe import Probed, probe
from .redact import redact
from .registry import kinds, open_source

__all__ = [
    "Capture",
    "CaptureCounters",
    "Limits",
    "Picture",
    "Probed",
    "Source",
    "SourceEnded",
    "SourceError",
    "SourceLost",
    "SourceRefused",
    "Status",
    "kinds",
    "luma",
    "open_source",
    "probe",
    "redact",
]
