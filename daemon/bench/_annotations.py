"""What a published benchmark's annotations say, read strictly: an error names the file, the place in it and the key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from daemon.errors import DaemonError


@dataclass(frozen=True, slots=True)
class Told:
    """One object of an annotation file. where: how an error names it. What is not as it should be is a DaemonError."""

    where: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str) -> str:
        """A text that says something."""
        value = self._value(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "is no text")
        return value

    def number(self, key: str) -> float:
        """A finite number that is not negative: seconds."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            self.refuse(key, "is no number of seconds")
        return float(value)

    def whole(self, key: str, *, below: int | None = None) -> int:
        """A whole number from 0, and under `below` where that is given."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (below is not None and value >= below):
            self.refuse(key, "is no whole number" + (f" from 0 to {below - 1}" if below is not None else " from 0"))
        return value

    def seconds(self, key: str) -> int:
        """A time written as hours:minutes:seconds or minutes:seconds."""
        try:
            parts = [int(part) for part in self.text(key).split(":")]
        except ValueError:
            parts = []
        if not parts or min(parts) < 0:
            self.refuse(key, "is no time like 00:03:10")
        return sum(part * 60**place for place, part in enumerate(reversed(parts)))

    def texts(self, key: str) -> Sequence[str]:
        """At least one text; a number among them is one too."""
        value = self._value(key)
        if not isinstance(value, list) or not value or not all(isinstance(each, str | int | float) for each in value):
            self.refuse(key, "is no list of texts")
        return [str(each) for each in value]

    def each(self, key: str) -> Iterator[Told]:
        """The objects of a list that holds at least one."""
        value = self._value(key)
        if not isinstance(value, list) or not value:
            self.refuse(key, "is no list")
        for number, one in enumerate(value):
            yield told(f"{self.where}, {key} {number}", one)

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raises DaemonError about that key, its value cut short."""
        raise DaemonError(f"--data: {self.where}: '{key}' {why}: {str(self.values.get(key))[:60]!r}")

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise DaemonError(f"--data: {self.where}: '{key}' is missing")
        return self.values[key]


def told(where: str, value: object) -> Told:
    """The value as an object. Raises: DaemonError: it is none."""
    if not isinstance(value, dict):
        raise DaemonError(f"--data: {where}: an object was expected, not {str(value)[:60]!r}")
    return Told(where, value)


def entries(path: Path) -> list[Any]:
    """What the file's list holds. Raises: DaemonError: not readable, no JSON, or no list."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DaemonError(f"--data: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise DaemonError(f"--data: {path} is no JSON: {error}") from None
    if not isinstance(read, list) or not read:
        raise DaemonError(f"--data: {path} holds no list of annotations")
    return read


def first_file(candidates: Sequence[Path]) -> Path:
    """The first of these that is a file; the first of all where none is."""
    return next((path for path in candidates if path.is_file()), candidates[0])
