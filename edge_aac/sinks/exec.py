"""Records as JSON Lines to a program of the user's, which is started again whenever it ends."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import shlex
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import IO

from pydantic import Field, field_validator

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.records import Record
from edge_aac.secret_variables import without_secrets
from edge_aac.sinks.message import Message
from edge_aac.sinks.remote import Receipts, RemoteFault, Spooled, SpooledSink, Window
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpooledSettings
from edge_aac.terminal import escaped

END_S = 2.0
"""Seconds that a program has to end after its input has ended, and again after SIGTERM."""
_LONGEST_LINE = 2000
_LINES_PER_S = 10
_FULL_PAUSE_S = 0.02

_log = logging.getLogger(__name__)


class ExecSettings(SpooledSettings):
    """``[[sinks]]`` of kind ``exec``.

    Attributes:
        command: the program and its arguments; no shell looks at them.
        stall_s: seconds that the program may take no input for, before it is ended and started again; 0: any time.
    """

    command: tuple[str, ...] = Field(
        min_length=1, description="Program and arguments; no shell looks at them.", examples=[["/usr/local/bin/bell"]]
    )
    stall_s: float = Field(
        default=60.0,
        ge=0.0,
        le=86_400.0,
        description="Time without taking input after which the program is started again; 0: never.",
        json_schema_extra={"unit": "s"},
    )

    @field_validator("command")
    @classmethod
    def _program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0] or any("\0" in word for word in command):
            raise ValueError("it must begin with the path or name of a program")
        return command

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        name = Path(self.command[0]).name
        return f"{self.records_in_words} are given to the program {name!r}. {self.waits_in_words}"

    @classmethod
    def parse(cls, rest: str) -> ExecSettings:
        """Settings from ``PROGRAM ARGUMENTS`` of ``exec:PROGRAM ARGUMENTS``, split as a shell would split them."""
        try:
            words = shlex.split(rest)
        except ValueError as error:
            raise ValueError(f"the command cannot be split into words: {error}") from error
        if not words:
            raise ValueError("a program must follow: exec:PROGRAM ARGUMENTS")
        return cls(command=tuple(words))


def program_of(settings: ExecSettings) -> str:
    """Path of the program.

    Raises:
        InputMissingError: there is none of that name.
        ConfigError: it cannot be run.
    """
    name = os.path.expanduser(settings.command[0])
    found = which(name)
    if found is not None:
        return found
    if os.path.sep in name and os.path.exists(name):
        raise ConfigError(f"'{name}' cannot be run: name a program, and make it executable")
    raise InputMissingError(f"there is no program '{name}': install it, or correct the command")


class ProgramRemote:
    """A running program as a place that messages are sent to: each is a line that it has read from its pipe.

    A line counts as delivered when the pipe is empty after it, so that the program has taken it; what was in the pipe
    when the program ended is given to the next one. Without that, up to 64 KiB would be lost with each end.

    Args:
        settings: see :class:`ExecSettings`.

    Raises:
        EdgeAacError: the program is not there.
    """

    def __init__(self, settings: ExecSettings) -> None:
        self._settings = settings
        self._path = program_of(settings)
        self._name = Path(self._path).name
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._pipe = threading.Lock()
        """Held while the descriptor of the program's input is used, so that it is not another file's meanwhile."""
        self._closed = False
        atexit.register(self._end_hard)

    def messages(self, record: Record) -> Sequence[Message]:
        """See :class:`edge_aac.sinks.remote.Remote`."""
        return [Message(record.kind, record.source, (record.to_json() + "\n").encode("utf-8", "replace"))]

    def send(self, messages: Sequence[Message], receipts: Receipts) -> None:
        """See :class:`edge_aac.sinks.remote.Remote`."""
        process = self._running()
        for message in messages:
            self._write(process, message.payload)
        self._await_empty(process)
        for message in messages:
            receipts.acknowledged(message)

    def close(self) -> None:
        """See :class:`edge_aac.sinks.remote.Remote`: the program's input ends, then it and its group are ended."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            self._end(process, gently=True)
        atexit.unregister(self._end_hard)

    def _end_hard(self) -> None:
        """The interpreter ends, and nobody waited for :meth:`close`."""
        process = self._process
        if process is not None and process.poll() is None:
            _signal_group(process, signal.SIGKILL)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise RemoteFault("the sink is closed")
            if self._process is not None and self._process.poll() is not None:
                raise self._ended(self._process)
            if self._process is None:
                self._process = self._started()
            return self._process

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                [self._path, *self._settings.command[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=without_secrets(),
                start_new_session=True,
            )
        except OSError as error:
            raise RemoteFault(f"'{self._path}' cannot be started ({error.strerror})") from error
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        reader = threading.Thread(target=self._log_output, args=(process.stdout,), daemon=True)
        reader.start()
        _log.debug("'%s' was started", self._path)
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> RemoteFault:
        """What its end means; whatever it left running is ended."""
        self._process = None
        self._end(process, gently=False)
        code = process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"has ended with exit code {code}"
        return RemoteFault(f"the program {self._name!r} {how}, and is started again")

    def _write(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        left = memoryview(line)
        since_s = time.monotonic()
        while left:
            try:
                with self._pipe:
                    left = left[os.write(process.stdin.fileno(), left) :]
                since_s = time.monotonic()
            except BlockingIOError:
                self._look(process, since_s)
                time.sleep(_FULL_PAUSE_S)
            except (OSError, ValueError) as error:
                raise self._gone(process) from error

    def _await_empty(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the program has read all that was written."""
        assert process.stdin is not None
        since_s, pause_s, before = time.monotonic(), 0.0005, -1
        while True:
            try:
                with self._pipe:
                    waiting = _bytes_in(process.stdin)
            except (OSError, ValueError) as error:
                raise self._gone(process) from error
            if waiting == 0:
                break
            if waiting != before:
                since_s, before = time.monotonic(), waiting
            self._look(process, since_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)
        if process.poll() is not None:
            raise self._gone(process)

    def _look(self, process: subprocess.Popen[bytes], since_s: float) -> None:
        """Raise where the program is no longer there, or takes nothing."""
        if self._closed or process.poll() is not None:
            raise self._gone(process)
        if self._settings.stall_s and time.monotonic() - since_s > self._settings.stall_s:
            with self._lock:
                self._process = None
            self._end(process, gently=False)
            raise RemoteFault(
                f"the program {self._name!r} has taken no input for {self._settings.stall_s:g} s, and is started again"
            )

    def _gone(self, process: subprocess.Popen[bytes]) -> RemoteFault:
        with suppress(subprocess.TimeoutExpired):  # a pipe may be closed a moment before the end, or long before
            process.wait(END_S)
        with self._lock:
            if self._process is not process:
                return RemoteFault("the sink is closed")
            return self._ended(process)

    def _end(self, process: subprocess.Popen[bytes], *, gently: bool) -> None:
        """End a program and all of its group, and wait until it has ended."""
        assert process.stdin is not None
        with suppress(OSError), self._pipe:
            process.stdin.close()
        if gently:
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            _signal_group(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
        _signal_group(process, signal.SIGKILL)
        process.wait()

    def _log_output(self, output: IO[bytes]) -> None:
        """Pass on what the program writes, as lines of the log; a flood is cut."""
        second, lines, cut = 0, 0, 0
        with output:
            while line := output.readline(_LONGEST_LINE):
                now = int(time.monotonic())
                if now != second:
                    if cut:
                        _log.info("program %s: %d more lines", self._name, cut)
                    second, lines, cut = now, 0, 0
                lines += 1
                if lines > _LINES_PER_S:
                    cut += 1
                    continue
                text = escaped(line.decode("utf-8", "replace").rstrip("\n"))
                # Support dumps know what may tell of sound by these words.
                _log.info("program %s writes: %s", self._name, text)


def _bytes_in(pipe: IO[bytes]) -> int:
    """Bytes that were written to a pipe and not read."""
    return int(struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"\0" * 4))[0])


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # of a program that has ended, those that it left running
        os.killpg(process.pid, number)


class ExecSink(SpooledSink):
    """Gives records to a program, which is started at once.

    Args:
        settings: see :class:`ExecSettings`.

    Raises:
        EdgeAacError: the program is not there, or another process uses the store.
    """

    Settings = ExecSettings

    def __init__(self, settings: ExecSettings) -> None:
        program_of(settings)
        spool = Spool(settings.spool_file("exec", "\0".join(settings.command)), settings.spool_limits)
        remote = ProgramRemote(settings)
        super().__init__(Spooled(remote, spool, f"exec {Path(settings.command[0]).name}", window=Window(messages=1)))

    @classmethod
    def open(cls, settings: ExecSettings) -> ExecSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: ExecSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`; nothing is started, since it would act."""
        return f"the program '{program_of(settings)}' can be started"
