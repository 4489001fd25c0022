"""Inputs are heard in a process of their own: one that hangs or crashes within a library costs the others nothing."""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import struct
import traceback
from collections.abc import Iterator, Sequence
from io import RawIOBase
from pathlib import Path

import numpy as np

from edge_aac.errors import EdgeAacError
from tests.edge_aac.audio.inputs.hearing import Outcome, hear

# A thousand times what an input of these tests needs.
_LIMIT_S = float(os.environ.get("EDGE_AAC_INPUT_LIMIT_S", "120"))
_LENGTH = struct.Struct("<Q")


def hear_each(contents: Sequence[bytes], way: str, folder: Path, options: str = "") -> Iterator[Outcome]:
    """Hears inputs one after the other; see :func:`hear`.

    An input that takes longer than :data:`_LIMIT_S`, or ends its process, has that as its error.
    """
    done = 0
    while done < len(contents):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _hear_and_report(contents[done:], way, folder, options, writer)
        os.close(writer)
        with open(reader, "rb", buffering=0) as reports:
            while done < len(contents):
                outcome = _received(reports)
                if outcome is None:
                    break
                yield outcome
                done += 1
        ended = _end(child)
        if done < len(contents):
            yield Outcome(error=ended)
            done += 1


def _received(reports: RawIOBase) -> Outcome | None:
    if not select.select([reports], [], [], _LIMIT_S)[0]:
        return None
    length = _read(reports, _LENGTH.size)
    report = _read(reports, *_LENGTH.unpack(length)) if length else b""
    if not report:
        return None
    samples, warnings, error, trace, memory = pickle.loads(report)
    return Outcome(np.frombuffer(samples, np.float32), warnings, error, trace, memory)


def _read(reports: RawIOBase, count: int) -> bytes:
    content = bytearray()
    while len(content) < count and (piece := reports.read(count - len(content))):
        content += piece
    return bytes(content) if len(content) == count else b""


def _end(child: int) -> BaseException:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return TimeoutError(f"no end after {_LIMIT_S} s")
    return RuntimeError(f"the process ended with status {status}")


def _hear_and_report(contents: Sequence[bytes], way: str, folder: Path, options: str, writer: int) -> None:
    try:
        with open(writer, "wb") as reports:
            for content in contents:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                outcome = hear(content, way, folder, options)
                error = outcome.error
                if error is not None and not isinstance(error, (EdgeAacError, TimeoutError)):
                    error = RuntimeError(f"{type(error).__name__}: {error}")
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
                heard = outcome.samples.tobytes()
                report = pickle.dumps((heard, outcome.warnings, error, outcome.trace, memory))
                reports.write(_LENGTH.pack(len(report)) + report)
                reports.flush()
    except BaseException:
        # Such as a report's descriptor that the program under test has closed.
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
