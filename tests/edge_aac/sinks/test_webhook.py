"""Records posted to a real web server, which fails in every way that one can."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_aac.sinks import remote
from edge_aac.sinks.contract import TransientSinkError
from edge_aac.sinks.webhook.settings import WebhookSettings
from edge_aac.sinks.webhook.sink import WebhookSink
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.web_server import Behaviour, WebServer, answer, make_certificate, raw
from tests.waiting import until

_needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(autouse=True)
def nothing_arrives_in_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that is closed while the server fails waits a tenth of a second for it, not two."""
    monkeypatch.setattr(remote, "_OUTAGE_HASTE", 100)


@pytest.fixture
def serve() -> Iterator[Callable[..., WebServer]]:
    servers: list[WebServer] = []

    def begin(*plan: Behaviour, certificate: tuple[Path, Path] | None = None) -> WebServer:
        servers.append(WebServer(*plan, certificate=certificate))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., WebhookSettings]:
    def make(url: str, **keys: Any) -> WebhookSettings:
        return WebhookSettings(url=url, spool_path=tmp_path / "spool.sqlite", **keys)

    return make


def _seqs(server: WebServer) -> list[int]:
    return [request.table["seq"] for request in server.requests]


def test_records_are_posted_in_order_over_one_connection(serve: Any, settings: Any) -> None:
    server = serve()
    sink = WebhookSink.open(settings(server.url("/hook?room=1"), headers={"X-Room": "kitchen"}))
    records = [caption_record(seq, caption="ein Hund bellt – ♪") for seq in range(20)]
    for record in records:
        sink.publish(record)
    sink.close()
    assert [request.body for request in server.requests] == [record.to_json().encode() for record in records]
    first = server.requests[0]
    assert (first.path, first.headers["x-room"]) == ("/hook?room=1", "kitchen")
    assert first.headers["content-type"] == "application/json"
    assert server.connections == 1
    assert (sink.status.delivered, sink.status.dropped) == (20, 0)


_CLOSED = raw(b"")
_FAULTS: dict[str, Behaviour] = {
    "error of the server": answer(500),
    "away for a moment": answer(503, retry_after="0"),
    "too many": answer(429, b"slow down"),
    "closed before an answer": _CLOSED,
    "closed within the head": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "closed within the body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"),
    "no HTTP": raw(b"220 mail.example ESMTP ready\r\n"),
    "noise": raw(bytes(range(256)) * 4),
    "an endless head": raw(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: 1\r\n" * 10_000),
    "a long line": raw(b"HTTP/1.1 200 " + b"O" * 100_000),
    "a code that is none": raw(b"HTTP/1.1 999999 ?\r\n\r\n"),
    "a wrong length": raw(b"HTTP/1.1 500 OK\r\nContent-Length: many\r\n\r\n"),
    "wrong chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
}


@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
def test_whatever_fails_each_record_arrives_in_the_end(serve: Any, settings: Any, fault: Behaviour) -> None:
    server = serve(answer(200), fault)
    sink = WebhookSink.open(settings(server.url()))
    for seq in range(4):
        sink.publish(caption_record(seq))
    until(lambda: sink.status.queued == 0)
    sink.close()
    assert _seqs(server) in ([0, 1, 1, 2, 3], [0, 1, 2, 3]) and sink.status.delivered == 4
    posted_twice = [request.headers["webhook-id"] for request in server.requests if request.table["seq"] == 1]
    assert len(set(posted_twice)) == 1, "the receiver can tell that it is the same"


