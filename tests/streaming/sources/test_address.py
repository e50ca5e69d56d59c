"""Nonsense addresses are refused before anything is opened, in one sentence and without their passwords."""

import pytest

from streaming.sources import Limits, SourceRefused, open_source


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "1 to 4096 characters"),
        ("rtsp://cam/" + "x" * 5000, "1 to 4096 characters"),
        ("cam.local/stream", "has no scheme"),
        ("admin:hunter2@cam/stream", "'admin' is not supported"),
        ("rtmp://cam/live", "'rtmp' is not supported; supported are file, http, https, rtsp"),
        ("ftp://admin:hunter2@cam/x", "'ftp' is not supported"),
        ("concat:a.mp4|b.mp4", "'concat' is not supported"),
        ("rtsp://cam/a b", "blanks or control characters"),
        ("rtsp://admin:hun ter2@cam/", "blanks or control characters"),
        ("rtsp://cam/\nEvil: 1", "blanks or control characters"),
        ("rtsp://", "names no host"),
        ("http:cam/x", "names no host"),
        ("rtsp://cam:99999/x", "impossible host or port"),
        ("rtsp://cam:0/x", "port 0"),
        ("rtsp://admin:hunter2/x@cam:554/", "impossible host or port"),
        ("rtsp://[::1/x", "impossible host or port"),
        ("file:", "names nothing"),
        ("file:a%00b", "names nothing"),
        ("file:a.mp4?loop=maybe", "must be 0 or 1"),
        ("file:a.mp4?lop=1", "unknown option 'lop'; there are loop"),
        ("file:a.mp4?loop=1&loop=0", "given twice"),
        ("file:a.mp4?loop", "options are written"),
        ("synthetic:nowhere", "no synthetic scene 'nowhere'; there are yard"),
        ("synthetic:yard?fps=0", "fps must be a number from 0.1"),
        ("synthetic:yard?fps=nan", "fps must be a number from 0.1"),
        ("synthetic:yard?size=16384x16384", "each side 64 to 2048"),
        ("v4l2:/etc/passwd", "is no video device"),
        ("v4l2:/dev/../etc/passwd", "is no video device"),
        ("v4l2:/dev/video0?size=16384x16384", "16384x16384; the limit is"),
    ],
)
def test_nonsense_is_refused_with_a_reason(tmp_path, url, says):
    """Each is one sentence that needs a person, and shows no password."""
    with pytest.raises(SourceRefused) as refused:
        open_source(url, fps=2, limits=Limits(), media_dir=tmp_path)
    assert says in refused.value.reason
    assert "hun" not in refused.value.reason
    assert not refused.value.retryable


def test_a_file_needs_a_media_folder():
    """Without media_dir no file can be read at all."""
    with pytest.raises(SourceRefused, match="no media folder is configured"):
        open_source("file:a.mp4", fps=2)


@pytest.mark.parametrize(
    "setting", [{"stale_s": 0}, {"max_pixels": -1}, {"retry_failed_s": 61}, {"retry_first_s": 9, "retry_max_s": 8}]
)
def test_limits_that_make_no_sense_are_refused(setting):
    """Bounds must be positive, the slow retry at most a minute, the first wait no longer than the last."""
    with pytest.raises(ValueError, match="must"):
        Limits(**setting)
