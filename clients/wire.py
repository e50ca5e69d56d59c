"""
The two spellings of protocol 1: JSON in text frames and msgpack in binary frames, the same maps in both.

Decoding is safe against hostile input: depth, declared lengths, extension types and map keys are bounded before memory
is spent, and each refusal is one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgpack
import msgspec

from .errors import Invalid

MAX_MESSAGE_BYTES: Final = 2**20
MAX_ITEMS: Final = 4096  # in one list or map of an incoming message


class Codec(Protocol):
    """One subprotocol. `text` tells the kind of WebSocket frame it travels in."""

    subprotocol: str
    text: bool

    def decode(self, data: str | bytes) -> dict[str, Any]:
        """One message. Raises Invalid when `data` is not one map of this spelling."""
        ...

    def encode(self, message: dict[str, Any]) -> bytes:
        """The payload of the frame, UTF-8 where it is text."""
        ...


class JsonCodec:
    subprotocol = "vigil.v1.json"
    text = True

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder()

    def decode(self, data: str | bytes) -> dict[str, Any]:
        if not isinstance(data, str):
            raise Invalid(f"this connection speaks {self.subprotocol}: send text frames, not binary ones")
        try:
            return a_map(self._decoder.decode(data))
        except RecursionError:
            raise Invalid("the message is nested too deep") from None
        except (msgspec.DecodeError, UnicodeError) as error:
            raise Invalid(f"the message is not JSON: {error}") from None

    def encode(self, message: dict[str, Any]) -> bytes:
        return self._encoder.encode(message)  # bytes become base64, NaN becomes null


class MsgpackCodec:
    subprotocol = "vigil.v1.msgpack"
    text = False

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._bounds: dict[str, Any] = {
            "raw": False,
            "strict_map_key": True,
            "max_array_len": MAX_ITEMS,
            "max_map_len": MAX_ITEMS,
            "max_ext_len": 0,  # also the timestamps, which never reach the hook
            "ext_hook": no_ext,
        }

    def decode(self, data: str | bytes) -> dict[str, Any]:
        if not isinstance(data, bytes):
            raise Invalid(f"this connection speaks {self.subprotocol}: send binary frames, not text ones")
        try:
            # msgspec's decoder grows with what has arrived, but knows no bound on items and accepts extension types.
            # This one allocates what a header declares, so the bound on items is also the bound on memory.
            return a_map(msgpack.unpackb(data, **self._bounds))
        except msgpack.exceptions.StackError:
            raise Invalid("the message is nested too deep") from None
        except ValueError as error:  # the root of what unpackb raises
            raise Invalid(f"the message is not msgpack: {str(error) or type(error).__name__}") from None

    def encode(self, message: dict[str, Any]) -> bytes:
        return self._encoder.encode(message)


def a_map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"a message is a map with a type; got {type(value).__name__}")
    return value


def no_ext(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code}, which has no meaning here")


JSON: Final[Codec] = JsonCodec()
MSGPACK: Final[Codec] = MsgpackCodec()
CODECS: Final[dict[str, Codec]] = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}


def negotiate(offered: Sequence[str]) -> tuple[str | None, Codec]:
    """The subprotocol to confirm and its codec: the first offered one that is known, else none and JSON."""
    for name in offered:
        if name in CODECS:
            return name, CODECS[name]
    return None, JSON


class Outgoing:
    """A message on its way to any number of clients: encoded once per codec, and shared."""

    __slots__ = ("_encoded", "message")

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self._encoded: dict[str, bytes] = {}

    def encoded(self, codec: Codec) -> bytes:
        found = self._encoded.get(codec.subprotocol)
        if found is None:
            found = self._encoded[codec.subprotocol] = codec.encode(self.message)
        return found
