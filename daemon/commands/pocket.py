"""`vigild pocket`: the pocket world as a video with its truth, and the training of the model that knows it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .terminal import CommandError, Exit, Json, Terminal

app = typer.Typer(no_args_is_help=True, help="The pocket world: render its scenes, train the model that ships.")


@app.command("render")
def render(
    file: Annotated[Path, typer.Argument(help="A video file to write, as yard.mp4 or yard.mkv.")],
    *,
    scene: Annotated[str, typer.Option(help="pocket, or another synthetic scene: yard, static, noise, …")] = "pocket",
    seed: Annotated[int, typer.Option(help="Another course of events for every seed.", min=0)] = 0,
    seconds: Annotated[float, typer.Option(help="Length of the video.", min=0.1)] = 60.0,
    pace: Annotated[str, typer.Option(help="How much happens: still, normal, busy.")] = "normal",
    lens: Annotated[str | None, typer.Option(help="Another camera: clean, noisy, exposure, drift.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "448x336",
    fps: Annotated[float, typer.Option(help="Pictures a second.", min=0.1, max=125)] = 10.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="Left is right.")] = False,
    truth: Annotated[Path | None, typer.Option(help="A file for what each picture shows, as JSON lines.")] = None,
    as_json: Json = False,
) -> None:
    """
    Write a scene as a video (H.264) and, with --truth, one JSON object for every picture of it.

    Each has t_s, the sightings, door_open, lamp_on, and the events since the picture before.
    """
    from av import FFmpegError  # noqa: PLC0415  no decoder unless it is wanted

    from streaming.pocket.lens import LENSES  # noqa: PLC0415
    from streaming.sources import SourceError  # noqa: PLC0415
    from streaming.sources.synthetic import Scene, read_size, render_file  # noqa: PLC0415

    if lens is not None and lens not in LENSES:
        raise CommandError(f"no lens {lens!r}; there are {', '.join(LENSES)}", Exit.USAGE, code="usage")
    try:
        width, height = read_size(size)
        taken = None if lens is None else LENSES[lens]
        drawn = Scene(scene, width, height, seed=seed, pace=pace, lens=taken, mirror=mirror)
    except (ValueError, SourceError) as error:
        raise CommandError(str(error), Exit.USAGE, code="usage") from None
    if width % 2 or height % 2:
        raise CommandError(f"--size {size}: H.264 wants an even width and height", Exit.USAGE, code="usage")
    coming = deque(drawn.events(0.0, seconds))
    try:
        with _bar(str(file)) as tell, _lines(truth) as write:

            def told(t_s: float) -> None:
                tell(t_s / seconds, "")
                events = []
                while coming and coming[0].t_s <= t_s:
                    events.append(dataclasses.asdict(coming.popleft()))
                write({**dataclasses.asdict(drawn.truth(t_s)), "events": events})

            render_file(file, drawn, seconds=seconds, fps=fps, told=told)
    except (OSError, FFmpegError, ValueError) as error:  # ValueError: no such container
        where = getattr(error, "filename", None) or file
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"cannot write {where}: {str(reason).lower()}") from error
    frames = round(seconds * fps)
    terminal = Terminal(as_json)
    if as_json:
        terminal.item({"file": str(file), "truth": truth and str(truth), "frames": frames, "fps": fps})
    terminal.say(f"{file}: {frames} pictures of {width}x{height}" + (f", their truth in {truth}" if truth else ""))


@app.command("train")
def train(
    out: Annotated[Path, typer.Argument(help="A folder for checkpoints, log and plots; one that exists is resumed.")],
    *,
    minutes: Annotated[float, typer.Option(help="How long to train, over all stretches.", min=0.1)] = 240.0,
    stretch: Annotated[float | None, typer.Option(help="Stop for now after so many minutes.", min=0.1)] = None,
    start: Annotated[Path | None, typer.Option(help="Begin with the weights of this checkpoint folder.")] = None,
    device: Annotated[str, typer.Option(help="As torch names it: cpu, cuda, cuda:1.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads: cores that nothing else uses.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Every random choice follows from it.", min=0)] = 0,
    smoke: Annotated[bool, typer.Option("--smoke", help="A tiny run that proves the path.")] = False,
    as_json: Json = False,
) -> None:
    """Train the pocket model, on a CPU within a night or on a GPU within half an hour; run it again to resume."""
    from streaming.pocket.training import train as training  # noqa: PLC0415  torch: only here
    from streaming.pocket.training import use_threads  # noqa: PLC0415

    use_threads(threads)
    try:
        with _bar("training") as tell:
            written = training(
                out,
                minutes=minutes,
                seed=seed,
                smoke=smoke,
                device=device,
                stretch_minutes=stretch or float("inf"),
                start=start,
                tell=tell,
            )
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or out}: {str(error.strerror or error).lower()}") from error
    except RuntimeError as error:  # what torch raises for a device that is not there
        raise CommandError(f"cannot train on {device}: {str(error).splitlines()[0]}") from error
    terminal = Terminal(as_json)
    if as_json:
        terminal.item({"folder": str(written)})
    terminal.say(f"the model is in {written}; try it: vigild demo --model {written}")


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr; yields what to call with the share done (0 to 1) and a phrase."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[phrase]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=1.0, phrase="")
        yield lambda share, phrase: progress.update(task, completed=share, phrase=phrase)


@contextlib.contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields what writes one object as a line of the file; of no file, what does nothing."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", encoding="utf-8") as file:
        yield lambda item: print(json.dumps(item, ensure_ascii=False), file=file)
