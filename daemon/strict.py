"""
Settings from several places, read strictly into frozen dataclasses.

A schema is a dataclass of sections, each a flat dataclass of settings with defaults. Layers (a TOML file, the
environment, flags) are laid over each other, the last one wins. Whatever the schema does not know, or of another type
than it says, raises ConfigError: which key, where it stands (file and line, variable, flag), what was probably meant.

    build(Config, [toml_layer(text, "vigild.toml"), environ_layer(os.environ), flag_layer({"gateway.port": 9000})])
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from .errors import EXIT_CONFIGURATION, DaemonError

ENV_PREFIX: Final = "VIGILD_"


class ConfigError(DaemonError):
    """A setting is unknown, of a wrong type or out of bounds; the sentence names the key and where it stands."""

    exit_status = EXIT_CONFIGURATION


T = TypeVar("T")
Key = tuple[str, str]  # (section, setting)


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, both inclusive: `port: Annotated[int, Between(0, 65535)]`."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as one layer gives it. text: it is still a string to be read by the setting's type."""

    value: Any
    where: str
    text: bool = False


Layer = Mapping[Key, Given]


# layers


def toml_layer(text: str, name: str) -> Layer:
    """
    The settings of a TOML text; `name` is how errors call the file.

    Raises: ConfigError: not TOML, or something that is no `[section]` with keys.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    lines = lines_of(text)
    layer: dict[Key, Given] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            where = place(name, lines.get((section, "")))
            raise ConfigError(f"{where}: '{section}' stands outside any [section]")
        if not table:
            layer[section, ""] = Given(None, place(name, lines.get((section, ""))))
        for setting, value in table.items():
            line = lines.get((section, setting), lines.get((section, "")))
            layer[section, setting] = Given(value, place(name, line))
    return layer


def environ_layer(environ: Mapping[str, str], prefix: str = ENV_PREFIX) -> Layer:
    """The settings in variables of the form VIGILD_SECTION__KEY; other variables are none of ours."""
    layer: dict[Key, Given] = {}
    for variable, value in environ.items():
        section, separator, setting = variable.removeprefix(prefix).partition("__")
        if variable.startswith(prefix) and separator:
            layer[section.lower(), setting.lower()] = Given(value, variable, text=True)
    return layer


def flag_layer(settings: Mapping[str, Any], where: str = "command line") -> Layer:
    """
    The settings given as {"section.key": value}; strings are read by the setting's type.

    Raises: ConfigError: a name without a dot.
    """
    layer: dict[Key, Given] = {}
    for name, value in settings.items():
        section, dot, setting = name.partition(".")
        if not dot:
            raise ConfigError(f"{where}: '{name}' is no setting; write section.key=value")
        layer[section, setting] = Given(value, where, text=isinstance(value, str))
    return layer


# build


def build(schema: type[T], layers: Sequence[Layer]) -> T:
    """
    The settings of all layers, the later ones over the earlier, over the defaults of the schema.

    Raises: ConfigError, naming the key path and where it stands.
    """
    sections = {field.name: section_type(schema, field.name) for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    given: dict[Key, Given] = {}
    for layer in layers:
        given |= layer
    values: dict[str, dict[str, Any]] = {}
    for (section, setting), each in given.items():
        if section not in sections:
            raise ConfigError(f"{each.where}: there is no section [{section}]{did_you_mean(section, sections)}")
        if not setting:
            continue
        known = typing.get_type_hints(sections[section], include_extras=True)
        if setting not in known:
            raise ConfigError(
                f"{each.where}: there is no setting {section}.{setting}{meant(setting, section, sections)}"
            )
        values.setdefault(section, {})[setting] = convert(known[setting], each, f"{section}.{setting}")
    built = {}
    for name, kind in sections.items():
        try:
            built[name] = kind(**values.get(name, {}))
        except ValueError as error:  # a section's own check over several of its settings
            wheres = {given[name, setting].where for setting in values.get(name, {})}
            raise ConfigError(f"{', '.join(sorted(wheres))}: [{name}] {error}") from None
    return schema(**built)


def convert(kind: Any, given: Given, path: str) -> Any:
    """
    The value of one setting in the type the schema says.

    bool, int, float (a whole number will do), str, Literal of strings, and tuple[str, ...] are known; bounds come as
    Annotated[…, Between]. Raises: ConfigError.
    """
    bounds = None
    if typing.get_origin(kind) is Annotated:
        kind, bounds = typing.get_args(kind)
    value = read_text(kind, given.value) if given.text else given.value

    def refuse(wanted: str) -> ConfigError:
        return ConfigError(f"{given.where}: {path} must be {wanted}; got {shown(given.value)}")

    if kind is bool:
        if not isinstance(value, bool):
            raise refuse("true or false")
    elif kind in {int, float}:
        if isinstance(value, int) and not isinstance(value, bool) and kind is float:
            value = float(value)
        wanted = ("a whole number" if kind is int else "a number") + (f" {bounds}" if bounds else "")
        if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
            raise refuse(wanted)
        if bounds and not bounds.low <= value <= bounds.high:
            raise refuse(wanted)
    elif kind is str:
        if not isinstance(value, str):
            raise refuse("a string")
    elif typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ConfigError(f"{refuse('one of ' + ', '.join(choices))}{hint}")
    elif typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise refuse("a list of strings")
        value = tuple(value)
    else:
        raise AssertionError(f"{path} has the type {kind}, which no setting may have")
    return value


def read_text(kind: Any, text: str) -> Any:
    """A string from the environment or a flag as a value of `kind`, or the string itself when it is none."""
    if kind is str or typing.get_origin(kind) is Literal:
        return text
    if typing.get_origin(kind) is tuple and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# write


def to_toml(settings: Any) -> str:
    """The settings as a TOML text that `build` reads back to the same."""
    out: list[str] = []
    for section in dataclasses.fields(settings):
        values = getattr(settings, section.name)
        out += [f"[{section.name}]"]
        out += [f"{field.name} = {toml_value(getattr(values, field.name))}" for field in dataclasses.fields(values)]
        out += [""]
    return "\n".join(out)


def toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    escaped = "".join(
        {"\\": "\\\\", '"': '\\"'}.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in str(value)
    )
    return f'"{escaped}"'


# where things stand, and what was meant


def lines_of(text: str) -> dict[Key, int]:
    """
    The line (from 1) of each `[section]` header, as (section, ""), and of each key under it.

    A scan for the message's sake, not a parser: what stands in a multi-line string may be taken for a key, but the
    first line found for a key wins, and only keys that really exist are looked up.
    """
    lines: dict[Key, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            section = header[1]
            lines.setdefault((section, ""), number)
        elif key := re.match(r"""\s*["']?([\w-]+)["']?\s*(?:\.\s*["']?([\w-]+)["']?\s*)?=""", line):
            if key[2] and not section:  # section.key = value at the top of the file
                lines.setdefault((key[1], key[2]), number)
            elif section:
                lines.setdefault((section, key[1]), number)
            else:
                lines.setdefault((key[1], ""), number)
    return lines


def place(name: str, line: int | None) -> str:
    return name if line is None else f"{name}, line {line}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def meant(setting: str, section: str, sections: Mapping[str, type[Any]]) -> str:
    """A hint: a similar setting of the same section, else the same or a similar one of another."""
    near = difflib.get_close_matches(setting, [name for _, name in keys({section: sections[section]})], n=1)
    if near:
        return f"; did you mean '{section}.{near[0]}'?"
    far = {name: f"{other}.{name}" for other, name in keys(sections)}
    close = difflib.get_close_matches(setting, list(far), n=1, cutoff=0.8)
    return f"; did you mean '{far[close[0]]}'?" if close else ""


def keys(sections: Mapping[str, type[Any]]) -> Iterator[Key]:
    for section, kind in sections.items():
        for field in dataclasses.fields(kind):
            yield section, field.name


def section_type(schema: type[Any], name: str) -> type[Any]:
    kind = typing.get_type_hints(schema)[name]
    assert isinstance(kind, type), f"section {name} must be a dataclass"
    return kind


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
