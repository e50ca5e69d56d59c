"""
A real RTSP camera: GStreamer's RTSP server playing a video in a loop. Run by the system's Python, which has GStreamer.

    /usr/bin/python3 rtsp_server.py clip.mp4 [--port N] [--auth USER:PASS]

Prints `READY PORT` when it listens. Takes commands as lines on stdin, answering each with `OK` once it is done:
    pause            send no more pictures; the connection stands
    resume
    switch PATH      go on with another video: other resolution, same codec
It ends when its parent does, or when stdin closes.
"""

import argparse
import ctypes
import itertools
import signal
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401

PIPELINE = (
    "( appsrc name=src is-live=true format=time block=true max-bytes=4000000 "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def load(path):
    """The H.264 access units of a file and how long each lasts: [(bytes, duration in ns)]."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! parsebin ! h264parse config-interval=-1 '
        "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    units = []
    while True:
        sample = sink.emit("pull-sample")
        if sample is None:
            break
        buffer = sample.get_buffer()
        units.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts))
    pipeline.set_state(Gst.State.NULL)
    if not units:
        raise SystemExit(f"no H.264 in {path}")
    usual = (units[-1][1] - units[0][1]) // max(1, len(units) - 1)
    stamps = [pts for _, pts in units]
    steps = [max(1, after - before) for before, after in itertools.pairwise(stamps)] + [usual]
    return [(data, step) for (data, _), step in zip(units, steps, strict=True)]


class Camera:
    """What is filmed right now; shared by every client."""

    def __init__(self, path):
        self.units = load(path)
        self.flowing = threading.Event()
        self.flowing.set()

    def feed(self, source, gone):
        """Push access units in time, for ever, until the media is gone."""
        units, index, pts, start = self.units, 0, 0, time.monotonic()
        while not gone.is_set():
            if not self.flowing.is_set():
                paused = time.monotonic()
                self.flowing.wait()
                start += time.monotonic() - paused
            if units is not self.units:
                units, index = self.units, 0
            data, step = units[index % len(units)]
            index += 1
            buffer = Gst.Buffer.new_wrapped(data)
            buffer.pts = buffer.dts = pts
            buffer.duration = step
            if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
            pts += step
            gone.wait(max(0.0, start + pts / 1e9 - time.monotonic()))

    def configure(self, _factory, media):
        gone = threading.Event()
        media.connect("unprepared", lambda _media: gone.set())
        source = media.get_element().get_by_name_recurse_up("src")
        threading.Thread(target=self.feed, args=(source, gone), daemon=True).start()


def obey(camera, loop):
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "pause":
            camera.flowing.clear()
        elif command == "resume":
            camera.flowing.set()
        elif command == "switch":
            camera.units = load(argument)
        else:
            print(f"unknown command {command}", flush=True)
            continue
        print("OK", flush=True)
    loop.quit()


def main():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--auth", help="USER:PASS, basic")
    options = parser.parse_args()
    Gst.init(None)
    camera = Camera(options.path)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
    factory.connect("media-configure", camera.configure)
    if options.auth:
        user, _, password = options.auth.partition(":")
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        raise SystemExit(f"port {options.port} is in use")
    loop = GLib.MainLoop()
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() >= 0)
    threading.Thread(target=obey, args=(camera, loop), daemon=True).start()
    print(f"READY {server.get_bound_port()}", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
