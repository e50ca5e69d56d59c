"""`vigild bench SUITE`: run benchmarks, each in the one form of daemon/bench/form.py."""

from __future__ import annotations

import sys
from dataclasses import replace
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
        model: Annotated[
            str | None, typer.Option(help="A hub id or folder of a checkpoint; each suite has its own if not said.")
        ] = None,
        short: Annotated[bool, typer.Option("--short", help="The quick form; same figures, less certain.")] = False,
        clips: Annotated[Path | None, typer.Option(help="A folder of clips with events.json.")] = None,
        data: Annotated[Path | None, typer.Option(help="A published benchmark's annotations and videos.")] = None,
        fps: Annotated[float | None, typer.Option(help="Pictures a second of its videos; 2 if not said.")] = None,
        drop: Annotated[
            list[str] | None, typer.Option(help="A drop rule for it, or several by repeating it, to compare them.")
        ] = None,
        policy: Annotated[str | None, typer.Option(help="A memory policy for it.")] = None,
        budget: Annotated[int | None, typer.Option(help="Tokens of memory for it.")] = None,
        skip_missing: Annotated[
            bool, typer.Option("--skip-missing", help="Leave out questions whose video is not there.")
        ] = False,
        groups: Annotated[
            str, typer.Option(help="Of accuracy: static, busy, noisy, exposure, drift; some, by commas.")
        ] = "",
        scenes: Annotated[int, typer.Option(help="Of accuracy: scenes of each group; 0 is its own choice.")] = 0,
        minutes: Annotated[float, typer.Option(help="Of accuracy: length of a scene; 0 is its own choice.")] = 0.0,
        size: Annotated[str, typer.Option(help="Of accuracy: of the pictures, as 448x336.")] = "",
        settings: Annotated[
            str, typer.Option(help="Of accuracy: full, last4, paper[@0.25], default[@0.7], blind; some, by commas.")
        ] = "",
        setting: Annotated[
            list[str] | None, typer.Option(help="Of accuracy: one more, as drop:policy:budget; may be repeated.")
        ] = None,
        plot: Annotated[Path | None, typer.Option(help="Of accuracy: write the trade-off as SVG to this file.")] = None,
        as_json: Json = False,
    ) -> None:
        """Measure this machine. With --json the last line is one object with stable figure names."""
        if suite is None:
            list_suites(Terminal(as_json))
            return
        options = form.Options(
            seed=seed,
            device=device,
            short=short,
            clips=clips,
            data=data,
            fps=fps,
            drops=tuple(drop or ()),
            policy=policy,
            budget_tokens=budget,
            skip_missing=skip_missing,
            groups=_split(groups),
            scenes=scenes,
            minutes=minutes,
            size=_size(size),
            settings=_split(settings),
            more_settings=tuple(setting or ()),
            plot=plot,
        )
        for name in everything() if suite == "all" else [suite]:
            run(name, options, model=model, as_json=as_json)


def everything() -> list[str]:
    """Every suite that needs nothing brought along; says on stderr which do."""
    named = [name for name in form.names() if form.needs_data(form.load(name))]
    for name in named:
        sys.stderr.write(f"{name}: skipped, it needs its own data; run it by name with --data\n")
    return [name for name in form.names() if name not in named]


def list_suites(terminal: Terminal) -> None:
    found = form.suites()
    for name, summary in found.items():
        if terminal.json:
            terminal.item({"suite": name, "summary": summary})
    terminal.rows("suites", ("suite", "what it measures"), list(found.items()))


def run(name: str, options: form.Options, *, model: str | None, as_json: bool) -> None:
    """Run one suite, on its own model if none is named: progress on stderr, its table and last line on stdout."""
    try:
        suite = form.load(name)
    except KeyError:
        known = ", ".join(form.names())
        raise CommandError(f"there is no suite '{name}'; there are {known}", Exit.USAGE, code="usage") from None
    progress = Console(stderr=True)
    with progress.status(f"{name}: starting") as status:
        chosen = replace(options, model=model or form.own_model(suite))
        report = suite.run(chosen, lambda text: status.update(f"{name}: {text}"))
    form.show(Console(), name, report)
    if as_json:
        Terminal(json=True).item(form.as_map(name, report))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _size(text: str) -> tuple[int, int] | None:
    """Width and height. Raises: CommandError: neither nothing nor two numbers with an x between."""
    if not text:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise CommandError(f"--size: '{text}' is not of the form WIDTHxHEIGHT, as in 448x336", Exit.USAGE, code="usage")
    return int(width), int(height)
