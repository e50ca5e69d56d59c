"""Addresses of sources, taken apart and judged before anything is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import SourceRefused
from .redact import redact

MAX_URL_CHARS = 4096


def scheme_of(url: str) -> str:
    """
    The lower-case scheme of an address.

    Raises: SourceRefused: empty, over-long, without a scheme, or with blanks or control characters in it.
    """
    if not url or len(url) > MAX_URL_CHARS:
        raise SourceRefused(f"an address has 1 to {MAX_URL_CHARS} characters; this one has {len(url)}")
    if any(char.isspace() or not char.isprintable() for char in url):
        raise SourceRefused("the address has blanks or control characters in it; write them as %20 and the like")
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme.replace("+", "").isalnum():
        raise SourceRefused(f"{redact(url)!r} has no scheme; write rtsp://…, http://…, file:… or synthetic:…")
    return scheme.lower()


def check_host(url: str) -> None:
    """Raises: SourceRefused: a network address without a host, or with an impossible port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # its text may quote a part of the password
        raise SourceRefused(f"{redact(url)!r} has an impossible host or port") from error
    if not host:
        raise SourceRefused(f"{redact(url)!r} names no host")
    if port == 0:
        raise SourceRefused(f"{redact(url)!r}: port 0 cannot be connected to")


@dataclass(frozen=True, slots=True)
class Local:
    """`scheme:name?key=value&…`"""

    name: str
    options: Mapping[str, str]


def parse_local(url: str, *, known: Collection[str]) -> Local:
    """
    Take `scheme:name?key=value` apart, percent-decoded.

    Raises: SourceRefused: no name, a NUL in it, an option that is unknown, given twice, or malformed.
    """
    rest = url.partition(":")[2]
    raw_name, _, query = rest.partition("?")
    name = unquote(raw_name)
    if not name or "\0" in name:
        raise SourceRefused(f"{redact(url)!r} names nothing after the colon")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise SourceRefused(f"{redact(url)!r}: options are written ?key=value&key=value") from error
    options: dict[str, str] = {}
    for key, value in pairs:
        if key not in known:
            raise SourceRefused(f"{redact(url)!r}: unknown option {key!r}; there are {', '.join(sorted(known))}")
        if key in options:
            raise SourceRefused(f"{redact(url)!r}: option {key!r} is given twice")
        options[key] = value
    return Local(name, options)


def number(options: Mapping[str, str], key: str, default: float, *, least: float, most: float) -> float:
    """
    A numeric option within bounds.

    Raises: SourceRefused: not a number, or out of bounds.
    """
    text = options.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise SourceRefused(f"option {key} must be a number from {least:g} to {most:g}, not {text!r}")
    return value


def flag(options: Mapping[str, str], key: str) -> bool:
    """
    An on/off option, off by default.

    Raises: SourceRefused: neither 0 nor 1.
    """
    text = options.get(key, "0")
    if text not in {"0", "1"}:
        raise SourceRefused(f"option {key} must be 0 or 1, not {text!r}")
    return text == "1"


def choice(options: Mapping[str, str], key: str, default: str, *, among: Collection[str]) -> str:
    """
    One of a few words.

    Raises: SourceRefused: none of them.
    """
    text = options.get(key, default)
    if text not in among:
        raise SourceRefused(f"option {key} must be one of {', '.join(among)}, not {text!r}")
    return text
