"""A web server of the test, which answers as it is told."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Request:
    """A request that was read whole.

    Attributes:
        path: with the query.
        headers: by name in lower case.
        body: its bytes.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def table(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with a code; ``retry_after="3"`` is the header ``retry-after``."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def raw(data: bytes, then: Callable[[], object] = lambda: None) -> Behaviour:
    """Answer with bytes, wait for something, and close the connection."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.wfile.flush()
        then()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    return behave


class WebServer:
    """Listens on a free port of this machine.

    Args:
        plan: what it does with each request; then all are taken.
        certificate: files of certificate and key; then it speaks TLS.
    """

    def __init__(self, *plan: Behaviour, certificate: tuple[Path, Path] | None = None) -> None:
        self.plan = list(plan)
        self.requests: list[Request] = []
        self.connections = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append(Request(self.path, headers, body))
                (server.plan.pop(0) if server.plan else answer(204))(self)

            def log_message(self, *words: object) -> None:
                """Be silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *what: object) -> None:
                """A client that does not trust us, or that has gone."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._secure = certificate is not None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Address of a path."""
        return f"http{'s' if self._secure else ''}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key.

    Args:
        folder: where to.
        name: as subject alternative name has it, such as ``IP:127.0.0.1``.
    """
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
        + ["-days", "2"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key
