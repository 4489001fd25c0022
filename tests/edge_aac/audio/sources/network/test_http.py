"""HTTP from Icecast and from a server of the test: restarts, silence, logins, playlists, files, and wrong answers."""

from __future__ import annotations

import base64
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_aac.audio.connection import PermanentDeviceError, RefusedError
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
    IcecastServer,
    Listener,
    Proxy,
    listeners,
    require_parts,
)
from tests.waiting import eventually

__all__ = ["listeners"]

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

Listen = Callable[[Reconnecting], Listener]
_QUICK = Backoff(first_s=0.1, longest_s=0.2, steady_s=0.5)
_AAC = (("-c:a", "aac", "-f", "adts"), "audio/aac")
_OGG = (("-c:a", "libvorbis", "-f", "ogg", "-page_duration", "100000"), "audio/ogg")
_MP3 = (("-c:a", "libmp3lame", "-f", "mp3"), "audio/mpeg")
_RESTARTS = 10


def _source(uri: str) -> Reconnecting:
    """A source as the factory makes it, but for shorter waits."""
    address = Address.parse(uri)
    opener = NetworkOpener(NetworkAddress.of(address), SourceContext().label(address))
    return opener.source(wait_for_device=True, backoff=_QUICK)


@pytest.fixture
def icecast(request: pytest.FixtureRequest) -> Iterator[IcecastServer]:
    require_parts("icecast2", "ffmpeg")
    server = IcecastServer(*request.param)
    yield server
    server.remove()


@pytest.mark.parametrize("icecast", [_AAC], indirect=True)
def test_icecast_that_is_restarted_ten_times(icecast: IcecastServer, listeners: Listen) -> None:
    with FfmpegWatch() as watch:
        listener = listeners(_source(f"http://127.0.0.1:{icecast.port}/live?stall_s=20"))
        for number in range(_RESTARTS):
            listener.hear(0.3)
            eventually(lambda number=number: len(watch.seen) > number, "its ffmpeg is not seen")
            before = listener.source.reconnects
            icecast.restart()
            eventually(lambda before=before: listener.source.reconnects > before, "it does not come back")
        listener.hear(1.2)
        eventually(lambda: len(watch.seen) > _RESTARTS, "its ffmpeg is not seen")
    listener.assert_tone()
    assert watch.highest == 1, "at most one at any time"
    listener.assert_all_time_is_accounted_for(tolerance_s=0.4 * _RESTARTS)
    assert listener.source.lost_samples() > 0.1 * _RESTARTS * 16_000


@pytest.mark.parametrize("icecast", [_MP3], indirect=True)
def test_silence_and_a_cut(icecast: IcecastServer, listeners: Listen, caplog: pytest.LogCaptureFixture) -> None:
    proxy = Proxy(icecast.port)
    with caplog.at_level(logging.DEBUG):
        listener = listeners(_source(f"http://127.0.0.1:{proxy.port}/live?stall_s=1&connect_s=3"))
        listener.hear(0.5)
        proxy.passes.clear()
        eventually(lambda: listener.source.state == "stalled", "the silence is not found")
        proxy.passes.set()
        eventually(lambda: listener.source.reconnects >= 1, "it does not come back")
        listener.hear(0.3)
        before = listener.source.reconnects
        proxy.cut()
        eventually(lambda: listener.source.reconnects > before, "it does not come back")
        listener.hear(1.2)
    listener.assert_tone()
    # What the proxy held comes late, and with each connection (more than two where the machine is slow) the past that
    # Icecast keeps; the silence itself is counted.
    listener.assert_all_time_is_accounted_for(tolerance_s=2.0 * listener.source.reconnects)
    assert listener.source.lost_samples() > 16_000
    proxy.close()


