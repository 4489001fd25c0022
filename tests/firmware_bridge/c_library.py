"""Compiles the C library of ``firmware_bridge/firmware`` and asks it, so that tests can compare it with Python's."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "firmware_bridge" / "firmware"
_TIMEOUT_S = 600


def need(*programs: str) -> None:
    """Skips where a program is missing; fails with EDGE_AAC_REQUIRE_REAL_PARTS=1."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed"
    if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def make(build: Path, *words: str) -> str:
    """Runs make with ``build`` as its folder; fails with what it printed. Returns that."""
    need("make", "cc")
    command = ["make", "-s", "-C", str(FIRMWARE), f"BUILD={build}", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


class CodecPipe:
    """The C library's functions, asked in batches.

    Args:
        build: folder in which it is compiled.
    """

    def __init__(self, build: Path) -> None:
        self._program = build / "codec_pipe"
        make(build, str(self._program))

    def ask(self, requests: Iterable[tuple[str, bytes]]) -> list[bytes]:
        """Returns the answer to each request: a letter (see host/codec_pipe.c) and its bytes."""
        sent = b"".join(kind.encode() + struct.pack("<I", len(data)) + data for kind, data in requests)
        result = subprocess.run([self._program], input=sent, capture_output=True, timeout=_TIMEOUT_S, check=False)
        assert result.returncode == 0, result.stderr.decode()
        return list(_answers(result.stdout))

    def ask_one(self, kind: str, data: bytes) -> bytes:
        """Returns the answer to one request."""
        (answer,) = self.ask([(kind, data)])
        return answer


def _answers(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


class ReadFrame:
    """The answer about one frame's bytes.

    Attributes:
        verdict: ``r`` read, ``u`` of an unknown type, ``x`` refused.
        again: the frame as C writes it from what it read.
        samples: of AUDIO, s16le, channels interleaved.
        fields: the words ``name=value`` of its fields, as in the vector files.
    """

    def __init__(self, answer: bytes) -> None:
        self.verdict = answer[:1].decode()
        self.again = self.samples = b""
        self.fields = ""
        if self.verdict == "r":
            (size,) = struct.unpack_from("<H", answer, 1)
            self.again = answer[3 : 3 + size]
            (count,) = struct.unpack_from("<H", answer, 3 + size)
            self.samples = answer[5 + size : 5 + size + count]
            self.fields = answer[5 + size + count :].decode("ascii").strip()


@pytest.fixture(scope="session")
def codec_pipe(tmp_path_factory: pytest.TempPathFactory) -> CodecPipe:
    """The C library, compiled once."""
    return CodecPipe(tmp_path_factory.mktemp("codec_pipe"))
