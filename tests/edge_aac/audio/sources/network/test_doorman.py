"""The port that shows ffmpeg the way: to one program of this user, once."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from edge_aac.audio.sources.address import Address
from edge_aac.audio.sources.network import doorman as doorman_module
from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.audio.sources.network.doorman import Doorman

_TIMEOUT_S = 60.0
_LOGIN = Login("me", "hunter2")


def _doorman(uri: str = "rtsp://camera/x") -> Doorman:
    return Doorman(NetworkAddress.of(Address.parse(uri)), _LOGIN)


def _asked(doorman: Doorman, request: bytes) -> bytes:
    host, _, port = doorman.url.rpartition("/")[0].rpartition("//")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = b""
        try:
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(4096):
                answer += data
        except OSError:  # it may be closed by then, with what was sent unread
            pass
        return answer


def test_rtsp_is_redirected_once() -> None:
    doorman = _doorman()
    assert "hunter2" not in doorman.url and "camera" not in doorman.url
    answer = _asked(doorman, b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 7\r\n\r\n")
    assert answer.startswith(b"RTSP/1.0 302 ") and b"\r\nCSeq: 7\r\n" in answer
    assert b"\r\nLocation: rtsp://me:hunter2@camera:554/x\r\n" in answer
    with pytest.raises(OSError):
        for _ in range(1000):  # until the port is closed
            assert _asked(doorman, b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 8\r\n\r\n") == b""
    doorman.close()


def test_http_is_redirected() -> None:
    doorman = _doorman("https://radio/x")
    answer = _asked(doorman, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 302 ") and b"\r\nLocation: https://me:hunter2@radio:443/x\r\n" in answer
    doorman.close()


@pytest.mark.parametrize("request_", [b"", b"GET / HTTP/1.1\r\n", b"x" * 100_000])
def test_what_is_no_request_is_not_answered(request_: bytes) -> None:
    doorman = _doorman()
    assert _asked(doorman, request_) == b""
    assert b"Location" in _asked(doorman, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"), "the next one is"
    doorman.close()


def test_another_user_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    own = doorman_module.os.geteuid()
    monkeypatch.setattr(doorman_module.os, "geteuid", lambda: own + 1)
    doorman = _doorman()
    assert _asked(doorman, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n") == b""
    monkeypatch.setattr(doorman_module.os, "geteuid", lambda: own)
    assert b"hunter2" in _asked(doorman, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    doorman.close()


def test_nobody_comes() -> None:
    before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for uri in ("rtsp://camera/x", "rtsps://camera/x"):
        doorman = _doorman(uri)
        doorman.close()
        doorman.close()
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before
