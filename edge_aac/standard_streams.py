"""Standard output and error of the command line, in place of Python's own."""

from __future__ import annotations

import fcntl
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from edge_aac.errors import DeviceError
from edge_aac.terminal import escaped_lines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT, _STDERR = 1, 2


class _Stdout(io.FileIO):
    """Standard output that says in a sentence for the user that it cannot be written, as on a full disk."""

    def write(self, text: ReadableBuffer, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            # Python would try the rest once more while closing it.
            lead_nowhere(self.fileno())
            raise DeviceError(
                f"standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
            ) from error


class _Stderr(io.FileIO):
    """Standard error that changes no exit code when its disk is full or its reader gone."""

    def write(self, text: ReadableBuffer, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return memoryview(text).nbytes


class _StderrText(io.TextIOWrapper):
    """Text of standard error in which nothing steers the terminal, wherever it comes from.

    Attributes:
        drawing: the same stream for a program's own progress bars, which do steer it.
    """

    drawing: TextIO

    def write(self, text: str, /) -> int:
        super().write(escaped_lines(text))
        return len(text)


def drawing_stderr() -> TextIO:
    """Standard error for progress bars, whose texts have been escaped (:func:`edge_aac.terminal.escaped`)."""
    return sys.stderr.drawing if isinstance(sys.stderr, _StderrText) else sys.stderr


def open_streams() -> None:
    """Puts streams of our own in the place of Python's; what stands for one already, as in a test, stays.

    Standard error gets a descriptor of its own, since number 2 leads nowhere while PortAudio is probed. Where it is
    closed, what is said goes nowhere: ``print`` would put it among the records.
    """
    standard: TextIO | None = sys.stdout
    if standard is not None and _number_of(standard) == _STDOUT:
        writer = io.BufferedWriter(_Stdout(_STDOUT, "w", closefd=False))
        sys.stdout = io.TextIOWrapper(writer, standard.encoding, standard.errors, line_buffering=True)
    standard = sys.stderr
    if standard is None:
        sys.stderr = io.TextIOWrapper(_Stderr(os.devnull, "w"), "utf-8")
    elif _number_of(standard) == _STDERR:
        # Above 2, since it must not become standard input or output where they are closed.
        number = fcntl.fcntl(_STDERR, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
        ours = _Stderr(number, "w", closefd=False)
        text = _StderrText(ours, standard.encoding, standard.errors, line_buffering=True)
        text.drawing = io.TextIOWrapper(ours, standard.encoding, standard.errors, line_buffering=True)
        sys.stderr = text


def standard_output() -> TextIO:
    """Gives standard output.

    Raises:
        DeviceError: it is closed.
    """
    standard: TextIO | None = sys.stdout
    if standard is None:
        raise DeviceError("standard output is closed: leave it open, or send it to a file")
    return standard


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


def lead_nowhere(descriptor: int) -> None:
    """Let a descriptor lead to /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
