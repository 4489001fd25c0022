"""RTSP from GStreamer's real server: restarts, cuts, silence, logins, losses, and what others can read meanwhile."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_aac.audio.connection import RefusedError
from edge_aac.audio.reconnect import Reconnecting
from edge_aac.audio.sources.address import Address, SourceContext, open_source
from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.source import NetworkOpener
from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError
from tests.edge_aac.audio.sources.network.servers import (
    PASSWORD,
    USER,
    FfmpegWatch,
    Listener,
    Proxy,
    RtspServer,
    ffmpeg_watch,
    listeners,
    require_parts,
)
from tests.waiting import eventually

__all__ = ["ffmpeg_watch", "listeners"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

Listen = Callable[[Reconnecting], Listener]
_QUICK = Backoff(first_s=0.1, longest_s=0.2, steady_s=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    require_parts("gstreamer", "ffmpeg")
    server = RtspServer()
    yield server
    server.kill()


def _source(uri: str) -> Reconnecting:
    """A source as the factory makes it, but for shorter waits."""
    address = Address.parse(uri)
    opener = NetworkOpener(NetworkAddress.of(address), SourceContext().label(address))
    return opener.source(wait_for_device=True, backoff=_QUICK)


def _only_ours(watch: FfmpegWatch) -> None:
    assert watch.highest == 1, "at most one at any time"


@pytest.mark.parametrize(
    ("mount", "options"), [("g711", ""), ("aac", ""), ("aac", "&transport=udp"), ("camera", "#channel=2")]
)
def test_a_tone_is_heard(
    server: RtspServer, listeners: Listen, ffmpeg_watch: FfmpegWatch, mount: str, options: str
) -> None:
    listener = listeners(_source(f"rtsp://127.0.0.1:{server.port}/{mount}?stall_s=20{options}"))
    listener.hear(1.2)
    listener.assert_tone()
    assert (listener.source.state, listener.source.lost_samples()) == ("listening", 0)
    _only_ours(ffmpeg_watch)


@pytest.mark.parametrize(("mount", "times"), [("g711", 10), ("aac", 3)])
def test_a_server_that_is_restarted(mount: str, times: int, listeners: Listen, ffmpeg_watch: FfmpegWatch) -> None:
    require_parts("gstreamer", "ffmpeg")
    server = RtspServer()
    try:
        # On a machine that has much to do a server may give nothing for longer than the usual 2 s.
        listener = listeners(_source(f"rtsp://127.0.0.1:{server.port}/{mount}?stall_s=20"))
        for number in range(times):
            listener.hear(0.3)
            eventually(lambda number=number: len(ffmpeg_watch.seen) > number, "its ffmpeg is not seen")
            before = listener.source.reconnects
            server.restart()
            eventually(lambda before=before: listener.source.reconnects > before, "it does not come back")
        listener.hear(1.2)
        eventually(lambda: len(ffmpeg_watch.seen) > times, "its ffmpeg is not seen")
        # A new connection begins within a buffer of the server's, and a filter takes a moment to fill.
        listener.assert_all_time_is_accounted_for(tolerance_s=0.4 * times)
    finally:
        server.kill()
    listener.assert_tone()
    _only_ours(ffmpeg_watch)
    assert listener.source.lost_samples() > 0.1 * times * 16_000


def test_a_connection_that_is_cut_in_the_middle(
    server: RtspServer, listeners: Listen, ffmpeg_watch: FfmpegWatch
) -> None:
    proxy = Proxy(server.port)
    listener = listeners(_source(f"rtsp://127.0.0.1:{proxy.port}/g711?stall_s=20"))
    for _ in range(3):
        listener.hear(0.3)
        before = listener.source.reconnects
        proxy.cut()
        eventually(lambda before=before: listener.source.reconnects > before, "it does not come back")
    listener.hear(1.2)
    listener.assert_tone()
    listener.assert_all_time_is_accounted_for(tolerance_s=1.2)
    _only_ours(ffmpeg_watch)
    proxy.close()


def test_silence_on_an_open_connection(
    server: RtspServer, listeners: Listen, ffmpeg_watch: FfmpegWatch, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy(server.port)
    with caplog.at_level(logging.DEBUG):
        listener = listeners(_source(f"rtsp://127.0.0.1:{proxy.port}/aac?stall_s=1&connect_s=2"))
        listener.hear(0.5)
        proxy.passes.clear()
        eventually(lambda: listener.source.state == "stalled", "the silence is not found")
        # Nor does a new connection answer: it is given up, too.
        eventually(lambda: "gave no sound within 2 s" in caplog.text, "it waits for ever")
        proxy.passes.set()
        eventually(lambda: listener.source.reconnects >= 1, "it does not come back")
        listener.hear(1.2)
    listener.assert_tone()
    listener.assert_all_time_is_accounted_for(tolerance_s=1.0)
    assert "there was no sound for 1 s" in caplog.text
    _only_ours(ffmpeg_watch)
    proxy.close()


def test_a_server_that_is_frozen(listeners: Listen, ffmpeg_watch: FfmpegWatch) -> None:
    require_parts("gstreamer", "ffmpeg")
    server = RtspServer()
    assert server.process is not None
    try:
        listener = listeners(_source(f"rtsp://127.0.0.1:{server.port}/g711?stall_s=1&connect_s=2&transport=udp"))
        listener.hear(0.5)
        server.process.send_signal(signal.SIGSTOP)
        eventually(lambda: listener.source.state == "stalled", "the silence is not found")
        server.process.send_signal(signal.SIGCONT)
        eventually(lambda: listener.source.reconnects >= 1, "it does not come back")
        _only_ours(ffmpeg_watch)
    finally:
        server.kill()


def test_what_the_server_leaves_out_is_counted(server: RtspServer, listeners: Listen) -> None:
    listener = listeners(_source(f"rtsp://127.0.0.1:{server.port}/gaps?stall_s=20"))
    listener.hear(6.0)
    # One packet of five; what was lost last is not known yet.
    lost_share = listener.source.lost_samples() / 16_000 / (listener.last_s - (listener.first_s or 0.0))
    assert 0.05 < lost_share < 0.3


def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, password: str = PASSWORD) -> str:
    if place == "env":
        monkeypatch.setenv("CAMERA_LOGIN", f"{USER}:{password}")
        return "env:CAMERA_LOGIN"
    path = tmp_path / "camera login"
    path.write_text(f"{USER}:{password}\n")
    path.chmod(0o600)
    return f"file:{path}".replace(" ", "%20")


@pytest.mark.parametrize(("method", "place"), [("basic", "file"), ("digest", "env")])
def test_a_login(
    method: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listeners: Listen,
    ffmpeg_watch: FfmpegWatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    require_parts("gstreamer", "ffmpeg")
    server = RtspServer(method)
    uri = f"rtsp://127.0.0.1:{server.port}/g711?credentials="
    try:
        with caplog.at_level(logging.DEBUG):
            listener = listeners(_source(uri + _credentials(tmp_path, monkeypatch, place)))
            listener.hear(0.3)
            with pytest.raises(RefusedError, match=r"refuses the login \(401\)") as refused:
                open_source(uri + _credentials(tmp_path, monkeypatch, place, "hunter3"))
            with pytest.raises(RefusedError):
                open_source(f"rtsp://127.0.0.1:{server.port}/g711")
        listener.close()
    finally:
        server.kill()
    assert b"127.0.0.1" in ffmpeg_watch.readable
    for text in (ffmpeg_watch.readable.decode(errors="replace"), caplog.text, str(refused.value)):
        assert "hunter" not in text and USER not in text


def test_tls_is_verified(tmp_path: Path, listeners: Listen) -> None:
    require_parts("gstreamer", "ffmpeg", "openssl")
    files = [tmp_path / "certificate.pem", tmp_path / "key.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=camera", "-days", "2"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(files[0].read_text() + files[1].read_text())
    server = RtspServer("basic", both)
    login = _credentials(tmp_path, pytest.MonkeyPatch(), "file")
    uri = f"rtsps://127.0.0.1:{server.port}/aac?credentials={login}"
    try:
        with pytest.raises(DeviceError, match=r"has a certificate|certificate of .* is not valid"):
            open_source(uri)
        for options in (f"&ca={files[0]}", "&tls_verify=no"):
            listener = listeners(_source(uri + options))
            listener.hear(1.2)
            listener.assert_tone()
            listener.close()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("path", "reason"),
    [("none", r"is not known to its server \(404\)"), ("pictures", "has nothing to hear|has no sound")],
)
def test_a_wrong_path(server: RtspServer, path: str, reason: str) -> None:
    with pytest.raises(DeviceError, match=reason):
        open_source(f"rtsp://127.0.0.1:{server.port}/{path}")


def test_a_channel_that_is_not_there(server: RtspServer) -> None:
    with pytest.raises(DeviceError, match="no channel 2, only 1"):
        open_source(f"rtsp://127.0.0.1:{server.port}/g711#channel=2")
