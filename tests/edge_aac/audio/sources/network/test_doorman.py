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


def _asked(doorman: Doorman, request: bytes, *, ends: bool = True) -> bytes:
    host, _, port = doorman.url.rpartition("/")[0].rpartition("//")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = b""
        try:
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(4096):
                answer += data
        except OSError:  # it may be closed by then, with what was sent unread
            pass
        return answer


def test_rtsp_is_redirected_once() -> None:
    doorman = _doorman("rtsp://camera/x?transport=udp")
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
    threads, descriptors = set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))
    for uri in ("rtsp://camera/x", "rtsps://camera/x"):
        doorman = _doorman(uri)
        doorman.close()
        doorman.close()
    assert not set(threading.enumerate()) - threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


class _Camera:
    """An RTSP server that answers each connection's first request with what it is given."""

    def __init__(self, *answers: str) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._answers = answers
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self._answers:
            with self._listener.accept()[0] as connection:
                self.requests.append(connection.recv(4096))
                connection.sendall(answer.format(port=self.port).replace("\n", "\r\n").encode())
        self._listener.close()


_OPTIONS = b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n"


@pytest.mark.parametrize("elsewhere", ["rtsp://other/y", "rtsp://127.0.0.1/y", "rtsp://[/y", "y", "rtsp://ü/y", ""])
def test_the_login_is_given_to_no_other_server(elsewhere: str) -> None:
    camera = _Camera(f"RTSP/1.0 302 Found\nCSeq: 3\nLocation: {elsewhere}\n\n")
    doorman = _doorman(f"rtsp://127.0.0.1:{camera.port}/x")
    assert b"Location: rtsp://me:hunter2@127.0.0.1:" in _asked(doorman, _OPTIONS, ends=False), "it is sent here"
    assert _asked(doorman, _OPTIONS, ends=False) == b"", "and nowhere else"
    assert camera.requests == [_OPTIONS]
    doorman.close()
    assert doorman.error is not None and "redirects to another server" in str(doorman.error)


def test_a_server_may_redirect_to_itself() -> None:
    camera = _Camera(
        "RTSP/1.0 301 Moved\nCSeq: 3\nLocation: rtsp://127.0.0.1:{port}/main?channel=1\n\n",
        "RTSP/1.0 200 OK\nCSeq: 3\n\n$",
    )
    doorman = _doorman(f"rtsp://127.0.0.1:{camera.port}/x")
    here = doorman.url.removesuffix("/")
    _asked(doorman, _OPTIONS, ends=False)
    answer = _asked(doorman, _OPTIONS, ends=False)
    assert f"\r\nLocation: {here}/main?channel=1\r\n".encode() in answer and b"CSeq: 3\r\n" in answer
    assert _asked(doorman, _OPTIONS, ends=False) == b"RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n"
    doorman.close()
    assert doorman.error is None


def test_redirections_without_end() -> None:
    camera = _Camera(*["RTSP/1.0 302 Found\nCSeq: 3\nLocation: rtsp://127.0.0.1:{port}/x\n\n"] * 9)
    doorman = _doorman(f"rtsp://127.0.0.1:{camera.port}/x")
    with pytest.raises(OSError):
        for _ in range(9):
            _asked(doorman, _OPTIONS, ends=False)
    doorman.close()
    assert doorman.error is not None and "without end" in str(doorman.error)
