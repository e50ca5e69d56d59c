"""
A real RTSP camera as a child process, for tests: start it, freeze it, kill it, bring it back on the same port.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

PYTHON = "/usr/bin/python3"  # GStreamer's bindings belong to the system's Python
SERVER = Path(__file__).with_name("rtsp_server.py")
START_S = 20.0


@functools.cache
def why_not() -> str | None:
    """The reason why no RTSP server can run on this machine, or None; for pytest.mark.skipif."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        done = subprocess.run([PYTHON, "-c", check], capture_output=True, timeout=START_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{PYTHON} cannot run: {error}"
    if done.returncode:
        return (
            "GStreamer's RTSP server is missing (Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-*)"
        )
    return None


class RtspServer:
    """
    Plays one video file in a loop on rtsp://127.0.0.1:PORT/cam.

    path: any file with H.264 in it.  port: 0 chooses one, which then stays the same over `kill` and `start`.
    auth: "user:password", demanded from clients.
    """

    def __init__(self, path: Path, *, port: int = 0, auth: str | None = None) -> None:
        self._path = path
        self._auth = auth
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def url(self, userinfo: str | None = None) -> str:
        return f"rtsp://{f'{userinfo}@' if userinfo else ''}127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        """Start, or return after `kill`; blocks until it listens."""
        assert self._process is None, "it runs already"
        command = [PYTHON, str(SERVER), str(self._path), "--port", str(self.port)]
        command += ["--auth", self._auth] if self._auth else []
        quiet = {**os.environ, "GST_DEBUG": "0", "G_DEBUG": ""}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=quiet
        )
        word, _, port = self._answer().partition(" ")
        assert word == "READY", word
        self.port = int(port)

    def command(self, line: str) -> None:
        """`pause`, `resume` or `switch PATH`; returns when it is done."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()
        answer = self._answer()
        assert answer == "OK", answer

    def freeze(self) -> None:
        """SIGSTOP: the connection stands, nothing comes."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, frozen or not; `start` brings it back. Does nothing when it is dead."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    def _answer(self) -> str:
        """One line of the server's, within START_S."""
        process = self._running()
        assert process.stdout is not None
        line, deadline = b"", time.monotonic() + START_S
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(process.stdout.fileno(), 1) if ready else b""
            if not piece:
                process.kill()
                _, noise = process.communicate()
                self._process = None
                raise AssertionError(f"the RTSP server said nothing: {noise.decode(errors='replace')[-500:]}")
            line += piece
        return line.decode().strip()
