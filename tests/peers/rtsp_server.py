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


class Clip:
    """The H.264 access units of a file in decoding order, each (bytes, dts, pts) in ns from 0, and how long all last."""

    def __init__(self, path):
        pipeline = Gst.parse_launch(
            f'filesrc location="{path}" ! parsebin ! h264parse config-interval=-1 '
            "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
        )
        sink = pipeline.get_by_name("sink")
        pipeline.set_state(Gst.State.PLAYING)
        raw = []
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            dts = buffer.pts if buffer.dts == Gst.CLOCK_TIME_NONE else buffer.dts
            raw.append((buffer.extract_dup(0, buffer.get_size()), dts, buffer.pts))
        pipeline.set_state(Gst.State.NULL)
        if not raw:
            raise SystemExit(f"no H.264 in {path}")
        first = raw[0][1]
        self.units = [(data, dts - first, pts - first) for data, dts, pts in raw]
        spent = self.units[-1][1]
        self.duration = spent + (spent // (len(raw) - 1) if len(raw) > 1 else 40_000_000)


class Camera:
    """What is filmed right now; shared by every client."""

    def __init__(self, path):
        self.clip = Clip(path)
        self.flowing = threading.Event()
        self.flowing.set()

    def feed(self, source, gone):
        """Push access units when they are due, for ever, until the media is gone."""
        base, start = 0, time.monotonic()
        while not gone.is_set():
            clip = self.clip
            reached = clip.duration
            for data, dts, pts in clip.units:
                gone.wait(max(0.0, start + (base + dts) / 1e9 - time.monotonic()))
                if not self.flowing.is_set():
                    paused = time.monotonic()
                    self.flowing.wait()
                    start += time.monotonic() - paused
                if clip is not self.clip:
                    reached = dts
                    break
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.dts, buffer.pts = base + dts, base + pts
                if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return
            base += reached

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
            camera.clip = Clip(argument)
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
