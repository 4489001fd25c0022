"""A real RTSP server, GStreamer's, as a program: run it with the system's Python, which has GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py PORT [basic|digest] [CERTIFICATE_AND_KEY]

Prints its port once it listens. With a method of authentication, user ``nightwatch`` has the password of the variable
RTSP_PASSWORD. Mounts: ``/g711`` (8 kHz A-law), ``/aac`` (48 kHz stereo AAC), ``/gaps`` (G.711 in which one packet of
five is left out), ``/camera`` (pictures and sound), ``/pictures``.
"""

from __future__ import annotations

import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

_TONE = "audiotestsrc is-live=true freq=440 samplesperbuffer={samples} ! audio/x-raw,rate={rate},channels={channels}"
_ALAW = _TONE.format(samples=160, rate=8000, channels=1)
_AAC = _TONE.format(samples=1024, rate=48000, channels=2) + " ! audioconvert ! voaacenc ! rtpmp4gpay pt=97"
_JPEG = (
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=5/1 ! jpegenc ! rtpjpegpay pt=26"
)
_MOUNTS = {
    "/g711": f"( {_ALAW} ! alawenc ! rtppcmapay name=pay0 pt=8 min-ptime=20000000 max-ptime=20000000 )",
    "/aac": f"( {_AAC} name=pay0 )",
    "/gaps": f"( {_ALAW} ! identity drop-probability=0.2 ! alawenc ! rtppcmapay name=pay0 pt=8 perfect-rtptime=false )",
    "/camera": f"( {_JPEG} name=pay0 {_AAC} name=pay1 )",
    "/pictures": f"( {_JPEG} name=pay0 )",
}


def main() -> None:
    port, method, certificate = [*sys.argv[1:], "", ""][:3]
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for path, launch in _MOUNTS.items():
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(launch)
        factory.set_shared(True)
        if method or certificate:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("listener", "media.factory.access", True)
            permissions.add_permission_for_role("listener", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if method or certificate:
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "listener")
        auth = GstRtspServer.RTSPAuth.new()
        password = os.environ.get("RTSP_PASSWORD", "")
        if method == "basic":
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic("nightwatch", password), token)
        elif method == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest("nightwatch", password, token)
        else:
            auth.set_default_token(token)
        if certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
        server.set_auth(auth)
    if not server.attach(None):
        sys.exit("the port is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
