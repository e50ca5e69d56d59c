"""A connection to the daemon for one command: where it is, and its failures as sentences with an exit status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from clients.errors import Busy, Forbidden, Unauthorized, WireError
from clients.sdk import Unreachable, Vigil, connect

from ..config import load
from .terminal import CommandError, Exit

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="VIGILD_URL", help="The daemon; otherwise the address in the configuration."),
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="VIGILD_TOKEN", help="Better given as the variable, which ps does not show.")
]
