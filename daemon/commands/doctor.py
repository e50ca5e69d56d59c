"""`vigild doctor`: one line a check, ok or why not and what to do; exit status 1 if something required fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from daemon import doctor as examination
from daemon.config import load

from .progress import Bars
from .terminal import ConfigFile, Exit, Json, Setting, Terminal, overrides


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    def doctor(
        source: Annotated[str | None, typer.Argument(help="A camera address to open as well.")] = None,
        *,
        file: ConfigFile = None,
        data_dir: Annotated[Path | None, typer.Option("--data-dir", help="data.dir")] = None,
        model: Annotated[str | None, typer.Option(help="model.name")] = None,
        setting: Setting = None,
        as_json: Json = False,
    ) -> None:
        """Look whether this machine can run vigild, and whether a camera can be opened."""
        flags = overrides(setting)
        flags |= {"data.dir": str(data_dir)} if data_dir else {}
        flags |= {"model.name": model} if model else {}
        terminal = Terminal(as_json)
        healthy = True
        with Bars() as bars:

            def progress(what: str, share: float) -> None:
                if bars.console.is_terminal:
                    bars.tell("model", what, share)

            for check in examination.checks(load(file, flags=flags), url=source, progress=progress):
                bars.begin(check.name)
                finding = check.run()
                bars.end(check.name)
                show(terminal, finding)
                healthy = healthy and (finding.ok or not finding.required)
        if not healthy:
            raise typer.Exit(Exit.FAILED)


def show(terminal: Terminal, finding: examination.Finding) -> None:
    if terminal.json:
        terminal.item(dataclasses.asdict(finding))
        return
    mark = "[green]ok [/]" if finding.ok else "[red]no [/]" if finding.required else "[yellow]no [/]"
    line = f"{mark} [bold]{finding.name:<12}[/] {escape(finding.detail)}"
    terminal.console.print(line, highlight=False, soft_wrap=True)
    if finding.advice:
        terminal.console.print(f"                 → {escape(finding.advice)}", highlight=False, soft_wrap=True)
