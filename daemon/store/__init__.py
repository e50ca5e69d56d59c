"""The only shared state of vigild: a real Redis or Valkey, spoken to through `Store`."""

from .changes import Change
from .embedded import Embedded, EmbeddedSettings
from .errors import (
    Exists,
    Fenced,
    LimitReached,
    NotFound,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreRefused,
    StoreReset,
    StoreTooOld,
    StoreUnavailable,
)
from .events import Draft, new_event_id
from .evidence import Evidence
from .leases import Lease
from .link import LinkSettings, redacted
from .reach import reached
from .server import Server
from .store import Store, StoreSettings
from .tokens import Token

__all__ = [
    "Change",
    "Draft",
    "Embedded",
    "EmbeddedSettings",
    "Evidence",
    "Exists",
    "Fenced",
    "Lease",
    "LimitReached",
    "LinkSettings",
    "NotFound",
    "Server",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreRefused",
    "StoreReset",
    "StoreSettings",
    "StoreTooOld",
    "StoreUnavailable",
    "Token",
    "new_event_id",
    "reached",
    "redacted",
]
