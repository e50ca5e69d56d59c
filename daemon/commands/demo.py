"""`vigild demo`: the daemon on a synthetic camera; see daemon/demo.py."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.demo import run

from .terminal import Json, Terminal


def register(app: typer.Typer) -> None:
    @app.command("demo")
    def demo(
        *,
        stay: Annotated[bool, typer.Option("--stay", help="Go on after the show until Ctrl-C.")] = False,
        seconds: Annotated[float, typer.Option(help="What the show may take.", min=10)] = 60.0,
        model: Annotated[str, typer.Option(help="A hub id or folder of a checkpoint.")] = "pocket",
        port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
        as_json: Json = False,
    ) -> None:
        """Show vigild: start it on a synthetic camera, raise alerts, answer a question, end."""
        run(Terminal(as_json), seconds=seconds, stay=stay, model=model, port=port)