def test_a_connection_that_the_server_closes_between_two_records_is_no_fault(
    serve: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(*[raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")] * 5)
    sink = WebhookSink.open(settings(server.url()))
    for seq in range(5):
        sink.publish(caption_record(seq))
        until(lambda: sink.status.queued == 0)
    sink.close()
    assert (_seqs(server), sink.status.retries, caplog.text) == ([0, 1, 2, 3, 4], 0, "")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_record_that_the_server_refuses_holds_up_no_other(
    serve: Any, settings: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(answer(200), answer(status), answer(200))
    sink = WebhookSink.open(settings(server.url()))
    for seq in range(3):
        sink.publish(caption_record(seq))
    sink.close()
    assert _seqs(server) == [0, 1, 2]
    assert (sink.status.delivered, sink.status.dropped, sink.status.queued) == (2, 1, 0)
    assert f"127.0.0.1 answers {status}" in caplog.text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "correct the token"),
        (403, "correct the token"),
        (404, "correct the address"),
        (302, "correct the address"),
    ],
)
def test_what_a_person_must_mend_loses_nothing_and_is_not_asked_again_and_again(
    serve: Any, settings: Any, status: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(*[answer(status, location="http://127.0.0.1:1/")] * 100)
    sink = WebhookSink.open(settings(server.url()))
    sink.publish(caption_record(0))
    sink.publish(caption_record(1))
    until(lambda: sink.status.state == "retrying")
    assert not threading.Event().wait(0.8)  # the usual pause is at most half a second
    assert (len(server.requests), sink.status.queued, sink.status.dropped) == (1, 2, 0)
    assert words in (sink.status.reason or "")
    assert len([line for line in caplog.records if line.levelno >= logging.WARNING]) == 1
    sink.close()
    assert "2 messages wait on disk for the next start" in caplog.text
    mended = serve()
    sink = WebhookSink.open(settings(mended.url()))
    until(lambda: sink.status.queued == 0)
    sink.close()
    assert _seqs(mended) == [0, 1]


def test_the_server_says_how_long_to_wait(serve: Any, settings: Any) -> None:
    server = serve(answer(503, retry_after="3600"))
    sink = WebhookSink.open(settings(server.url()))
    sink.publish(caption_record(0))
    until(lambda: sink.status.state == "retrying")
    assert not threading.Event().wait(0.8)
    assert len(server.requests) == 1
    sink.close()


@pytest.mark.parametrize("talks", [False, True])
def test_a_server_that_never_comes_to_an_end_is_left(
    serve: Any, settings: Any, talks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()

    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.2):
            if talks:
                handler.wfile.write(b"X")
                handler.wfile.flush()

    server = serve(endless)
    sink = WebhookSink.open(settings(server.url(), timeout_s=1.0))
    sink.publish(caption_record(0))
    until(lambda: "did not" in caplog.text)
    until(lambda: sink.status.queued == 0)
    over.set()
    sink.close()


def test_a_server_that_is_not_there_yet(tmp_path: Path, settings: Any, serve: Any) -> None:
    server = serve()
    port = server.port
    server.close()
    sink = WebhookSink.open(settings(f"http://127.0.0.1:{port}/"))
    sink.publish(caption_record(0))
    until(lambda: sink.status.state == "retrying")
    assert sink.status.reason == "127.0.0.1 cannot be reached (Connection refused)"
    sink.close()


def test_what_is_posted_is_signed_so_that_others_can_verify_it(
    serve: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"\x00\x01 a key \xff"
    monkeypatch.setenv("HOOK_KEY", "whsec_" + base64.b64encode(key).decode())
    (tmp_path / "token").write_text("t0ken\n")
    server = serve()
    sink = WebhookSink.open(settings(server.url(), secret="env:HOOK_KEY", token=f"file:{tmp_path}/token"))
    sink.publish(caption_record(0))
    until(lambda: sink.status.queued == 0)
    (tmp_path / "token").write_text("another\n")  # no restart is needed
    sink.publish(caption_record(1))
    sink.close()
    for request, token in zip(server.requests, ("t0ken", "another"), strict=True):
        headers = request.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert headers["authorization"] == f"Bearer {token}"


def test_the_shapes_that_people_read(serve: Any, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("12:a/b?c")
    record = caption_record(0, caption="@everyone <b> ein Hund").model_copy(update={"node": "küche"})
    posted = {}
    for shape in ("ntfy", "discord", "slack", "telegram", "text"):
        server = serve()
        keys = {"token": f"file:{tmp_path}/token", "chat": "-100"}
        sink = WebhookSink.open(
            settings(server.url("/bot{token}/send"), shape=shape, template="{source}: {sentence}", **keys)
        )
        sink.publish(record)
        sink.close()
        posted[shape] = server.requests[0]
        assert posted[shape].path == "/bot12:a%2Fb%3Fc/send"
        assert "authorization" not in posted[shape].headers
        (tmp_path / "spool.sqlite").unlink()
    text = f"{record.source}: {record.sentence()}"
    assert posted["text"].body.decode() == posted["ntfy"].body.decode() == text
    assert posted["ntfy"].headers["title"] == "=?UTF-8?B?a8O8Y2hl?="
    assert posted["discord"].table == {"content": text, "allowed_mentions": {"parse": []}}
    assert posted["telegram"].table == {"chat_id": "-100", "text": text}
    assert posted["slack"].table == {"text": text.replace("<", "&lt;").replace(">", "&gt;")}


@_needs_openssl
@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("IP:127.0.0.1", True, None),
        ("IP:127.0.0.1", False, "self-signed|self signed"),
        ("DNS:elsewhere.example", True, "IP address mismatch"),
    ],
)
def test_the_certificate_is_verified(
    serve: Any, settings: Any, tmp_path: Path, name: str, trusted: bool, words: str | None
) -> None:
    certificate = make_certificate(tmp_path / "tls", name)
    server = serve(certificate=certificate)
    sink = WebhookSink.open(settings(server.url(), ca=certificate[0] if trusted else None))
    sink.publish(caption_record(0))
    if words is None:
        until(lambda: sink.status.delivered == 1)
    else:
        until(lambda: sink.status.state == "retrying")
        reason = sink.status.reason or ""
        assert "the certificate of 127.0.0.1 is not accepted" in reason
        assert any(word in reason for word in words.split("|")), reason
        assert server.requests == []
    sink.close()


def test_no_secret_is_told(
    serve: Any, tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_TOKEN", "hunter2-token")
    monkeypatch.setenv("HOOK_KEY", "hunter2-key")
    server = serve(answer(500), answer(401))
    made = settings(server.url("/hunter2-path/{token}"), token="env:HOOK_TOKEN", secret="env:HOOK_KEY")
    sink = WebhookSink.open(made)
    sink.publish(caption_record(0))
    until(lambda: sink.status.retries == 2)
    sink.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("spool*"))
    for place in (caplog.text, str(sink.status), made.leaves(), stored.decode("latin-1")):
        assert "hunter2" not in place


def test_the_doctor_posts_a_message_that_says_what_it_is(serve: Any, settings: Any) -> None:
    server = serve()
    assert "which took it" in WebhookSink.check(settings(server.url()))
    assert server.requests[0].table["schema"] == "edge-aac/doctor/1"
    with pytest.raises(TransientSinkError, match="401"):
        WebhookSink.check(settings(serve(answer(401)).url()))
    with pytest.raises(Exception, match="400 Bad Request: the server takes no such messages"):
        WebhookSink.check(settings(serve(answer(400)).url(), shape="text"))
