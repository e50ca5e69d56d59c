"""Bytes from a pipe into lines of bounded length. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_LINE_BYTES: Final = 8192


class Lines:
    """
    Cuts a stream of bytes into lines of text, without their ends; a longer line comes in pieces.

    A carriage return ends a line too, so that a progress bar does not grow for ever.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes."""
        self._rest += data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            yield from self._pieces(line)
        while len(self._rest) > self._max_line_bytes:
            yield self._text(self._rest[: self._max_line_bytes])
            self._rest = self._rest[self._max_line_bytes :]

    def end(self) -> Iterator[str]:
        """What is left when the stream has ended."""
        if self._rest:
            yield self._text(self._rest)
        self._rest = b""

    def _pieces(self, line: bytes) -> Iterator[str]:
        for start in range(0, max(1, len(line)), self._max_line_bytes):
            yield self._text(line[start : start + self._max_line_bytes])

    @staticmethod
    def _text(line: bytes) -> str:
        return line.decode("utf-8", "replace")
