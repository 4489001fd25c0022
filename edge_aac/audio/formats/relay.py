"""A program that turns one stream of bytes into another, run beside this process: fed, watched, and always ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

_READ_BYTES = 64 * 1024
_TICK_S = 0.25
_KILL_WAIT_S = 5.0
_PR_SET_PDEATHSIG = 1
# Decoders of sound need tens of megabytes, an index of a day's file a hundred more; a damaged
# header asks for gigabytes.
_MEMORY_BYTES = 1 << 30
# A program that has ended may leave a child that holds its standard error open: it is not waited for.
_LAST_WORDS_S = 1.0
_END_CHECK_S = 0.002

_prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl


class Relay:
    """A program whose standard output is read from :attr:`output`; a thread feeds it and reads its standard error.

    The thread also starts the program: Linux ends a child, if it is asked to, with the thread that started it.

    Args:
        command: the program and its words; no shell is involved.
        source: descriptor to feed the program from, or None where it has its input by itself. It stays the caller's.
        head: bytes that come before those of ``source``.
        inherited: descriptors that the program inherits.
        on_message: function that is given what the program prints on its standard error, before the output that
            follows it; where it returns False, the program is ended.
        idle_limit_s: the program is ended after so many seconds in which it neither reads nor writes, though its output
            is waited for, and not while the source is.
        silent_limit_s: it is ended after so many seconds without output, even if it reads.

    Attributes:
        output: descriptor to read the output from; it belongs to the relay.
        received_bytes: number of bytes taken from ``source``, with the head.
        hung_s: how long it did nothing before it was ended for that; None where it was not.
        source_error: why reading the source failed, if it did; the program was told that it ends there.
        status: exit status as :class:`subprocess.Popen` gives it; None until it has ended.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(  # noqa: PLR0913  each is one fact of the program
        self,
        command: Sequence[str],
        on_message: Callable[[bytes], bool],
        *,
        source: int | None = None,
        head: bytes = b"",
        inherited: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        idle_limit_s: float,
        silent_limit_s: float,
    ) -> None:
        self.received_bytes = len(head)
        self.hung_s: float | None = None
        self.source_error: OSError | None = None
        self.status: int | None = None
        self._command = list(command)
        self._on_message = on_message
        self._inherited = tuple(inherited)
        self._environment = environment
        self._idle_limit_s, self._silent_limit_s = idle_limit_s, silent_limit_s
        self._unsent = head
        self._unread = b""
        self._failures: list[OSError] = []
        self._started = threading.Event()
        self._closing = False
        with contextlib.ExitStack() as undo:  # where no more descriptors are to be had
            self._source = None if source is None else os.dup(source)
            if self._source is not None:
                undo.callback(os.close, self._source)
            self.output, self._forwarded = os.pipe()
            undo.callback(os.close, self.output)
            undo.callback(os.close, self._forwarded)
            self._wake_reader, self._wake_writer = os.pipe()
            undo.pop_all()
        os.set_blocking(self._forwarded, False)
        self._thread = threading.Thread(target=self._run, name=f"relay {os.path.basename(command[0])}", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failures:
            self.close()
            raise self._failures[0]

    def wait(self) -> None:
        """Waits until the program has ended, which it does soon after the end of its output."""
        self._thread.join()

    def stop(self) -> None:
        """Ends the program and waits for it; what reads :attr:`output` comes to its end."""
        if not self._closing:
            self._closing = True
            os.write(self._wake_writer, b"x")
        self._thread.join()

    def close(self) -> None:
        """Ends the program, waits for it, and closes :attr:`output`."""
        if self.output < 0:
            return
        self.stop()
        for descriptor in (self.output, self._wake_reader, self._wake_writer):
            os.close(descriptor)
        self.output = -1

    def _run(self) -> None:
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL if self._source is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                pass_fds=self._inherited,
                # A Ctrl-C is this process's to handle; and a wrapper script is ended with its children.
                start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid()),  # noqa: PLW1509  it takes no lock: it only calls the kernel
            )
        except OSError as error:
            self._failures.append(error)
        except subprocess.SubprocessError as error:
            self._failures.append(OSError(0, str(error)))
        finally:
            self._started.set()
        try:
            if not self._failures:
                with contextlib.suppress(OSError, ValueError):
                    resource.prlimit(process.pid, resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
                self._attend(process)
        finally:
            if self._source is not None:
                os.close(self._source)
            os.close(self._forwarded)

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        """Carries bytes until the program has ended, or must be ended."""
        assert process.stdout is not None and process.stderr is not None, "they were opened as pipes"
        flow = _Flow(process.stdout.fileno(), process.stderr.fileno(), process.stdin)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        watch = _Watch(process.pid)
        try:
            while not self._closing and (flow.output_open or flow.messages_open):
                ready = self._ready(flow)
                if not self._feed(flow, ready) or not self._forward(flow, ready):
                    return
                moved = flow.output in ready or bool(self._unread) or self._waits_for_source(flow)
                self.hung_s = watch.hung_s(moved, self._idle_limit_s, self._silent_limit_s)
                if self.hung_s is not None or watch.ended_long_ago(not ready):
                    return
            if not self._closing:
                watch.wait_for_end()
        finally:
            # It is not reaped yet, so its number is no other's; a child that it left behind is ended with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.status = process.wait(_KILL_WAIT_S)

    def _waits_for_source(self, flow: _Flow) -> bool:
        return self._source is not None and flow.input is not None and not self._unsent and not flow.source_ended

    def _ready(self, flow: _Flow) -> set[int]:
        """Waits until something can be carried, or for a tick."""
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if flow.messages_open:
            poll.register(flow.messages, select.POLLIN)
        if self._unread:
            poll.register(self._forwarded, select.POLLOUT)
        elif flow.output_open:
            poll.register(flow.output, select.POLLIN)
        if flow.input is not None and self._unsent:
            poll.register(flow.input.fileno(), select.POLLOUT)
        elif self._waits_for_source(flow):
            assert self._source is not None
            poll.register(self._source, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(1000 * _TICK_S)}

    def _feed(self, flow: _Flow, ready: set[int]) -> bool:
        """Takes messages, and carries the source to the program's standard input; False to end the program."""
        if flow.messages_open:
            # All of them, for the output that is ready was written after them.
            while data := _read(flow.messages):
                if not self._on_message(data):
                    return False
            flow.messages_open = data is None
        if self._source in ready and self._waits_for_source(flow):
            assert self._source is not None
            try:
                received = _read(self._source)
            except OSError as error:
                self.source_error, received = error, b""
            if received is not None:
                self._unsent, flow.source_ended = received, not received
                self.received_bytes += len(received)
        if flow.input is not None:
            if self._unsent:
                written = _write(flow.input.fileno(), self._unsent)
                self._unsent = b"" if written is None else self._unsent[written:]
                flow.source_ended = flow.source_ended or written is None
            if flow.source_ended and not self._unsent:
                flow.input.close()
                flow.input = None
        return True

    def _forward(self, flow: _Flow, ready: set[int]) -> bool:
        """Carries the program's output to the reader; False where there is no reader any more."""
        if flow.output in ready and not self._unread:
            data = _read(flow.output)
            flow.output_open = data is None or len(data) > 0
            self._unread = data or b""
        if self._unread:
            written = _write(self._forwarded, self._unread)
            if written is None:
                return False
            self._unread = self._unread[written:]
        return True


@dataclass
class _Flow:
    """The program's ends of the pipes."""

    output: int
    messages: int
    input: IO[bytes] | None
    output_open: bool = True
    messages_open: bool = True
    source_ended: bool = False


class _Watch:
    """Tells a program that hangs from one that works, and one that has ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._read_bytes: str | None = None
        self._active_s = self._output_s = self._alive_s = time.monotonic()

    def hung_s(self, moved: bool, idle_limit_s: float, silent_limit_s: float) -> float | None:
        """Gives how long the program has done nothing, where that is too long."""
        now_s = time.monotonic()
        if moved:
            self._active_s = self._output_s = now_s
        elif now_s > self._active_s + 2 * _TICK_S and self._has_read():
            self._active_s = now_s
        if now_s > self._active_s + idle_limit_s:
            return idle_limit_s
        return silent_limit_s if now_s > self._output_s + silent_limit_s else None

    def _has_read(self) -> bool:
        """Whether it has read since the last call; also where the kernel does not tell."""
        try:
            with open(f"/proc/{self._pid}/io", encoding="ascii") as lines:
                read_bytes = next(lines)
        except (OSError, StopIteration):
            return True
        has_read = read_bytes != self._read_bytes
        self._read_bytes = read_bytes
        return has_read

    def ended_long_ago(self, nothing_ready: bool) -> bool:
        """Whether it has ended, and only a child that it left behind keeps its pipes open."""
        now_s = time.monotonic()
        if not nothing_ready or not self._has_ended():
            self._alive_s = now_s
        return now_s > self._alive_s + _LAST_WORDS_S

    def wait_for_end(self) -> None:
        """Waits for a program that has closed its pipes; one that stays is left to be killed."""
        give_up_s = time.monotonic() + _KILL_WAIT_S
        while not self._has_ended() and time.monotonic() < give_up_s:
            time.sleep(_END_CHECK_S)

    def _has_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


def _read(descriptor: int) -> bytes | None:
    """Gives what there is; None where there is nothing yet."""
    try:
        return os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return None


def _write(descriptor: int, data: bytes) -> int | None:
    """Writes what there is room for, and gives its size; None where there is no reader."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return None


def _end_with_parent(parent: int) -> Callable[[], None]:
    """Gives a function for a new process that has the kernel end it when its parent dies, however that dies."""

    def ask() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
