"""The small server: whoever asks properly is answered, and no other client can keep it from that."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from edge_aac.errors import DeviceError
from edge_aac.service import http_server
from edge_aac.service.http_server import MAX_CONNECTIONS, HttpServer, Request, Response

TIMEOUT_S = 60
LONG = b"0123456789" * 1_000_000


def _respond(request: Request) -> Response:
    if request.path == "/fault":
        raise RuntimeError("nothing can be said")
    if request.path == "/long":
        return Response(HTTPStatus.OK, LONG)
    return Response(HTTPStatus.OK, f"{request.path} {request.accept}".encode())


@pytest.fixture
def server() -> Iterator[HttpServer]:
    made = HttpServer("127.0.0.1", 0, _respond)
    yield made
    made.close()


def _get(server: HttpServer, path: str = "/x?y=1", **headers: str) -> tuple[int, bytes]:
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _connected(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)


def _all_of(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65_536):
        received += data
    return received


def test_a_request_is_answered(server: HttpServer) -> None:
    assert _get(server, Accept="text/plain") == (200, b"/x text/plain")
    assert _get(server, "/long") == (200, LONG)


def test_head_has_no_body_and_other_methods_are_refused(server: HttpServer) -> None:
    with _connected(server) as client:
        client.sendall(b"HEAD /long HTTP/1.1\r\nHost: x\r\n\r\n")
        head = _all_of(client)
    assert f"Content-Length: {len(LONG)}".encode() in head
    assert head.endswith(b"\r\n\r\n")
    with _connected(server) as client:
        client.sendall(b"DELETE / HTTP/1.1\r\n\r\n")
        assert _all_of(client).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    "head", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /\r\n\r\n", b"GET / SPDY/1\r\n\r\n", b"\r\n\r\n"]
)
def test_what_is_no_request_is_refused(server: HttpServer, head: bytes) -> None:
    with _connected(server) as client:
        client.sendall(head)
        assert _all_of(client).startswith(b"HTTP/1.1 400 ")


def test_a_fault_in_an_answer_ends_nothing(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    assert [_get(server, "/fault")[0] for _ in range(3)] == [500, 500, 500]
    assert _get(server)[0] == 200
    assert len(caplog.records) == 1, "told once, not at every scrape"


def test_clients_that_never_send_are_closed_for_those_that_do(server: HttpServer) -> None:
    idle = [_connected(server) for _ in range(3 * MAX_CONNECTIONS)]
    half = [_connected(server) for _ in range(MAX_CONNECTIONS)]
    for client in half:
        client.sendall(b"GET /x HTTP/1.1\r\nX")
    assert _get(server)[0] == 200
    assert idle[0].recv(1) == b"", "the oldest had to go"
    for client in (*idle, *half):
        client.close()


def test_a_client_is_closed_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.2)
    server = HttpServer("127.0.0.1", 0, _respond)
    try:
        with _connected(server) as client:
            assert client.recv(1) == b""
    finally:
        server.close()


def test_a_client_that_sends_without_end_is_refused(server: HttpServer) -> None:
    with _connected(server) as client:
        sent = 0
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the kernel has it
            while sent < 1 << 30:
                sent += client.send(b"GET /" + b"a" * 65_536)
                if sent > 1 << 20:
                    # The answer is there, and the server has said that it takes no more.
                    assert client.recv(65_536).startswith(b"HTTP/1.1 431 ")
                    raise OSError
        assert _get(server)[0] == 200


def test_a_body_is_not_read_and_takes_no_answer_away(server: HttpServer) -> None:
    with _connected(server) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"b" * 1_000_000)
        assert _all_of(client).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_never_reads_holds_up_nobody(server: HttpServer) -> None:
    with _connected(server) as stuck:
        stuck.sendall(b"GET /long HTTP/1.1\r\n\r\n")
        assert [_get(server)[0] for _ in range(5)] == [200] * 5


def test_closing_ends_the_thread_and_frees_the_port() -> None:
    before = set(threading.enumerate())
    server = HttpServer("127.0.0.1", 0, _respond)
    client = _connected(server)
    server.close()
    server.close()
    assert not set(threading.enumerate()) - before
    assert client.recv(1) == b""
    client.close()
    again = HttpServer("127.0.0.1", server.port, _respond)
    again.close()


def test_a_port_that_is_taken_is_one_clear_error(server: HttpServer) -> None:
    with pytest.raises(DeviceError, match=rf"127\.0\.0\.1:{server.port} \(Address already in use\): end what listens"):
        HttpServer("127.0.0.1", server.port, _respond)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70, "192.0.2.1"])
def test_an_address_of_nobody_is_one_clear_error(host: str) -> None:
    with pytest.raises(DeviceError, match="the metrics cannot be served at"):
        HttpServer(host, 0, _respond)
