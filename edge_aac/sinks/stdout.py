"""Records on standard output: JSON Lines for programs, sentences for a person."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TextIO

from pydantic import Field

from edge_aac.errors import DeviceError
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkSettings
from edge_aac.terminal import escaped

Format = Literal["auto", "json", "text"]


class TextStream(Protocol):
    """What the sink needs of a stream."""

    def isatty(self) -> bool: ...
    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


class _Descriptor:
    """Text straight to a file descriptor.

    Python's own stdout holds a lock and a buffer: Python 3.10 aborts at its end when a thread is stuck in a write to a
    full pipe, and text that a full disk refused is tried again there and changes the exit code to 120.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, text: str, /) -> None:
        left = memoryview(text.encode("utf-8", "replace"))
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:
                select.select([], [self._number], [])

    def flush(self) -> None:
        """Nothing is ever held back."""


class StdoutSettings(SinkSettings):
    """``[[sinks]]`` of kind ``stdout``.

    Attributes:
        format: "auto" is text on a terminal, JSON Lines elsewhere.
    """

    format: Format = Field(default="auto", description="json: JSON Lines; text: sentences; auto: text on a terminal.")

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        return f"{self.records_in_words} go to standard output; of a service that is the system's journal."


class StdoutSink:
    """Writes each record as a line and flushes it.

    Args:
        output_format: "auto" is text on a terminal, JSON Lines elsewhere.
        stream: where to; standard output by default.
        lines: gives the lines of a record in a form of its own, in place of ``output_format``.

    Raises:
        DeviceError: standard output is closed.
    """

    Settings = StdoutSettings

    def __init__(
        self,
        output_format: Format = "auto",
        *,
        stream: TextStream | None = None,
        lines: Callable[[Record], Iterable[str]] | None = None,
    ) -> None:
        self._stream = stream or _standard_output()
        self._lines = lines
        self._as_text = output_format == "text" or (output_format == "auto" and self._stream.isatty())

    @classmethod
    def open(cls, settings: StdoutSettings) -> StdoutSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings.format)

    @classmethod
    def check(cls, settings: StdoutSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`; nothing is written."""
        return "standard output takes records as " + ("text" if cls.open(settings)._as_text else "JSON Lines")

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`; raises BrokenPipeError when the reader has gone."""
        if self._lines is not None:
            self.write(self._lines(record))
        else:
            self.write([record.line() if self._as_text else record.to_json()])

    def write(self, lines: Iterable[str]) -> None:
        """Write lines that are no record, as a table's heading; errors as :meth:`publish`."""
        to_people = self._as_text or (self._lines is not None and self._stream.isatty())
        try:
            self._stream.write("".join(f"{escaped(line) if to_people else line}\n" for line in lines))
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DeviceError(
                f"standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
            ) from error

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`; the stream itself stays open."""
        self._stream.flush()


def _standard_output() -> TextStream:
    standard: TextIO | None = sys.stdout
    if standard is None:
        raise DeviceError("standard output is closed: leave it open, or send it to a file")
    try:
        number = standard.fileno()
    except OSError:  # replaced by something that is no file, as a test runner does
        return standard
    standard.flush()
    return _Descriptor(number)
