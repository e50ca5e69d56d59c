"""`vigild config`: the settings in force, as the TOML that would bring them about."""

from __future__ import annotations

import dataclasses

import typer

from daemon.config import load
from daemon.strict import to_toml

from .terminal import ConfigFile, Json, Setting, Terminal, overrides


def register(app: typer.Typer) -> None:
    @app.command("config")
    def config(*, file: ConfigFile = None, setting: Setting = None, as_json: Json = False) -> None:
        """Print the settings in force: defaults, file, environment and command line laid over each other."""
        settings = load(file, flags=overrides(setting))
        terminal = Terminal(as_json)
        if as_json:
            terminal.item(dataclasses.asdict(settings))
        terminal.say(to_toml(settings).rstrip())