@pytest.mark.parametrize("icecast", [_OGG], indirect=True)
def test_the_past_in_a_buffer_is_passed_over(icecast: IcecastServer, listeners: Listen) -> None:
    """Icecast sends the last 64 KiB at once to who comes."""
    time.sleep(6)  # the buffer fills
    started_s = time.monotonic()
    listener = listeners(_source(f"http://127.0.0.1:{icecast.port}/live"))
    listener.hear(1.2)
    time.sleep(1)  # the whole of the buffer would have come by now
    assert listener.heard_s < time.monotonic() - started_s
    listener.assert_tone()


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder; ``/live`` is endless, with a login; ``/error/503`` is this error; ``/to/PATH`` leads there."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.path.startswith("/error/"):
            self.send_error(int(self.path.partition("?")[0].rpartition("/")[2]))
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path.startswith("/live"):
            self._stream()
        else:
            super().do_GET()

    def _stream(self) -> None:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}" and "token=hunter2" not in self.path:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="radio"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "audio/wav")
        self.end_headers()
        command = ["ffmpeg", "-v", "quiet", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=22050"]
        with subprocess.Popen(
            [*command, "-f", "wav", "-flush_packets", "1", "-"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as feeder:
            assert feeder.stdout is not None
            try:
                while data := feeder.stdout.read1(4096):  # type: ignore[attr-defined]
                    self.wfile.write(data)
            except OSError:
                feeder.kill()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    require_parts("ffmpeg")
    folder = tmp_path_factory.mktemp("web")

    def handler(*arguments: object) -> BaseHTTPRequestHandler:
        return _Handler(*arguments, directory=str(folder))  # type: ignore[arg-type]

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], folder
    server.shutdown()
    server.server_close()


def _tone(path: Path, *options: str) -> None:
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "sine=frequency=440:duration=5", *options, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("line", [f"{USER}:{PASSWORD}", "?token=hunter2"])
def test_a_login(line: str, web: tuple[int, Path], listeners: Listen, tmp_path: Path) -> None:
    (login := tmp_path / "login").write_text(line)
    (wrong := tmp_path / "wrong").write_text(line.replace("hunter2", "hunter3"))
    with FfmpegWatch() as watch:
        listener = listeners(_source(f"http://127.0.0.1:{web[0]}/live?credentials=file:{login}"))
        listener.hear(1.2)
        listener.assert_tone()
        with pytest.raises(RefusedError, match=r"\(401\)") as refused:
            open_source(f"http://127.0.0.1:{web[0]}/live?credentials=file:{wrong}")
    assert b"127.0.0.1" in watch.readable
    assert "hunter" not in watch.readable.decode(errors="replace") + str(refused.value)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.wav", "a.ogg", "a.m3u8"])
def test_a_file_is_no_live_stream(name: str, web: tuple[int, Path]) -> None:
    _tone(web[1] / name, *(["-hls_time", "2", "-hls_list_size", "0"] if name == "a.m3u8" else []))
    with pytest.raises(PermanentDeviceError, match="is a file with an end and no live stream"):
        open_source(f"http://127.0.0.1:{web[0]}/{name}")


def test_a_live_playlist(web: tuple[int, Path], listeners: Listen) -> None:
    command = ["ffmpeg", "-v", "quiet", "-re", "-f", "lavfi", "-i", "sine=frequency=440", "-hls_time", "1"]
    command += ["-hls_list_size", "4", "-hls_flags", "delete_segments", "-f", "hls", str(web[1] / "radio.m3u8")]
    feeder = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        eventually((web[1] / "radio.m3u8").exists, "there is no playlist")
        listener = listeners(_source(f"http://127.0.0.1:{web[0]}/to//radio.m3u8?stall_s=20"))
        listener.hear(2.5)
        listener.assert_tone()
        assert listener.source.reconnects == 0
    finally:
        feeder.kill()
        feeder.wait()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("script.txt", "ffconcat version 1.0\nfile FILE\n"),
        ("script2.txt", "ffconcat version 1.0\nfile file:FILE\n"),
        ("playlist.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://FILE\n#EXT-X-ENDLIST\n"),
    ],
)
def test_no_server_makes_ffmpeg_read_files_here(name: str, content: str, web: tuple[int, Path], tmp_path: Path) -> None:
    _tone(tmp_path / "private.mp3")
    (web[1] / name).write_text(content.replace("FILE", str(tmp_path / "private.mp3")))
    with pytest.raises(DeviceError, match="leads to something else|sends something that is no sound|gave no sound"):
        open_source(f"http://127.0.0.1:{web[0]}/{name}?connect_s=3")
    with pytest.raises(DeviceError):  # by 4.2 and 7.0 it is taken for a path of the same server
        open_source(f"http://127.0.0.1:{web[0]}/to/file://{tmp_path}/private.mp3")


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [
        ("none", DeviceError, r"not known to its server \(404\)"),
        ("error/403", RefusedError, r"refuses the login \(403\)"),
        ("error/503", DeviceError, "answers with error 503"),
        ("text", DeviceError, "sends something that is no sound"),
    ],
)
def test_wrong_answers(path: str, error: type[DeviceError], reason: str, web: tuple[int, Path]) -> None:
    (web[1] / "text").write_text("hello " * 99)
    with pytest.raises(DeviceError, match=reason) as caught:
        open_source(f"http://me:hunter2@127.0.0.1:{web[0]}/{path}?key=hunter2")
    assert type(caught.value) is error and "hunter2" not in str(caught.value)


def test_nobody_listens() -> None:
    require_parts("ffmpeg")
    with pytest.raises(DeviceError, match="refuses the connection"):
        open_source("http://127.0.0.1:1/live")
    with pytest.raises(DeviceError, match="cannot be resolved"):
        open_source("http://no-such-host.invalid/live")
