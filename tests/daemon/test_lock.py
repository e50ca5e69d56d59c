"""daemon/lock.py"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from daemon.errors import AlreadyRunning
from daemon.lock import LOCK, held

HOLDER = """
import sys, time
from pathlib import Path
from daemon.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_second_is_refused(tmp_path, holder):
    """A second daemon on one data directory is told which process has it, and the first goes on."""
    with (
        pytest.raises(AlreadyRunning, match=rf"runs already on {tmp_path} \(process {holder.pid}\)") as caught,
        held(tmp_path),
    ):
        pass
    assert caught.value.pid == holder.pid
    assert caught.value.exit_status == 75
    assert holder.poll() is None


def test_free_once_the_holder_is_killed(tmp_path, holder):
    """After kill -9 of the holder the directory is free at once; what the file says of the dead is written over."""
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    with held(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_children_do_not_hold_it(tmp_path):
    """A child started while the lock is held does not keep it alive."""
    with held(tmp_path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    with child:
        try:
            with held(tmp_path):
                pass
        finally:
            child.kill()


def test_the_folder_is_made_private(tmp_path):
    """A data directory that is not there yet is made, for its owner alone."""
    folder = tmp_path / "new" / "data"
    with held(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
