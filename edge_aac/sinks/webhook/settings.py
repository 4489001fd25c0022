"""Settings of the sink that posts records to an address on the web."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edge_aac.credentials import SecretPlace
from edge_aac.sinks.spool_settings import SpooledSettings
from edge_aac.sinks.webhook.shapes import SHAPES, checked_template

TOKEN = "{token}"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {"content-length", "host", "transfer-encoding", "connection", "webhook-id", "webhook-timestamp"}


class WebhookSettings(SpooledSettings):
    """``[[sinks]]`` of kind ``webhook``.

    Attributes:
        url: address that each record is posted to; ``{token}`` in it stands for the token.
        shape: form of what is posted.
        template: text of a message in shapes that are read by people; ``{sentence}``, ``{source}`` and so on stand for
            what the record holds.
        chat: chat that Telegram is to show the text in.
        token: ``file:PATH`` or ``env:NAME`` of a token: it takes the place of ``{token}`` in the address, or is sent as
            ``Authorization: Bearer`` where the address has none.
        secret: ``file:PATH`` or ``env:NAME`` of the key that what is posted is signed with.
        headers: further headers.
        ca: file of the certificates that the server's own must come from; None trusts those of the system.
        timeout_s: seconds that the server may be silent for.
    """

    records: tuple[str, ...] = Field(default=("event", "alert"), description="Kinds of record that the sink takes.")
    url: str = Field(
        description="Address to post to; {token} in it stands for the token.",
        examples=["https://ntfy.sh/my-kitchen"],
        json_schema_extra={"secret": True},
    )
    shape: str = Field(default="json", description=f"Form of what is posted: {', '.join(SHAPES)}.")
    template: str = Field(default="{line}", description="Text in shapes that people read.")
    chat: str | None = Field(
        default=None,
        description="Chat of the shape telegram.",
        examples=["123456789"],
        json_schema_extra={"absent": "none"},
    )
    token: str | None = Field(
        default=None,
        description="Place of a token: file:PATH or env:NAME.",
        examples=["file:/etc/edge-aac/credentials/hook-token"],
        # Here and below: whoever writes the secret itself must not see it in a message.
        json_schema_extra={"absent": "none is sent", "secret": True},
    )
    secret: str | None = Field(
        default=None,
        description="Place of the signing key: file:PATH or env:NAME.",
        examples=["file:/etc/edge-aac/credentials/hook-key"],
        json_schema_extra={"absent": "nothing is signed", "secret": True},
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Further headers.",
        examples=[{"X-Room": "kitchen"}],
        json_schema_extra={"absent": "none"},
    )
    ca: Path | None = Field(
        default=None,
        description="Certificate authorities (PEM) that the server's certificate is checked with.",
        examples=["/etc/edge-aac/ca.pem"],
        json_schema_extra={"absent": "the system's"},
    )
    timeout_s: float = Field(
        default=15.0,
        ge=1.0,
        le=300.0,
        description="Time that the server may be silent for.",
        json_schema_extra={"unit": "s"},
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        # The address itself is not repeated: it may hold a secret.
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("it must be plain ASCII: write other characters as %XX")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError("it is no address") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueError("it must begin with https://HOST or http://HOST")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password do not stand in the address: name their place with token")
        if "{" in parts.netloc:
            raise ValueError("the host's name holds no token")
        if parts.fragment:
            raise ValueError("nothing may follow a #")
        return url

    @field_validator("shape")
    @classmethod
    def _shape(cls, shape: str) -> str:
        if shape not in SHAPES:
            raise ValueError(f"there is no shape {shape!r}: use {', '.join(SHAPES)}")
        return shape

    @field_validator("template")
    @classmethod
    def _template(cls, template: str) -> str:
        return checked_template(template)

    @field_validator("token", "secret")
    @classmethod
    def _place(cls, place: str | None) -> str | None:
        if place is not None:
            SecretPlace.parse(place)
        return place

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS:
                raise ValueError(f"{name!r} cannot be set here")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {name} must be plain ASCII")
        return headers

    @model_validator(mode="after")
    def _together(self) -> WebhookSettings:
        if TOKEN in self.url and self.token is None:
            raise ValueError(f"url holds {TOKEN}, and token does not say where it is")
        if self.shape == "telegram" and not self.chat:
            raise ValueError("the shape telegram needs a chat")
        return self

    @property
    def host(self) -> str:
        """Name of the server, without anything that may be secret."""
        return urlsplit(self.url).hostname or ""

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        plain = "" if self.url.startswith("https:") else ", unencrypted"
        return f"{self.records_in_words} are sent to {self.host}{plain}. {self.waits_in_words}"

    @classmethod
    def parse(cls, rest: str) -> WebhookSettings:
        """Settings from ``https://…`` of ``webhook:https://…``."""
        if not rest:
            raise ValueError("an address must follow: webhook:https://HOST/PATH")
        return cls(url=rest)
