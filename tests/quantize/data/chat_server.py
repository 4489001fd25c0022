"""A language model on this machine: answers chat completions over HTTP as it is told to, and remembers who asked."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


@dataclass(frozen=True)
class Reply:
    """An answer of the server.

    Attributes:
        text: content of the completion.
        status: of the response; where it is not 200, ``body`` is all there is.
        body: sent in place of a completion.
        headers: beside the usual ones.
        silent: nothing is sent until the server stops.
        broken: the connection ends in the middle of the body.
    """

    text: str = ""
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    broken: bool = False

    @property
    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return b""
        return json.dumps({"choices": [{"message": {"role": "assistant", "content": self.text}}]}).encode()


@dataclass(frozen=True)
class ChatRequest:
    """A request that came in."""

    path: str
    authorization: str | None
    body: dict[str, object]

    @property
    def prompt(self) -> str:
        return self.body["messages"][0]["content"]  # type: ignore[index]


@dataclass
class ChatServer:
    """The running server.

    Attributes:
        base_url: for :class:`quantize.data.llm.LlmEndpoint`.
        script: replies in the order of the requests; when they are used up, ``answer`` decides.
        answer: reply to a prompt.
        requests: what was asked, in the order of arrival.
        most_at_once: requests that were under way at the same time.
        stop: ends all silence.
        silence: set when a request is left without an answer.
    """

    base_url: str = ""
    script: list[Reply] = field(default_factory=list)
    answer: Callable[[str], Reply] = lambda prompt: Reply(f"answer to {prompt}")
    requests: list[ChatRequest] = field(default_factory=list)
    at_once: int = 0
    max_at_once: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    silence: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server on a free port, until the end of the block."""
    chat = ChatServer()

    class Handler(_Handler):
        pass

    Handler.chat = chat
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        # Where this machine reaches the world through a proxy, it is not the world.
        with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
            yield chat
    finally:
        chat.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        chat = self.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = ChatRequest(self.path, self.headers.get("Authorization"), body)
        with chat.lock:
            chat.requests.append(request)
            chat.at_once += 1
            chat.max_at_once = max(chat.max_at_once, chat.at_once)
            scripted = chat.script.pop(0) if chat.script else None
        try:
            self._reply(chat.answer(request.prompt) if scripted is None else scripted)
        finally:
            with chat.lock:
                chat.at_once -= 1

    def _reply(self, reply: Reply) -> None:
        if reply.silent:
            self.chat.silence.set()
            self.chat.stop.wait(300)
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content[: len(reply.content) // 2] if reply.broken else reply.content)
