"""What every sink promises, and how a kind of sink is found by its name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_aac.errors import ConfigError, EdgeAacError, first_complaint
from edge_aac.records import Record, known_kinds

ENTRY_POINT_GROUP = "edge_aac.sinks"


class TransientSinkError(Exception):
    """A delivery failed for a reason that may pass: the same record is delivered again later."""


class Sink(Protocol):
    """Where records go. One thread at a time uses it."""

    def publish(self, record: Record) -> None:
        """Deliver one record; may block.

        Raises:
            TransientSinkError: not now; the caller keeps the record and tries again.
            Exception: the sink can never deliver again.
        """

    def close(self) -> None:
        """Flush and let go."""


class SinkSettings(BaseModel):
    """What the configuration may say of any sink; a kind of sink adds its own keys in a subclass.

    Attributes:
        records: the kinds of record that the sink takes.
        queue_records: how many records may wait for the sink; then the oldest of live sources are dropped and counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: tuple[str, ...] = Field(default=("caption",), description="Kinds of record that the sink takes.")
    queue_records: int = Field(
        default=256, ge=8, le=1_000_000, description="Records that may wait before the oldest are dropped."
    )

    @field_validator("records")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in known_kinds():
                raise ValueError(f"there is no kind of record {kind!r}: use {', '.join(known_kinds())}")
        return kinds

    @classmethod
    def parse(cls, rest: str) -> dict[str, Any]:
        """Read what follows the kind in a short form such as ``jsonl:PATH``, as a table of this class's keys.

        Raises:
            ValueError: this kind of sink takes nothing there.
        """
        if rest:
            raise ValueError("nothing may follow this kind of sink")
        return {}


class SinkKind(Protocol):
    """What the entry-point group ``edge_aac.sinks`` registers under the name of a kind of sink."""

    Settings: ClassVar[type[SinkSettings]]

    @classmethod
    def open(cls, settings: Any) -> Sink:
        """Open a sink from an instance of :attr:`Settings`.

        Raises:
            EdgeAacError: it cannot be opened, and trying again would not help.
        """


def sink_kinds() -> list[str]:
    """The kinds of sink that edge-aac and the installed packages register, sorted."""
    return sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)})


def sink_kind(name: str) -> SinkKind:
    """The class of a kind of sink.

    Raises:
        ConfigError: no package registers that kind, or its code cannot be loaded.
    """
    points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in points:
        raise ConfigError(f"there is no kind of sink '{name}': use one of {', '.join(sorted(points))}")
    try:
        found: SinkKind = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the kind of sink '{name}' is registered as {points[name].value}, which cannot be loaded ({error}): "
            "install that package again"
        ) from error
    return found


def open_sink(kind: str, table: dict[str, Any]) -> tuple[Sink, SinkSettings]:
    """Open a sink of a kind from the keys that its settings have.

    Raises:
        ConfigError: an unknown kind, or a key that is unknown or has an unusable value.
        EdgeAacError: it cannot be opened.
    """
    found = sink_kind(kind)
    try:
        settings = found.Settings.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"sink {kind}: {first_complaint(error)}") from error
    return found.open(settings), settings


def reason_of(error: BaseException) -> str:
    """An error as a sink's health gives it."""
    return str(error) if isinstance(error, (EdgeAacError, TransientSinkError)) else f"{type(error).__name__}: {error}"
