"""A hub on this machine: serves repositories in the hub's layout over HTTP, and fails as it is told to."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_BYTES = 10_000
"""Files above this are kept as the hub keeps large ones: listed with a SHA-256, served by another address."""


@dataclass
class ServedFile:
    """A file, and how its delivery goes wrong.

    Attributes:
        content: what the listing vouches for.
        delivered: what is sent in its place; of the same length or not.
        cuts: after so many bytes of the body the connections that ask for it end, one after the other; then no more.
        silent_after: nothing more is said after this many bytes, and the connection stays open.
        status: answered in place of the file, with ``error_code``.
        claimed_size: announced in place of the length of what is delivered.
    """

    content: bytes
    delivered: bytes | None = None
    cuts: list[int] = field(default_factory=list)
    silent_after: int | None = None
    status: int = 200
    error_code: str = ""
    claimed_size: int | None = None

    @property
    def large(self) -> bool:
        return len(self.content) > LARGE_BYTES

    @property
    def digest(self) -> str:
        return sha256(self.content) if self.large else git_sha1(self.content)


@dataclass
class ServedRepository:
    """A repository with one branch, "main", at one commit."""

    files: dict[str, ServedFile]
    license: str | None = "apache-2.0"
    commit: str = ""
    status: int = 200
    error_code: str = ""
    body: bytes | None = None
    hashless: bool = False

    def __post_init__(self) -> None:
        self.commit = self.commit or hashlib.sha1(repr(sorted(self.files)).encode()).hexdigest()

    def listing(self, name: str, with_blobs: bool) -> bytes:
        siblings = []
        for path, file in self.files.items():
            entry: dict[str, object] = {"rfilename": path}
            if with_blobs and not self.hashless:
                entry |= {"size": len(file.content), "blobId": git_sha1(file.content)}
                if file.large:
                    entry["lfs"] = {"sha256": file.digest, "size": len(file.content), "pointerSize": 134}
            siblings.append(entry)
        table = {"id": name, "sha": self.commit, "siblings": siblings, "cardData": {"license": self.license}}
        return json.dumps(table).encode()


@dataclass(frozen=True)
class Request:
    """What the server saw.

    Attributes:
        status: that was answered.
        sent: bytes of the body that left.
    """

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    sent: int

    @property
    def is_content(self) -> bool:
        return self.method == "GET" and self.status in {200, 206} and "/api/" not in self.path

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class HubServer:
    """The running hub."""

    url: str = ""
    repositories: dict[str, ServedRepository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    silent: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def add(self, repo: str, files: Mapping[str, bytes], license: str | None = "apache-2.0") -> ServedRepository:
        """Serve a repository."""
        served = ServedRepository({name: ServedFile(content) for name, content in files.items()}, license)
        self.repositories[repo] = served
        return served

    def bodies(self) -> list[Request]:
        """The requests that were answered with content of files."""
        return [request for request in self.requests if request.is_content]

    def forget(self) -> None:
        self.requests.clear()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A hub on a free port, until the end of the block."""
    hub = HubServer()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        # Where this machine reaches the world through a proxy, it is not the world.
        with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
            yield hub
    finally:
        hub.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        if self.hub.silent:
            self.hub.stop.wait(30)
            self.close_connection = True
            return
        address = urlsplit(self.path)
        parts = unquote(address.path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4:], "blobs" in parse_qs(address.query))
        elif parts[0] == "large":
            self._content(self.hub.repositories["/".join(parts[1:3])], "/".join(parts[3:]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "")

    def _model(self, repo: str, rest: list[str], with_blobs: bool) -> None:
        served = self._served(repo, rest[1] if rest else "main")
        if served is not None:
            body = served.listing(repo, with_blobs) if served.body is None else served.body
            self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _served(self, repo: str, revision: str) -> ServedRepository | None:
        served = self.hub.repositories.get(repo)
        if served is None:
            # The real one does not say whether a repository is missing or private.
            self._refuse(401, "RepoNotFound")
        elif served.status != 200:
            self._refuse(served.status, served.error_code)
        elif revision not in {"main", served.commit}:
            self._refuse(404, "RevisionNotFound")
        else:
            return served
        return None

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        served = self._served(repo, revision)
        if served is None:
            return
        file = served.files.get(path)
        if file is None:
            self._refuse(404, "EntryNotFound")
        elif file.status != 200:
            self._refuse(file.status, file.error_code)
        elif file.large:
            size = len(file.content) if file.claimed_size is None else file.claimed_size
            headers = {
                "Location": f"{self.hub.url}/large/{repo}/{path}",
                "X-Repo-Commit": served.commit,
                "X-Linked-Etag": f'"{file.digest}"',
                "X-Linked-Size": str(size),
                # The hub offers Xet for every large file; a client that takes it up here gets nowhere.
                "X-Xet-Hash": "0" * 64,
                "X-Xet-Refresh-Route": f"{self.hub.url}/xet",
                "Content-Length": "0",
            }
            self._send(302, headers, b"")
        else:
            self._content(served, path)

    def _content(self, served: ServedRepository, path: str) -> None:
        file = served.files[path]
        body = file.content if file.delivered is None else file.delivered
        headers = {"ETag": f'"{file.digest}"', "X-Repo-Commit": served.commit, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if byte_range := self.headers.get("Range"):
            start = int(byte_range.removeprefix("bytes=").split("-")[0])
            if start >= len(body):
                self._refuse(416, "")
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        body = body[start:]
        headers["Content-Length"] = str(len(body))
        if self.command == "GET" and file.cuts:
            self._send(status, headers, body[: file.cuts.pop(0)])
            self.close_connection = True
        elif self.command == "GET" and file.silent_after is not None and file.silent_after < len(body):
            self._send(status, headers, body[: file.silent_after])
            self.hub.reached.set()
            self.hub.stop.wait(30)
            self.close_connection = True
        else:
            self._send(status, headers, body)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"Content-Length": "0", **({"X-Error-Code": code} if code else {})}, b"")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        sent = 0
        if self.command == "GET":
            self.wfile.write(body)
            self.wfile.flush()
            sent = len(body)
        seen = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, self.path, status, seen, sent))
