"""The function library that every write goes through: its text, and the names its functions have on the server."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

_TEXT: Final = resources.files(__package__).joinpath("functions.lua").read_text(encoding="utf-8")
_DIGEST: Final = hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest()[:8]

NAME: Final = f"vigil_{_DIGEST}"
LIBRARY: Final = _TEXT.replace("@", _DIGEST)


def on_server(function: str) -> str:
    """The name of `function` on a server that holds this release's library."""
    return f"{NAME}_{function}"
