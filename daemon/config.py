"""
Every setting of vigild: one TOML file, frozen dataclasses, defaults here and explained in configs/default.toml.

Order, the later wins: the defaults, the file, the environment (VIGILD_SECTION__KEY), the command line. An empty string
means "choose for me" and each setting says what is chosen. Importing this module imports no torch and no decoder.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs

from .strict import Between, ConfigError, Layer, build, environ_layer, flag_layer, to_toml, toml_layer

FILE_VARIABLE: Final = "VIGILD_CONFIG"
RESOLVED_VARIABLE: Final = "VIGILD_RESOLVED"

Positive = Between(1)
Seconds = Annotated[float, Between(0.001, 86_400)]
Share = Annotated[float, Between(0, 1)]


@dataclass(frozen=True, slots=True)
class Data:
    """Where the daemon keeps what must survive it."""

    dir: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """The Redis side: where it is and how much history it keeps."""

    redis_url: str = ""
    max_memory_mb: Annotated[int, Between(16)] = 512
    fsync: Literal["always", "everysec"] = "always"
    max_events: Annotated[int, Positive] = 500_000
    max_event_age_s: Annotated[float, Positive] = 30 * 86_400.0
    max_evidence_mb: Annotated[int, Positive] = 2048
    max_evidence_age_s: Annotated[float, Positive] = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The one port for clients."""

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65_535)] = 8787
    require_token: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_cameras: Annotated[int, Positive] = 256
    max_rules: Annotated[int, Positive] = 4096
    max_clients: Annotated[int, Positive] = 1000
    messages_per_s: Annotated[float, Positive] = 200.0
    message_burst: Annotated[int, Positive] = 1000


@dataclass(frozen=True, slots=True)
class Worker:
    """The processes that own cameras."""

    devices: tuple[str, ...] = ("auto",)
    lease_ttl_s: Annotated[float, Between(1, 600)] = 6.0
    outbox_events: Annotated[int, Positive] = 10_000
    headroom: Annotated[float, Between(0.1, 1)] = 0.9
    min_share: Share = 0.5


@dataclass(frozen=True, slots=True)
class Model:
    """Which vision-language model watches."""

    name: str = "pocket"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True, slots=True)
class Engine:
    """What one engine may hold, and how it sees."""

    max_cameras: Annotated[int, Positive] = 16
    max_asks: Annotated[int, Positive] = 4
    frames_per_step: Annotated[int, Positive] = 16
    step_ms: Annotated[float, Between(1)] = 250.0
    max_pixels: Annotated[int, Between(32 * 32)] = 448 * 448
    pairing: Literal["repeat", "pair"] = "repeat"
    low_watermark: Annotated[float, Between(0.1, 1)] = 0.9
    memory_mb: Annotated[int, Between(0)] = 0
    archive_mb: Annotated[int, Between(0)] = 0
    recall_tokens: Annotated[int, Between(0)] = 256
    canvas_mb: Annotated[int, Between(0)] = 0
    canvas_ring: Annotated[int, Between(0)] = 2
    canvas_refresh: Annotated[float, Between(0)] = 1.0
    threads: Annotated[int, Between(0)] = 0


