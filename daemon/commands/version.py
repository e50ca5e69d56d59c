"""`vigild version`: which vigild this is."""

from __future__ import annotations

import importlib.metadata
import platform

import typer

from .terminal import Json, Terminal


def register(app: typer.Typer) -> None:
    @app.command("version")
    def version(*, as_json: Json = False) -> None:
        """Print the version."""
        print_version(as_json=as_json)


def print_version(*, as_json: bool) -> None:
    terminal = Terminal(as_json)
    number = importlib.metadata.version("vigild")
    if as_json:
        terminal.item({"version": number, "protocol": 1, "python": platform.python_version()})
    terminal.say(f"vigild {number}, protocol 1, Python {platform.python_version()}")
