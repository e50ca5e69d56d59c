"""`vigild bench SUITE`: run benchmarks, each in the one form of daemon/bench/form.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.bench import form

from .terminal import CommandError, Exit, Json, Terminal


def register(app: typer.Typer) -> None:
    @app.command("bench")
    def bench(
        suite: Annotated[
            str | None, typer.Argument(help="A suite, or 'all'; without one the suites are listed.")
        ] = None,
        *,
        seed: Annotated[int, typer.Option(help="Every random choice follows from it.")] = 0,
        device: Annotated[str, typer.Option(help="cpu, cuda:0, … or auto.")] = "auto",
        model: Annotated[str, typer.Option(help="A hub id or folder of a checkpoint.")] = "tiny-random",
        short: Annotated[bool, typer.Option("--short", help="The quick form; same figures, less certain.")] = False,
        clips: Annotated[Path | None, typer.Option(help="A folder of clips with events.json.")] = None,
        as_json: Json = False,
    ) -> None:
        """Measure this machine. With --json the last line is one object with stable figure names."""
        if suite is None:
            list_suites(Terminal(as_json))
            return
        chosen = form.names() if suite == "all" else [suite]
        options = form.Options(seed=seed, device=device, model=model, short=short, clips=clips)
        for name in chosen:
            run(name, options, as_json=as_json)


def list_suites(terminal: Terminal) -> None:
    found = form.suites()
    for name, summary in found.items():
        if terminal.json:
            terminal.item({"suite": name, "summary": summary})
    terminal.rows("suites", ("suite", "what it measures"), list(found.items()))


def run(name: str, options: form.Options, *, as_json: bool) -> None:
    """Run one suite: its progress on stderr, its table on stdout, its object on the last line."""
    try:
        suite = form.load(name)
    except KeyError:
        known = ", ".join(form.names())
        raise CommandError(f"there is no suite '{name}'; there are {known}", Exit.USAGE, code="usage") from None
    progress = Console(stderr=True)
    with progress.status(f"{name}: starting") as status:
        report = suite.run(options, lambda text: status.update(f"{name}: {text}"))
    form.show(Console(), name, report)
    if as_json:
        Terminal(json=True).item(form.as_map(name, report))
