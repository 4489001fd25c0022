"""A small HTTP server of one thread, for figures that few ask for: no client can make it wait, or grow.

Every connection has a deadline and bounded buffers, and there are few of them: where one more comes, the oldest is
closed. So a client that sends nothing, sends without end or never reads costs the others nothing.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from edge_aac.errors import DeviceError

MAX_CONNECTIONS = 16
MAX_REQUEST_BYTES = 8_192
CONNECTION_S = 10.0
"""Seconds after which a connection is closed, whatever it does."""

_READ_BYTES = 65_536
_BACKLOG = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request without its body, which nobody reads.

    Attributes:
        path: path without query.
        accept: the header ``Accept``; empty where there is none.
    """

    path: str
    accept: str


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: the status.
        body: content.
        content_type: type of the content.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class _Connection:
    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.deadline_s = time.monotonic() + CONNECTION_S
        self.received = bytearray()
        self.to_send = memoryview(b"")
        self.answered = False


class HttpServer:
    """Serves GET and HEAD from a thread of its own.

    Args:
        host: address or name to listen at.
        port: port; 0 for any that is free.
        respond: gives the response to a request; it must not wait. What it raises becomes status 500.

    Raises:
        DeviceError: the address cannot be listened at.
    """

    def __init__(self, host: str, port: int, respond: Callable[[Request], Response]) -> None:
        self._respond = respond
        self._listener = _listener(host, port)
        self.port = int(self._listener.getsockname()[1])
        """The port that is listened at."""
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._failed = False
        # A byte in the pipe ends the wait for clients.
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="edge-aac-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close all connections; may be called again."""
        write, self._wake_write = self._wake_write, -1
        if write >= 0:
            os.close(write)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            now_s = time.monotonic()
            deadlines = [connection.deadline_s for connection in self._connections.values()]
            wait_s = max(0.0, min(deadlines) - now_s) if deadlines else None
            for key, events in self._selector.select(wait_s):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._wake_read:
                    ended = True
                elif (connection := self._connections.get(key.fd)) and connection.client is key.fileobj:
                    # Not that of a client that was accepted in this round, on the number of one that was closed in it.
                    self._advance(connection, events)
            now_s = time.monotonic()
            for connection in [each for each in self._connections.values() if each.deadline_s <= now_s]:
                self._drop(connection)
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        self._listener.close()
        os.close(self._wake_read)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            # Out of descriptors, say: without a pause the loop would spin, for the client still waits.
            log.debug("a client of the metrics cannot be accepted (%s)", error.strerror)
            time.sleep(0.1)
            return
        client.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(min(self._connections.values(), key=lambda each: each.deadline_s))
        self._connections[client.fileno()] = _Connection(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _advance(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(connection)
            elif not self._receive(connection):
                self._drop(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)

    def _receive(self, connection: _Connection) -> bool:
        """Take what came; False where the client has ended."""
        data = connection.client.recv(_READ_BYTES)
        if not data:
            return False
        if connection.answered:
            return True  # a body that nobody reads: closing before it ends would take the response away from the client
        connection.received += data
        head, end, _ = connection.received.partition(b"\r\n\r\n")
        if end and len(head) <= MAX_REQUEST_BYTES:
            self._answer(connection, self._response(bytes(head)), head.startswith(b"HEAD "))
        elif len(connection.received) > MAX_REQUEST_BYTES:
            self._answer(connection, _words(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), False)
        return True

    def _response(self, head: bytes) -> Response:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004
            return _words(HTTPStatus.BAD_REQUEST)
        if words[0] not in {"GET", "HEAD"}:
            return _words(HTTPStatus.METHOD_NOT_ALLOWED)
        headers = [line.partition(":") for line in lines[1:]]
        accept = ",".join(value.strip() for name, _, value in headers if name.strip().lower() == "accept")
        try:
            return self._respond(Request(words[1].partition("?")[0], accept))
        except Exception as error:  # a fault in one figure must not end the thread that serves all of them
            if not self._failed:
                self._failed = True
                log.warning("the metrics cannot be given (%s: %s)", type(error).__name__, error)
            return _words(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _answer(self, connection: _Connection, response: Response, head_only: bool) -> None:
        head = (
            f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        ).encode("latin-1")
        connection.answered = True
        connection.received.clear()
        connection.to_send = memoryview(head if head_only else head + response.body)
        self._selector.modify(connection.client, selectors.EVENT_WRITE)

    def _send(self, connection: _Connection) -> None:
        sent = connection.client.send(connection.to_send)
        connection.to_send = connection.to_send[sent:]
        if not connection.to_send:
            connection.client.shutdown(socket.SHUT_WR)
            self._selector.modify(connection.client, selectors.EVENT_READ)

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection.client.fileno(), None)
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.client)
        connection.client.close()


def _words(status: HTTPStatus) -> Response:
    return Response(status, f"{status.phrase}\n".encode())


def _listener(host: str, port: int) -> socket.socket:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise DeviceError(
            f"the metrics cannot be served at {shown} ({_reason(error)}): name another address"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise DeviceError(
            f"the metrics cannot be served at {shown} ({_reason(error)}): end what listens there, or name another port"
        ) from error
    return listener


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