@dataclass(frozen=True, slots=True)
class Camera:
    """What every camera's memory is opened with, and when its picture counts as blind, lagging or interrupted."""

    budget_tokens: Annotated[int, Between(64)] = 2048
    drop: str = "pixel+dtdr"
    drop_threshold: Share = 0.5
    drop_noise: Annotated[float, Between(0)] = 2.5
    drop_floor: Annotated[int, Between(0)] = 4
    drop_cap: Share = 0.5
    drop_key_s: Annotated[float, Between(0)] = 30.0
    budget_mb: Annotated[int, Between(0)] = 0
    policy: str = "salience"
    whole_s: Annotated[float, Between(0, 3600)] = 6.0
    blind_std: Annotated[float, Between(0, 128)] = 2.0
    blind_s: Seconds = 3.0
    lag_window_s: Seconds = 10.0
    lag_on: Share = 0.3
    lag_off: Share = 0.1
    gap_s: Seconds = 5.0

    def __post_init__(self) -> None:
        if self.lag_off >= self.lag_on:
            raise ValueError(f"lag_off ({self.lag_off:g}) must be below lag_on ({self.lag_on:g})")
        for name, package, given in (
            ("drop", "streaming.drop", self.drop.split("+")),
            ("policy", "memory.policies", [self.policy]),
        ):
            for kind in given:
                if kind not in (known := kinds(package)):
                    raise ValueError(f"{name} is {kind!r}; there are {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Rules:
    """When standing questions are evaluated: on a change of the picture, and at least every recheck_s."""

    recheck_s: Seconds = 10.0
    change_z: Annotated[float, Between(0)] = 3.0
    change_rho: Share = 0.15


@dataclass(frozen=True, slots=True)
class Notes:
    """How often a camera that wants notes is described in a sentence, and what of it a question is given to read."""

    min_s: Seconds = 15.0
    max_s: Annotated[float, Between(0, 86_400)] = 300.0
    max_tokens: Annotated[int, Between(4, 512)] = 48
    recall: Annotated[int, Between(0, 64)] = 8
    recall_tokens: Annotated[int, Between(0)] = 256

    def __post_init__(self) -> None:
        if self.max_s and self.max_s < self.min_s:
            raise ValueError(f"max_s ({self.max_s:g}) must not be below min_s ({self.min_s:g}); 0 is never")


@dataclass(frozen=True, slots=True)
class Media:
    """The one folder that `file:` sources may read."""

    dir: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a source is let in, and how long it is waited for; the same names as in streaming.sources.base."""

    open_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 10.0
    stale_s: Seconds = 5.0
    max_pixels: Annotated[int, Positive] = 7680 * 4320
    convert_max_pixels: Annotated[int, Positive] = 1920 * 1080
    max_input_fps: Annotated[float, Positive] = 125.0
    max_lag_s: Seconds = 2.0
    max_decode_errors: Annotated[int, Positive] = 100
    retry_first_s: Seconds = 0.5
    retry_max_s: Seconds = 30.0
    retry_failed_s: Annotated[float, Between(0.001, 60)] = 60.0

    def __post_init__(self) -> None:
        if self.retry_first_s > self.retry_max_s:
            raise ValueError(
                f"retry_first_s ({self.retry_first_s:g}) must not be above retry_max_s ({self.retry_max_s:g})"
            )


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """All sections. `data_dir` and `media_dir` resolve what may be left empty."""

    data: Data = field(default_factory=Data)
    store: Store = field(default_factory=Store)
    gateway: Gateway = field(default_factory=Gateway)
    worker: Worker = field(default_factory=Worker)
    model: Model = field(default_factory=Model)
    engine: Engine = field(default_factory=Engine)
    camera: Camera = field(default_factory=Camera)
    rules: Rules = field(default_factory=Rules)
    notes: Notes = field(default_factory=Notes)
    media: Media = field(default_factory=Media)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)

    @property
    def data_dir(self) -> Path:
        """data.dir, or the user's data folder for vigild."""
        return absolute(self.data.dir) if self.data.dir else platformdirs.user_data_path("vigild")

    @property
    def media_dir(self) -> Path:
        """media.dir, or `media` in the data directory."""
        return absolute(self.media.dir) if self.media.dir else self.data_dir / "media"

    @property
    def url(self) -> str:
        """Where clients on this machine find the gateway."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.gateway.host, self.gateway.host)  # noqa: S104
        return f"ws://{bracketed(host)}:{self.gateway.port}"


def load(
    file: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """
    The settings in force: defaults, `file`, `environ`, `flags` ({"section.key": value}), the later ones winning.

    file: a path, the name of a shipped one ("demo", "edge", "gpu"), or None for what VIGILD_CONFIG names, if anything.
    environ: os.environ when None; {} reads no environment at all.
    Raises: ConfigError: names the key path and the file with its line, the variable or the flag.
    """
    environ = os.environ if environ is None else environ
    file = file or environ.get(FILE_VARIABLE) or None
    layers: list[Layer] = []
    if file is not None:
        path = find(file)
        layers.append(toml_layer(read(path), str(path)))
    layers += [environ_layer(environ), flag_layer(flags or {})]
    return build(Config, layers)


def for_children(config: Config) -> dict[str, str]:
    """The settings in force as environment of a child process; not argv or a file, as redis_url may hold a password."""
    return {RESOLVED_VARIABLE: to_toml(config)}


def from_parent(environ: Mapping[str, str] | None = None) -> Config:
    """
    The settings that the parent resolved, whatever else the environment says.

    Raises: ConfigError: there is no such parent.
    """
    text = (os.environ if environ is None else environ).get(RESOLVED_VARIABLE)
    if text is None:
        raise ConfigError(f"{RESOLVED_VARIABLE} is not set: this command is started by `vigild serve`, not by hand")
    return build(Config, [toml_layer(text, RESOLVED_VARIABLE)])


def find(file: Path | str) -> Path:
    """The file itself, or the shipped one of that name. Raises ConfigError, naming the shipped ones."""
    path = Path(file).expanduser()
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if (named := shipped() / f"{path.name}.toml").is_file():
        return named
    names = ", ".join(sorted(each.stem for each in shipped().glob("*.toml")))
    raise ConfigError(f"there is no file '{file}', and the shipped ones are {names}")


def shipped() -> Path:
    """The folder of shipped configurations: inside the package when installed, beside it in a checkout."""
    package = Path(str(resources.files("daemon")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def kinds(package: str) -> list[str]:
    """The kinds that a folder of modules offers, by file name: nothing of it is imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    found = (module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
