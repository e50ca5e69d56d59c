"""daemon/store/evidence.py"""

from __future__ import annotations

import os
import threading

import pytest

from daemon.store import Evidence


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def make(folder, clock, *, max_bytes=1000, max_age_s=100.0):
    return Evidence(folder, max_bytes=max_bytes, max_age_s=max_age_s, now_s=clock)


def aged(path, clock, age_s):
    os.utime(path, (clock.now_s - age_s, clock.now_s - age_s))
    return path


def test_saved_is_found(tmp_path, clock):
    """What was saved is found under its name, whole, and replaced by a second save."""
    evidence = make(tmp_path / "evidence", clock)
    assert evidence.path("e_1.jpg") is None
    assert evidence.sweep().left == 0
    evidence.save("e_1.jpg", b"one")
    evidence.save("e_1.jpg", b"two")
    assert evidence.path("e_1.jpg").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["e_1.jpg"]


@pytest.mark.parametrize(
    "name",
    ["", "e_", "e_1", "e_1.png", "../e_1.jpg", "e_../../x.jpg", "/etc/e_1.jpg", "e_1.jpg/", "e_1.jpg\n", "e_\0.jpg",
     "e_%2e%2e.jpg", ".unfinished-1", "e_" + "x" * 65 + ".jpg"],
)  # fmt: skip
def test_no_other_names(tmp_path, clock, name):
    """Only names of evidence are looked up or written: nothing outside the folder, nothing unfinished."""
    evidence = make(tmp_path / "evidence", clock)
    assert evidence.path(name) is None
    with pytest.raises(ValueError, match="no name of evidence"):
        evidence.save(name, b"")


def test_no_links(tmp_path, clock):
    """A link in the folder is not followed out of it, nor counted, nor removed."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "e_1.jpg").symlink_to(secret)
    evidence = make(folder, clock, max_bytes=0)
    assert evidence.path("e_1.jpg") is None
    assert evidence.sweep().removed == 0
    assert secret.read_bytes() == b"secret"


def test_too_old(tmp_path, clock):
    """Files past the age go; so does what a crash left unfinished, though not what is being written now."""
    evidence = make(tmp_path, clock)
    for name, age_s in {"e_1.jpg": 101, "e_2.jpg": 99, ".unfinished-a": 601, ".unfinished-b": 1}.items():
        (tmp_path / name).write_bytes(b"xx")
        aged(tmp_path / name, clock, age_s)
    (tmp_path / "somebody-elses.txt").write_bytes(b"new")
    swept = evidence.sweep()
    assert (swept.removed, swept.removed_bytes, swept.left, swept.left_bytes) == (2, 4, 1, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"e_2.jpg", ".unfinished-b", "somebody-elses.txt"}


def test_oldest_goes_first(tmp_path, clock):
    """Past the size the oldest files go, as many as must."""
    for n in range(5):
        aged(make(tmp_path, clock).save(f"e_{n}.jpg", b"x" * 100), clock, 50 - n)
    swept = make(tmp_path, clock, max_bytes=250).sweep()
    assert (swept.removed, swept.left_bytes) == (3, 200)
    assert {path.name for path in tmp_path.iterdir()} == {"e_3.jpg", "e_4.jpg"}


def test_never_past_the_bound(tmp_path, clock):
    """Saving without a sweep in between never grows the folder past its bound."""
    evidence = make(tmp_path, clock, max_bytes=1000)
    for n in range(50):
        clock.now_s += 1
        aged(evidence.save(f"e_{n}.jpg", b"x" * 90), clock, 0)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    assert evidence.path("e_49.jpg") is not None


def test_whole_or_not_at_all(tmp_path, clock):
    """A save that fails leaves nothing behind, and a reader never sees half a file."""
    evidence = make(tmp_path, clock, max_bytes=1 << 30)
    sizes = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            path = evidence.path("e_1.jpg")
            if path is not None:
                sizes.add(len(path.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(30):
            evidence.save("e_1.jpg", bytes([n]) * 3_000_000)
    finally:
        done.set()
        reader.join()
    assert sizes <= {3_000_000}
    (tmp_path / "e_2.jpg").mkdir()
    with pytest.raises(OSError, match="directory"):
        evidence.save("e_2.jpg", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"e_1.jpg", "e_2.jpg"}
