"""Raw samples through a pipe: any cut of the bytes, prompt blocks, a prompt end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources import stdin as pipe
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.stdin import PipeSource, open_stdin
from edge_aac.errors import DataError, InputMissingError, UsageError
from tests.edge_aac.fakes import read_until_closed


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    pipe_number = os.fstat(reader).st_ino
    yield reader, writer
    for descriptor in (reader, writer):
        # A test closes its end: by now its number may be another file's.
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == pipe_number:
                os.close(descriptor)


def _drained(source: PipeSource) -> np.ndarray:
    blocks = [np.zeros(0, np.float32)]
    while (block := source.read()) is not None:
        assert len(block) > 0
        blocks.append(block)
    return np.concatenate(blocks)


@pytest.mark.parametrize("chunk", [1, 3, 7, 4096])
def test_bytes_may_be_cut_anywhere(ends: tuple[int, int], chunk: int) -> None:
    reader, writer = ends
    integers = np.random.default_rng(0).integers(-32768, 32768, (1_000, 2)).astype("<i2")
    content = integers.tobytes()

    def write() -> None:
        for start in range(0, len(content), chunk):
            os.write(writer, content[start : start + chunk])
        os.close(writer)

    threading.Thread(target=write, daemon=True).start()
    source = PipeSource(reader, "stdin", channels=2, mixing=Mixing("mean"))
    samples = _drained(source)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, (integers / 32768).mean(axis=1).astype(np.float32))
    assert source.read() is None
    source.close()


def test_other_rates_are_resampled(ends: tuple[int, int]) -> None:
    reader, writer = ends
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4_410) / 44_100)
    os.write(writer, (tone * 32767).astype("<i2").tobytes())
    os.close(writer)
    samples = _drained(PipeSource(reader, "stdin", rate=44_100))
    assert len(samples) == 1_600
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1_600) / 16_000)
    assert np.abs(samples - expected)[200:1_400].max() < 1e-3


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_nothing_at_all_is_bad_data(ends: tuple[int, int], rate: int) -> None:
    reader, writer = ends
    os.close(writer)
    source = PipeSource(reader, "stdin", rate=rate)
    with pytest.raises(DataError, match="0 bytes"):
        source.read()
    assert source.state == "failed"
    source.close()


def test_a_torn_last_sample_is_dropped_with_a_warning(ends: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = ends
    os.write(writer, b"\0\x40\x01")
    os.close(writer)
    with caplog.at_level(logging.WARNING):
        assert _drained(PipeSource(reader, "stdin")).tolist() == [0.5]
    assert "1 bytes are dropped" in caplog.text


def test_what_is_there_comes_at_once(ends: tuple[int, int]) -> None:
    reader, writer = ends
    source = PipeSource(reader, "stdin")
    os.write(writer, b"\0\x40")
    block = source.read()
    assert block is not None
    assert block.tolist() == [0.5]


def test_close_ends_a_waiting_read(ends: tuple[int, int]) -> None:
    reader, _ = ends
    source = PipeSource(reader, "stdin")
    assert read_until_closed(source) == [None]
    source.close()
    assert source.read() is None


def test_a_failing_descriptor_is_bad_data() -> None:
    folder = os.open("/", os.O_RDONLY)
    source = PipeSource(folder, "stdin")
    with pytest.raises(DataError, match="stdin"):
        source.read()
    source.close()
    os.close(folder)


@pytest.mark.parametrize(
    "uri",
    ["stdin:x", "stdin:?rate=0", "stdin:?rate=16k", "stdin:?channels=0", "stdin:?channels=65", "stdin:?bits=24"]
    + ["stdin:?channels=1&channel=2", "stdin:?channels=2&channel=3"]
    + ["stdin:?format=mp3", "stdin:?mix=loud", "stdin:?channels=2&channel=1&mix=mean"],
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError):
        open_stdin(Address.parse(uri), SourceContext())


def test_terminal_and_closed_input(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    monkeypatch.setattr(pipe, "_STDIN", slave)
    with pytest.raises(UsageError, match="terminal"):
        open_stdin(Address.parse("stdin:"), SourceContext())
    os.close(slave)
    os.close(master)
    with pytest.raises(InputMissingError, match="closed"):
        open_stdin(Address.parse("stdin:"), SourceContext())


def test_closed_input_whose_number_a_library_took() -> None:
    script = (
        "import os\n"
        "assert os.open(os.devnull, os.O_RDONLY) == 0\n"
        "from edge_aac.audio.sources.address import Address, SourceContext\n"
        "from edge_aac.audio.sources.stdin import open_stdin\n"
        "from edge_aac.errors import InputMissingError\n"
        "try: open_stdin(Address.parse('stdin:'), SourceContext())\n"
        "except InputMissingError as error: print(error)\n"
    )
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert b"Standard input is closed" in result.stdout


def test_real_standard_input() -> None:
    script = (
        "from edge_aac.audio.sources.address import Address, SourceContext\n"
        "from edge_aac.audio.sources.stdin import open_stdin\n"
        "source = open_stdin(Address.parse('stdin:?rate=8000&channels=2'), SourceContext())\n"
        "total = 0\n"
        "while (block := source.read()) is not None: total += len(block)\n"
        "print(source.label, source.live, source.lost_samples(), total)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], input=b"\0" * 4 * 8_000, capture_output=True, check=True, timeout=60
    )
    assert result.stdout.decode().split() == ["stdin", "False", "0", "16000"]
