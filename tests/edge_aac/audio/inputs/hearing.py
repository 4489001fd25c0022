"""What is heard of an input on every way into the program, and a verdict on it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from edge_aac.audio.sources.address import open_source
from edge_aac.audio.sources.file import read_blocks
from edge_aac.errors import DataError, EdgeAacError

WAYS = ("file", "fifo", "stdin")
# Standard input that is a file, as of `edge-aac stream --device stdin: < FILE`.
REDIRECTED = "redirected"

HEARD, WARNED, REFUSED = "heard", "heard, warned", "refused"
LOST, TOO_MUCH, WRONG = "LOST SILENTLY", "HEARD WHAT IS NO SOUND", "WRONG SOUND"
TRACEBACK, SENTENCE, ENDLESS = "TRACEBACK", "BAD SENTENCE", "ENDLESS"

_LONGEST_S = 3_000
_LIMIT_S = 120
_numbers = itertools.count()


@dataclass
class Outcome:
    """What became of an input.

    Attributes:
        samples: what was heard, mono at 16 kHz.
        warnings: what was logged as a warning or worse.
        error: what ended it, if not its end.
        trace: where in the program that was.
        memory_kb: by how much the process grew; 0 where it is not known.
    """

    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    warnings: list[str] = field(default_factory=list)
    error: BaseException | None = None
    trace: str = ""
    memory_kb: int = 0

    def __str__(self) -> str:
        told = "; ".join([*self.warnings, *([f"{type(self.error).__name__}: {self.error}"] if self.error else [])])
        return f"{len(self.samples) / 16_000:.3f} s, {told[:300] or 'nothing said'}"


def hear(content: bytes, way: str, folder: Path, options: str = "") -> Outcome:
    """Hears bytes as a file, through a named pipe, or as standard input (of this process, for as long as it takes).

    Args:
        content: the bytes.
        way: one of :data:`WAYS`, or :data:`REDIRECTED`.
        folder: where files may be made.
        options: what follows ``stdin:``.
    """
    path = folder / f"input{os.getpid()}_{next(_numbers)}"
    try:
        if way == "file":
            path.write_bytes(content)
            return _outcome(lambda: read_blocks(path))
        if way == REDIRECTED:
            path.write_bytes(content)
            with path.open("rb") as file, _standard_input(file.fileno()):
                return _outcome(lambda: _blocks_of_stdin(options))
        if way == "fifo":
            os.mkfifo(path)
            with _writing(
                lambda: os.open(path, os.O_WRONLY), content, lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            ):
                return _outcome(lambda: read_blocks(path))
        reader, writer = os.pipe()
        with _writing(lambda: writer, content, lambda: reader), _standard_input(reader):
            return _outcome(lambda: _blocks_of_stdin(options))
    finally:
        path.unlink(missing_ok=True)


def verdict(outcome: Outcome, expected: np.ndarray, *, exact: bool, tolerance: int = 0) -> str:
    """Judges an outcome by what is in the input.

    Args:
        outcome: what became of it.
        expected: all of the input's sound, mono at 16 kHz.
        exact: whether samples are kept as they are; otherwise they are compared by their correlation.
        tolerance: samples that may be missing, or heard beyond the sound, without being noticed.
    """
    error = outcome.error
    if error is not None and not isinstance(error, EdgeAacError):
        return ENDLESS if isinstance(error, TimeoutError) else TRACEBACK
    if error is not None:
        return REFUSED if isinstance(error, DataError) and is_sentence(str(error)) else SENTENCE
    if len(outcome.samples) and not _alike(outcome.samples, expected, exact):
        return WRONG
    missing = len(expected) - len(outcome.samples)
    if missing > tolerance:
        return LOST
    if missing < -tolerance:
        return TOO_MUCH
    if not all(is_sentence(warning, ends=False) for warning in outcome.warnings):
        return SENTENCE
    return WARNED if outcome.warnings else HEARD


def is_sentence(text: str, *, ends: bool = True) -> bool:
    """Whether a text is one line that tells something and shows nothing of the program."""
    plain = (
        "\n" not in text
        and text.isprintable()
        and "Traceback" not in text
        and "LibsndfileError" not in text
        and len(text) < 600
    )
    return plain and len(text.split()) > 4 and (text.endswith(".") or not ends)


def _alike(heard: np.ndarray, expected: np.ndarray, exact: bool) -> bool:
    common = min(len(heard), len(expected))
    first, second = heard[:common].astype(np.float64), expected[:common].astype(np.float64)
    if exact:
        return bool(np.abs(first - second).max(initial=0) < 1e-6)
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return bool(size == 0 or (first * second).sum() / size > 0.98)


def _outcome(opened: Callable[[], Iterable[np.ndarray]]) -> Outcome:
    outcome = Outcome()
    blocks: list[np.ndarray] = []
    heard = 0
    with _collected(outcome.warnings), _time_limit():
        try:
            for block in opened():
                heard += len(block)
                if heard > _LONGEST_S * 16_000:
                    raise TimeoutError("the sound has no end")
                blocks.append(block)
        except (Exception, SystemExit) as error:  # it is judged by its kind
            outcome.error = error
            outcome.trace = traceback.format_exc()
            _let_go(error)
    if blocks:
        outcome.samples = np.concatenate(blocks)
    return outcome


def _let_go(error: BaseException | None) -> None:
    """Forgets the frames of an error, which keep files and pipes open."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _blocks_of_stdin(options: str) -> Iterator[np.ndarray]:
    source = open_source(f"stdin:{options}")
    try:
        while (block := source.read()) is not None:
            yield block
    finally:
        source.close()


@contextlib.contextmanager
def _standard_input(descriptor: int) -> Iterator[None]:
    before = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@contextlib.contextmanager
def _writing(opened: Callable[[], int], content: bytes, reader: Callable[[], int]) -> Iterator[None]:
    """Writes from a thread; in the end a reader is closed, which ends a thread that still waits for one, or writes."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(opened(), "wb", buffering=0) as pipe:
            rest = memoryview(content)
            while rest:
                rest = rest[pipe.write(rest) :]

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        last_reader = reader()
        time.sleep(0 if not thread.is_alive() else 0.001)
        os.close(last_reader)
        thread.join(_LIMIT_S)
        assert not thread.is_alive(), "the program keeps the pipe open"


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


@contextlib.contextmanager
def _collected(messages: list[str]) -> Iterator[None]:
    logger, handler = logging.getLogger("edge_aac"), _Collector(messages)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
