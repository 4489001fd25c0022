"""``[[sinks]]`` of kind ``mqtt``."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from edge_aac.credentials import SecretPlace
from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.sinks.mqtt.entity_names import parse_names
from edge_aac.sinks.mqtt.topics import Topics, fault_of_root, segment
from edge_aac.sinks.spool_settings import SpooledSettings

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_HOST = re.compile(r"[A-Za-z0-9_.:%~-]+")


@dataclass(frozen=True)
class Broker:
    """A broker's address.

    Attributes:
        host: its name or IP address, the latter without brackets.
        port: its port.
        tls: whether the connection is encrypted.
        path: the path of its WebSocket; None for MQTT over TCP.
    """

    host: str
    port: int
    tls: bool
    path: str | None

    @property
    def label(self) -> str:
        """Host and port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> Broker:
    """Reads a broker's address.

    Raises:
        ValueError: it is none. The address is not shown: it may hold a password.
    """
    forms = "write mqtt://HOST, mqtts://HOST, ws://HOST/PATH or wss://HOST/PATH"
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"the broker's address cannot be read: {forms}, with :PORT after the host") from error
    if parts.scheme not in _PORTS:
        raise ValueError(f"the broker's address has another scheme: {forms}")
    if "@" in parts.netloc:
        raise ValueError('user and password are not written into the address: use credentials = "file:PATH"')
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
        raise ValueError(f"the broker's address has no usable host or port: {forms}")
    web = parts.scheme in {"ws", "wss"}
    if parts.fragment or (not web and (parts.path.strip("/") or parts.query)):
        raise ValueError("the broker's address ends with its host and port: topics are given by 'root'")
    path = (parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("the path of the WebSocket has characters that no address has: percent-encode them")
    return Broker(parts.hostname, port or _PORTS[parts.scheme], parts.scheme in {"mqtts", "wss"}, path if web else None)


class MqttSettings(SpooledSettings):
    """Records are published to an MQTT broker, each source under a topic of its own."""

    records: tuple[str, ...] = Field(
        default=("caption", "event", "alert", "health"), description="Kinds of record that the sink takes."
    )
    url: str = Field(
        description="Broker: mqtt://HOST, mqtts://HOST (TLS), ws://HOST/PATH or wss://HOST/PATH, :PORT after the host.",
        examples=["mqtts://broker.home:8883"],
    )
    credentials: str | None = Field(
        default=None,
        description="Where user and password are read from: file:PATH or env:NAME, one line USER:PASSWORD.",
        examples=["file:/etc/edge-aac/credentials/mqtt"],
        # It names a place; but whoever writes the password itself there must not see it in the message.
        json_schema_extra={"absent": "none are sent", "secret": True},
    )
    ca: Path | None = Field(
        default=None,
        description="Certificate authorities (PEM) that the broker's certificate is checked with.",
        examples=["/etc/edge-aac/ca.pem"],
        json_schema_extra={"absent": "the system's"},
    )
    certificate: Path | None = Field(
        default=None,
        description="This client's certificate (PEM), for brokers that ask for one.",
        examples=["/etc/edge-aac/client.pem"],
        json_schema_extra={"absent": "none is shown"},
    )
    key: Path | None = Field(
        default=None,
        description="Private key (PEM, without a passphrase) of the certificate.",
        examples=["/etc/edge-aac/client.key"],
        json_schema_extra={"absent": "it stands in the file of the certificate"},
    )
    check_host_name: bool = Field(default=True, description="false: a certificate of another host's name will do.")
    root: str = Field(default="edge-aac", description="What all topics begin with, before the node.")
    node: str | None = Field(
        default=None,
        min_length=1,
        description="Name of this device in topics.",
        examples=["kitchen"],
        json_schema_extra={"absent": "that of [stream]"},
    )
    client_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Name of this client at the broker, which no other client has.",
        examples=["edge-aac-kitchen"],
        json_schema_extra={"absent": "edge-aac- and the node"},
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="Version of MQTT; auto: 5, and 3.1.1 where the broker knows no 5."
    )
    qos: int = Field(default=1, ge=0, le=1, description="1: each record is confirmed by the broker; 0: none is.")
    retain: bool = Field(
        default=True, description="The broker keeps the newest caption, alert and health of each source."
    )
    state_expiry_s: int = Field(
        default=86_400,
        ge=0,
        le=4_294_967_294,
        description="Age at which the broker drops a kept caption or health record (MQTT 5); 0: never.",
        json_schema_extra={"unit": "s"},
    )
    session_expiry_s: int = Field(
        default=86_400,
        ge=0,
        le=4_294_967_294,
        description="How long the broker keeps commands while this device is away.",
        json_schema_extra={"unit": "s"},
    )
    keepalive_s: int = Field(
        default=30,
        ge=5,
        le=3600,
        description="A connection that is silent for twice this long is taken for dead.",
        json_schema_extra={"unit": "s"},
    )
    connect_s: float = Field(
        default=10.0,
        ge=0.5,
        le=300.0,
        description="Longest time for the connection, its encryption and the broker's answer, each.",
        json_schema_extra={"unit": "s"},
    )
    confirm_s: float = Field(
        default=20.0,
        ge=0.5,
        le=600.0,
        description="A connection on which a record is not confirmed for this long is made anew.",
        json_schema_extra={"unit": "s"},
    )
    in_flight: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Records that are on their way at once.",
        json_schema_extra={"unit": "records"},
    )
    payload_limit: int = Field(
        default=131_072,
        ge=1024,
        le=268_435_455,
        description="Longer records are not sent, and counted as dropped.",
        json_schema_extra={"unit": "bytes"},
    )
    commands: bool = Field(
        default=False,
        description="Take commands from topics .../set/...: who may publish there can pause listening.",
    )
    discovery: bool = Field(default=True, description="Announce the device and its sources to Home Assistant.")
    discovery_prefix: str = Field(
        default="homeassistant", description="What Home Assistant's topics of discovery begin with."
    )
    discovery_form: Literal["device", "components"] = Field(
        default="device", description="device: Home Assistant 2024.11 and later; components: older ones too."
    )
    device_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Name of this device in Home Assistant.",
        examples=["Kitchen"],
        json_schema_extra={"absent": "the node"},
    )
    entity_names: tuple[str, ...] = Field(
        default=(),
        description="Names of entities in Home Assistant, each KEY=NAME.",
        examples=[["caption=Gehört"]],
        json_schema_extra={"absent": "English ones"},
    )

    @field_validator("url")
    @classmethod
    def _a_broker(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("credentials")
    @classmethod
    def _a_place(cls, credentials: str | None) -> str | None:
        if credentials is not None:
            SecretPlace.parse(credentials)
        return credentials

    @field_validator("root", "discovery_prefix")
    @classmethod
    def _a_topic(cls, root: str) -> str:
        if fault := fault_of_root(root):
            raise ValueError(f"the beginning of a topic {fault}")
        return root

    @field_validator("entity_names")
    @classmethod
    def _names(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        parse_names(texts)
        return texts

    @field_validator("client_id")
    @classmethod
    def _a_client(cls, client_id: str | None) -> str | None:
        if client_id is not None and not client_id.isprintable():
            raise ValueError("the name of a client has no control characters")
        return client_id

    @model_validator(mode="after")
    def _consistent(self) -> MqttSettings:
        if self.key is not None and self.certificate is None:
            raise ValueError("there is a 'key', but no 'certificate': give both or neither")
        tls = [name for name in ("ca", "certificate") if getattr(self, name) is not None]
        if tls and not self.broker.tls:
            raise ValueError(f"there is a '{tls[0]}', but the address is not encrypted: use mqtts:// or wss://")
        return self

    @classmethod
    def parse(cls, rest: str) -> MqttSettings:
        """Settings from ``URL`` of ``mqtt:URL``."""
        if not rest:
            raise ValueError("the address of a broker must follow: mqtt:mqtt://HOST")
        return cls(url=rest)

    def for_node(self, node: str) -> MqttSettings:
        """These settings with the name of the device, where they have none of their own."""
        return self if self.node is not None else self.model_copy(update={"node": node})

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        how = "encrypted" if self.broker.tls else "not encrypted"
        who = "Who may publish there can change how sources are listened to." if self.commands else ""
        kept = ", which keeps the newest caption, alert and health of each source" if self.retain else ""
        goes = f'{self.records_in_words} go, {how}, to the MQTT broker "{self.broker.label}"{kept}.'
        return f"{goes} {self.waits_in_words} {who}"

    @property
    def broker(self) -> Broker:
        """The broker's address."""
        return parse_url(self.url)

    @property
    def topics(self) -> Topics:
        """Topics of this device."""
        return Topics(self.root, self.node or socket.gethostname())

    @property
    def client(self) -> str:
        """Name of this client at the broker."""
        return self.client_id or f"edge-aac-{segment(self.topics.node)}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What the broker's certificate is checked with, and what it is shown; None without TLS.

        Raises:
            InputMissingError: a file is not there.
            ConfigError: a file holds no certificate or key.
        """
        if not self.broker.tls:
            return None
        context = ssl.create_default_context()
        try:
            if self.ca is not None:
                context = ssl.create_default_context(cafile=str(self.ca.expanduser()))
        except ssl.SSLError as error:
            raise ConfigError(f"'{self.ca}' holds no certificates of authorities (PEM): correct 'ca'") from error
        except OSError as error:
            raise InputMissingError(f"'{self.ca}' cannot be read ({error.strerror}): correct 'ca'") from error
        context.check_hostname = self.check_host_name
        if self.certificate is None:
            return context
        key = self.key or self.certificate
        try:
            # Without the function OpenSSL would ask for the passphrase on the terminal.
            context.load_cert_chain(self.certificate.expanduser(), key.expanduser(), password=lambda: b"")
        except ssl.SSLError as error:
            raise ConfigError(
                f"'{self.certificate}' and '{key}' are no certificate and its key (PEM, without a passphrase): correct "
                "'certificate' and 'key'"
            ) from error
        except OSError as error:
            raise InputMissingError(
                f"'{self.certificate}' or '{key}' cannot be read ({error.strerror}): correct 'certificate' and 'key'"
            ) from error
        return context
