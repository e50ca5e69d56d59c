"""daemon/lines.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.lines import Lines


def read(*chunks: bytes, max_line_bytes: int = 100) -> list[str]:
    lines = Lines(max_line_bytes)
    out = [line for chunk in chunks for line in lines.feed(chunk)]
    return out + list(lines.end())


def test_lines():
    """Lines come without their ends, blank ones too; what has no end comes last."""
    assert read(b"one\n\ntwo\r\nthree") == ["one", "", "two", "three"]
    assert read(b"10%\r20%\rdone\n") == ["10%", "20%", "done"]
    assert read() == []


def test_bytes_that_are_no_text():
    """Whatever a child writes is shown somehow."""
    assert read(b"\xff\xfe\n") == ["��"]


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(1, 20))
def test_nothing_is_lost_or_held_back(chunks, max_line_bytes):
    """Whatever the chunks, no byte of a line is lost, no piece is too long, and no more than one is kept waiting."""
    lines = Lines(max_line_bytes)
    out = []
    for chunk in chunks:
        out += lines.feed(chunk)
        assert len(lines._rest) <= max_line_bytes
    out += lines.end()
    text = b"".join(chunks).replace(b"\r", b"\n").replace(b"\n", b"")
    assert sum(len(piece) for piece in out) <= len(text)
    if text.isascii():
        assert "".join(out) == text.decode()
        assert all(len(piece) <= max_line_bytes for piece in out)
