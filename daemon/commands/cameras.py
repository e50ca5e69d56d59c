"""`vigild cameras`: list, add, show and remove cameras."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from clients.messages import CameraSpec, Zone

from .link import Token, Url, talk
from .rules import CORNERS, polygon
from .terminal import Json, Terminal, ago

app = typer.Typer(help="The cameras.", pretty_exceptions_enable=False)

Masks = Annotated[
    list[str] | None,
    typer.Option("--mask", metavar=CORNERS, help="A part that is painted over before anything sees it; repeatable."),
]
Zones = Annotated[
    list[str] | None,
    typer.Option("--zone", metavar=CORNERS, help="A part outside of which changes do not matter; repeatable."),
]
NeverDrop = Annotated[
    list[str] | None,
    typer.Option("--never-drop", metavar=CORNERS, help="A part that is kept of every frame; repeatable."),
]


@app.callback(invoke_without_command=True)
def cameras(ctx: typer.Context, *, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the cameras, or add, show and remove one."""
    if ctx.invoked_subcommand is None:
        list_cameras(url=url, token=token, as_json=as_json)


@app.command("list")
def list_cameras(*, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the cameras with their state."""
    found = [view.as_message() for view in talk(url, token, lambda vigil: vigil.cameras())]
    terminal = Terminal(as_json)
    if as_json:
        for camera in found:
            terminal.item(camera)
    elif not found:
        terminal.say("no cameras yet; add one with: vigild cameras add ID SOURCE")
    now_ms = time.time_ns() // 1_000_000
    columns = ("camera", "state", "source", "fps", "kept", "p95", "last frame")
    terminal.rows("cameras", columns, [row(camera, now_ms) for camera in found])


@app.command("add")
def add(
    camera: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits, '_', '-', '.'")],
    source: Annotated[str, typer.Argument(help="rtsp://… http://… file:clip.mp4 v4l2:/dev/video0 synthetic:yard")],
    *,
    fps: Annotated[float, typer.Option(help="Frames sampled a second.")] = 2.0,
    model: Annotated[str | None, typer.Option(help="Which model, where workers serve different ones.")] = None,
    mask: Masks = None,
    zone: Zones = None,
    never_drop: NeverDrop = None,
    notes: Annotated[bool, typer.Option("--notes", help="Write down in a sentence what changes.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Add a camera; it is watched from now on, for ever."""
    spec = CameraSpec(
        id=camera,
        source=source,
        fps=fps,
        model=model,
        masks=polygons(mask, "--mask"),
        zones=polygons(zone, "--zone"),
        never_drop=polygons(never_drop, "--never-drop"),
        notes=notes,
    )
    added = talk(url, token, lambda vigil: vigil.add_camera(spec))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(added.as_message())
    terminal.say(f"added {camera}; follow it with: vigild events --follow --camera {camera}")


@app.command("show")
def show(
    camera: Annotated[str, typer.Argument(metavar="ID")],
    *,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show everything known about a camera."""
    found = talk(url, token, lambda vigil: vigil.camera(camera)).as_message()
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(found)
    counters = found.pop("counters", {})
    rows = [(name, value) for name, value in (found | counters).items() if value not in (None, (), [], "")]
    terminal.rows(camera, ("", ""), rows)


@app.command("remove")
def remove(
    camera: Annotated[str, typer.Argument(metavar="ID")],
    *,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Remove a camera with its rules; its events stay."""
    removed = talk(url, token, lambda vigil: vigil.remove_camera(camera))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(removed.as_message())
    terminal.say(f"removed {camera}")


def polygons(texts: list[str] | None, option: str) -> tuple[Zone, ...]:
    return tuple(polygon(text, option) for text in texts or ())


def row(camera: Mapping[str, Any], now_ms: int) -> list[Any]:
    """The cells of one camera in the table."""
    counters = camera.get("counters") or {}
    kept = f"{100 * (1 - counters['drop_ratio']):.0f} %" if "drop_ratio" in counters else None
    p95 = f"{counters['p95_ms']:.0f} ms" if counters.get("p95_ms") is not None else None
    fps = f"{counters.get('fps_seen', 0):g} of {camera.get('fps', 0):g}"
    reason = f": {camera['reason']}" if camera.get("reason") else ""
    state = f"{camera.get('state')}{reason}"
    return [camera["id"], state, camera.get("source"), fps, kept, p95, ago(camera.get("last_frame_ts"), now_ms)]
