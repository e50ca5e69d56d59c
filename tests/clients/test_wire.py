"""Both spellings of the protocol, and what hostile bytes get."""

from __future__ import annotations

import math
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import Invalid
from clients.wire import CODECS, JSON, MAX_ITEMS, MAX_MESSAGE_BYTES, MSGPACK, Outgoing, negotiate

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def framed(codec, message):
    payload = codec.encode(message)
    return payload.decode() if codec.text else payload


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(message=st.dictionaries(st.text(), plain, max_size=5))
def test_what_is_encoded_decodes_to_the_same(codec, message):
    """A map of plain values survives either spelling."""
    assert codec.decode(framed(codec, message)) == message


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_map_or_invalid(codec, data):
    """Nothing but Invalid comes out of arbitrary input."""
    payload = data.decode("utf-8", "replace") if codec.text else data
    try:
        assert isinstance(codec.decode(payload), dict)
    except Invalid as error:
        assert error.message


JSON_NONSENSE = {
    "empty": "",
    "cut": '{"type":',
    "two": "{} {}",
    "nan": '{"x":NaN}',
    "infinity": '{"x":Infinity}',
    "huge": '{"x":1e999}',
    "lone surrogate": '{"x":"\\ud800"}',
    "list": "[1]",
    "number": "7",
    "text": '"hello"',
    "null": "null",
    "deep lists": "[" * 10_000 + "]" * 10_000,
    "deep maps": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "python": "{'type': 'ping'}",
}
MSGPACK_NONSENSE = {
    "empty": b"",
    "cut": b"\x82\xa1a",
    "two": b"\x80\x80",
    "list": b"\x91\x01",
    "number": b"\x07",
    "never used": b"\xc1",
    "declared array": b"\xdd\xff\xff\xff\xff",
    "declared map": b"\xdf\xff\xff\xff\xff",
    "declared text": b"\xdb\xff\xff\xff\xff",
    "declared bytes": b"\xc6\xff\xff\xff\xff",
    "declared extension": b"\xc9\xff\xff\xff\xff\x05",
    "extension": b"\x81\xa1a\xd4\x05\x01",
    "empty extension": b"\x81\xa1a\xc7\x00\x05",
    "timestamp": b"\x81\xa1a\xd6\xff\x00\x00\x00\x01",
    "number as key": b"\x81\x01\x02",
    "list as key": b"\x81\x91\x01\x02",
    "deep lists": b"\x91" * 10_000 + b"\xc0",
    "deep maps": b"\x81\xa1a" * 10_000 + b"\xc0",
    "not utf-8": b"\x81\xa1a\xa1\xff",
    "too many items": b"\x81\xa1a" + msgpack.packb(list(range(MAX_ITEMS + 1))),
}


@pytest.mark.parametrize("text", JSON_NONSENSE.values(), ids=JSON_NONSENSE)
def test_json_nonsense_is_invalid(text):
    """Each is refused with a sentence."""
    with pytest.raises(Invalid, match="message"):
        JSON.decode(text)


@pytest.mark.parametrize("data", MSGPACK_NONSENSE.values(), ids=MSGPACK_NONSENSE)
def test_msgpack_nonsense_is_invalid(data):
    """Each is refused with a sentence."""
    with pytest.raises(Invalid, match="message"):
        MSGPACK.decode(data)


@pytest.mark.parametrize("claimed", [b"\xdd\x00\x0f\xff\xf0", b"\xdc\x0f\xff"], ids=["a million", "the most allowed"])
def test_a_msgpack_bomb_allocates_little(claimed):
    """Lists within lists that each declare more items than will ever come cost no memory worth speaking of."""
    bomb = (claimed * (MAX_MESSAGE_BYTES // len(claimed)))[:MAX_MESSAGE_BYTES]
    tracemalloc.start()
    try:
        with pytest.raises(Invalid):
            MSGPACK.decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


def test_the_wrong_kind_of_frame_says_which_one_is_right():
    """Text on msgpack and bytes on json are refused by name."""
    with pytest.raises(Invalid, match="binary frames"):
        MSGPACK.decode("{}")
    with pytest.raises(Invalid, match="text frames"):
        JSON.decode(b"{}")


def test_bytes_and_nan_have_a_spelling_in_json():
    """heat's bits become base64, and a number that JSON cannot say becomes null."""
    assert JSON.encode({"kept": b"\xff\x00", "p": math.nan}) == b'{"kept":"/wA=","p":null}'


@pytest.mark.parametrize(
    ("offered", "name", "codec"),
    [
        ([], None, JSON),
        (["vigil.v1.msgpack"], "vigil.v1.msgpack", MSGPACK),
        (["vigil.v2.json", "vigil.v1.json", "vigil.v1.msgpack"], "vigil.v1.json", JSON),
        (["mqtt"], None, JSON),
    ],
)
def test_the_first_known_subprotocol_is_taken(offered, name, codec):
    assert negotiate(offered) == (name, codec)


def test_a_message_is_encoded_once_per_spelling():
    """All clients share the same bytes."""
    message = Outgoing({"type": "note"})
    assert message.encoded(JSON) is message.encoded(JSON)
    assert message.encoded(MSGPACK) != message.encoded(JSON)
