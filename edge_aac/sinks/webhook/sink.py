"""Posts records to an address on the web, signed, until the server has taken them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import Field

from edge_aac.credentials import Secret, SecretPlace
from edge_aac.errors import DeviceError, EdgeAacError
from edge_aac.records import Record
from edge_aac.sinks.message import Message
from edge_aac.sinks.remote import Receipts, RemoteFault, Spooled, SpooledSink, Window
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.webhook.answers import MessageRefused, judge
from edge_aac.sinks.webhook.request import Server, trust
from edge_aac.sinks.webhook.settings import TOKEN, WebhookSettings
from edge_aac.sinks.webhook.shapes import SHAPES

_USER_AGENT = "edge-aac"
_ENCODED_KEY = "whsec_"
_ID_CHARACTERS = 32

ACCESS_TOKEN = Secret("the token", "one line of ASCII characters")
SIGNING_KEY = Secret("the signing key")

_log = logging.getLogger(__name__)


class WebhookRemote:
    """The server as a place that messages are sent to, one after the other.

    Args:
        settings: see :class:`WebhookSettings`.

    Raises:
        EdgeAacError: a secret or the file of certificates cannot be read.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._shape = SHAPES[settings.shape]
        self._server = Server(settings.url, trust(settings.ca), settings.timeout_s)
        self._secrets()  # what cannot be read is told at the start

    def messages(self, record: Record) -> Sequence[Message]:
        """See :class:`edge_aac.sinks.remote.Remote`."""
        post = self._shape(record, self._settings.template, self._settings.chat)
        return [Message(record.kind, record.source, post.body, post.headers)]

    def send(self, messages: Sequence[Message], receipts: Receipts) -> None:
        """See :class:`edge_aac.sinks.remote.Remote`."""
        for message in messages:
            try:
                self._post(message)
            except MessageRefused as refusal:
                receipts.refused(message, str(refusal))
            else:
                receipts.acknowledged(message)

    def close(self) -> None:
        """See :class:`edge_aac.sinks.remote.Remote`."""
        self._server.close()

    def _post(self, message: Message) -> None:
        # Read each time: a secret that is exchanged needs no restart.
        try:
            token, key = self._secrets()
        except EdgeAacError as error:
            raise RemoteFault(str(error)) from error
        target = urlsplit(self._settings.url)._replace(scheme="", netloc="").geturl() or "/"
        headers = {"User-Agent": _USER_AGENT, **self._settings.headers, **message.properties}
        if token is not None and TOKEN in target:
            target = target.replace(TOKEN, quote(token, safe=":"))
        elif token is not None:
            headers["Authorization"] = f"Bearer {token}"
        headers |= signature(message, key, time.time())
        answer = self._server.post(target if target.startswith("/") else f"/{target}", message.payload, headers)
        judge(answer.status, answer.headers, self._server.host)

    def _secrets(self) -> tuple[str | None, bytes | None]:
        settings = self._settings
        token = None if settings.token is None else _read_token(settings.token)
        key = (
            None
            if settings.secret is None
            else signing_key(SecretPlace.parse(settings.secret).read(SIGNING_KEY).strip())
        )
        return token, key


def _read_token(place: str) -> str:
    where = SecretPlace.parse(place)
    token = where.read(ACCESS_TOKEN).strip()
    if not token.isascii():  # neither a header nor an address has room for others
        raise where.unusable(ACCESS_TOKEN)
    return token


def signing_key(text: str) -> bytes:
    """The key that a text stands for: base64 after ``whsec_``, else the text itself."""
    if text.startswith(_ENCODED_KEY):
        try:
            return base64.b64decode(text.removeprefix(_ENCODED_KEY), validate=True)
        except binascii.Error:
            _log.debug("the signing key is no base64: it is taken as it is")
    return text.encode()


def signature(message: Message, key: bytes | None, now_s: float) -> Mapping[str, str]:
    """The headers ``webhook-id``, ``webhook-timestamp`` and, with a key, ``webhook-signature``.

    As Standard Webhooks 1.0 has them: HMAC-SHA-256 of ``ID.TIMESTAMP.BODY``. The identity is the same whenever a
    message is posted again.

    Args:
        message: what is posted.
        key: of the signature; None leaves that out.
        now_s: Unix time in seconds.
    """
    parts = (message.topic.encode(), message.source.encode("utf-8", "surrogateescape"), message.payload)
    identity = hashlib.sha256(b"\0".join(parts)).hexdigest()[:_ID_CHARACTERS]
    headers = {"webhook-id": f"msg_{identity}", "webhook-timestamp": str(int(now_s))}
    if key is not None:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + message.payload
        mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        headers["webhook-signature"] = f"v1,{mac}"
    return headers


class WebhookSink(SpooledSink):
    """Posts records, each once the one before was taken; those that were not wait on disk.

    Args:
        settings: see :class:`WebhookSettings`.

    Raises:
        EdgeAacError: a secret or the file of certificates cannot be read, or another process uses the store.
    """

    Settings = WebhookSettings

    def __init__(self, settings: WebhookSettings) -> None:
        if settings.token is not None and not settings.url.startswith("https:"):
            _log.warning("the token is sent to %s unencrypted: use https", settings.host)
        for place, secret in ((settings.token, ACCESS_TOKEN), (settings.secret, SIGNING_KEY)):
            if place is not None:
                SecretPlace.parse(place).warn_if_open(secret)
        remote = WebhookRemote(settings)
        spool = Spool(settings.spool_file("webhook", settings.url), settings.spool_limits)
        # One at a time: after a fault there is one message at most that may arrive twice.
        super().__init__(Spooled(remote, spool, f"webhook {settings.host}", window=Window(messages=8)))

    @classmethod
    def open(cls, settings: WebhookSettings) -> WebhookSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: WebhookSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`: a message that says it is a test is posted."""
        remote = WebhookRemote(settings)
        try:
            trial = SHAPES[settings.shape](_Trial(node="doctor", source="doctor"), "{sentence}", settings.chat)
            taken: list[str | None] = []
            remote.send([Message("doctor", "doctor", trial.body, trial.headers)], _Receipt(taken))
        finally:
            remote.close()
        if taken[0] is not None:
            raise DeviceError(f"{taken[0]}: the server takes no such messages, correct the shape or the address")
        return f"a test message was posted to {settings.host}, which took it"


class _Trial(Record):
    """What the doctor posts."""

    schema_: Literal["edge-aac/doctor/1"] = Field(default="edge-aac/doctor/1", alias="schema")

    def sentence(self) -> str:
        return "edge-aac tests this address; nothing was heard"


class _Receipt:
    """Keeps None for a message that was taken, or the reason why not."""

    def __init__(self, kept: list[str | None]) -> None:
        self._kept = kept

    def acknowledged(self, message: Message) -> None:
        self._kept.append(None)

    def refused(self, message: Message, reason: str) -> None:
        self._kept.append(reason)
