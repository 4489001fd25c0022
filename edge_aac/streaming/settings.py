"""The sections of a stream: ``[stream]``, ``[[sources]]``, ``[[sinks]]`` and ``[health]``."""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, field_validator

_OF_STREAM = "that of [stream]"


def _text(value: object) -> str:
    """A text that may hold bytes of a file's name that are no UTF-8; pydantic's own would refuse it."""
    if not isinstance(value, str):
        raise ValueError("an address is a text")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")


class StreamSettings(_Section):
    """Settings of every source; a source's own table overrules them."""

    device: str = Field(
        default="mic0",
        min_length=1,
        description="Address of the one source that is heard where there are no [[sources]].",
    )
    node: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        description="Name of this device in the records.",
        examples=["kitchen"],
        json_schema_extra={"flag": "--node", "env": "EDGE_AAC_NODE", "absent": "the host's name"},
    )
    hop_s: float = Field(
        default=2.0,
        ge=0.1,
        le=3600.0,
        description="Seconds from one 10 s window to the next.",
        json_schema_extra={"flag": "--hop", "env": "EDGE_AAC_HOP", "unit": "s"},
    )
    silence_dbfs: float = Field(
        default=-70.0,
        ge=-120.0,
        le=0.0,
        description="Windows whose loudest 0.1 s is below this level, A-weighted, are not captioned: DC and rumble "
        "do not count.",
        json_schema_extra={"flag": "--silence-dbfs", "env": "EDGE_AAC_SILENCE_DBFS", "unit": "dBFS"},
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Captions with a lower hybrid score are not published.",
        examples=[0.1],
        json_schema_extra={"flag": "--min-score", "env": "EDGE_AAC_MIN_SCORE", "absent": "all are published"},
    )
    familiar_only: bool = Field(
        default=False,
        description="Publish nothing of windows in which nothing familiar is heard, not even an unknown sound.",
        json_schema_extra={"flag": "--familiar-only/--unfamiliar-too", "env": "EDGE_AAC_FAMILIAR_ONLY"},
    )
    same_similarity: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="Phrases at least this alike (cosine) name the same sound, which is one event while it goes on.",
        examples=[0.6],
        json_schema_extra={
            "flag": "--same-similarity",
            "env": "EDGE_AAC_SAME_SIMILARITY",
            "absent": "the bundle's own",
        },
    )
    wait_for_device: bool | None = Field(
        default=None,
        description="Wait at the start until a microphone or another live source is there; false: end with exit code "
        "69 where none can be heard.",
        examples=[True],
        json_schema_extra={
            "flag": "--wait/--no-wait",
            "env": "EDGE_AAC_WAIT_FOR_DEVICE",
            "absent": "true under a service manager",
        },
    )


class SourceSettings(_Section):
    """A source of sound; an array of tables."""

    ARRAY: ClassVar[bool] = True
    UNIQUE: ClassVar[tuple[str, ...]] = ("name",)

    address: Annotated[str, PlainValidator(_text)] = Field(
        min_length=1,
        description="What is listened to: mic0, mic1 …, alsa:hw:1,0, usb-id:0d8c:0014, usb-path:1-1.2, rtsp://…, "
        "http://…, serial:PATH, udp://HOST:PORT, file:PATH, stdin:[?rate=44100&channels=2] or demo:.",
        examples=["mic0"],
        json_schema_extra={
            "flag": "--device",
            "metavar": "ADDRESS",
            "env": "EDGE_AAC_DEVICE",
            "absent": "the configuration's, else mic0",
        },
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the source in the records.",
        examples=["garden"],
        json_schema_extra={"absent": "made from the address"},
    )
    hop_s: float | None = Field(
        default=None,
        ge=0.1,
        le=3600.0,
        description="Seconds from one 10 s window of this source to the next.",
        examples=[2.0],
        json_schema_extra={"unit": "s", "absent": _OF_STREAM},
    )
    silence_dbfs: float | None = Field(
        default=None,
        ge=-120.0,
        le=0.0,
        description="Windows of this source whose loudest 0.1 s is below this A-weighted level are not captioned.",
        examples=[-70.0],
        json_schema_extra={"unit": "dBFS", "absent": _OF_STREAM},
    )
    enabled: bool = Field(default=True, description="false: the source is not listened to.")

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str | None) -> str | None:
        # Names are printed on terminals and stand in topics.
        if name is not None and any(unicodedata.category(character) == "Cc" for character in name):
            raise ValueError("a name has no control characters")
        return name


class SinkSettings(_Section):
    """A sink of records; an array of tables.

    What a table holds beside ``kind`` belongs to that sink, and is validated by the sink's own model.
    """

    ARRAY: ClassVar[bool] = True
    KINDS: ClassVar[str] = "edge_aac.sinks"
    DEFAULT_KIND: ClassVar[str] = "stdout"

    kind: str = Field(
        description="Where records go: stdout, jsonl:PATH, mqtt:URL, webhook:URL, exec:PROGRAM, syslog, journal, "
        "bridge, or another sink that is installed.",
        examples=["stdout"],
        json_schema_extra={
            "flag": "--sink",
            "metavar": "KIND[:TEXT]",
            "env": "EDGE_AAC_SINK",
            "absent": "the configuration's, else standard output",
        },
    )


class HealthSettings(_Section):
    """Settings of health records."""

    interval_s: float = Field(
        default=60.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds between two health records of a source; 0: none.",
        json_schema_extra={"flag": "--health-interval", "env": "EDGE_AAC_HEALTH_INTERVAL", "unit": "s"},
    )


@dataclass(frozen=True)
class ConfiguredSource:
    """A source with every setting decided.

    Attributes:
        address: address of the source.
        name: name from the configuration; None where the address names the source.
        hop_s: seconds from one window to the next.
        silence_dbfs: windows whose loudest 0.1 s is below this A-weighted level are not captioned.
    """

    address: str
    name: str | None
    hop_s: float
    silence_dbfs: float


def configured_sources(stream: StreamSettings, sources: Sequence[SourceSettings]) -> tuple[ConfiguredSource, ...]:
    """The sources that are enabled, with what ``[stream]`` has for all of them.

    Without any ``sources`` the device of ``[stream]`` is the one source. The result is empty where all are disabled.
    """
    listed = sources or [SourceSettings(address=stream.device)]
    return tuple(
        ConfiguredSource(
            source.address,
            source.name,
            stream.hop_s if source.hop_s is None else source.hop_s,
            stream.silence_dbfs if source.silence_dbfs is None else source.silence_dbfs,
        )
        for source in listed
        if source.enabled
    )
