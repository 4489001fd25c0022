"""A file as a source: its name, its pace, its end; and named pipes, which may wait for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.file import FileSource, load_waveform, open_file
from edge_aac.errors import DataError, InputMissingError, UsageError
from tests.edge_aac.audio.sound_files import tone
from tests.waiting import PATIENCE_S, ended


def _opened(uri: str, name: str | None = None) -> FileSource:
    return open_file(Address.parse(uri), SourceContext(name))


def test_file_source(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(44_100, 2.3), 44_100)
    source = _opened(f"file:{path}")
    assert (source.label, source.live, source.lost_samples()) == (str(path), False, 0)
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert source.read() is None
    assert np.array_equal(np.concatenate(blocks), load_waveform(path))
    source.close()
    source.close()
    assert source.read() is None


def test_source_errors_come_when_opened_or_read(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        _opened(f"file:{tmp_path}/none.wav")
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0, np.nan], np.float32), 16_000, subtype="FLOAT")
    source = _opened(f"file:{path}")
    with pytest.raises(DataError):
        source.read()
    assert source.state == "failed"
    source.close()


def test_a_name_from_the_configuration_is_the_label(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(16_000, 0.1), 16_000)
    source = _opened(f"file:{tmp_path}/tone.wav?speed=2", "garden")
    assert (source.label, source.state, source.reconnects) == ("garden", "listening", 0)
    source.close()


@pytest.mark.parametrize("uri", ["file://me:hunter2@host/a.wav", "file:a.wav?token=hunter2"])
def test_what_is_no_path_shows_no_secret(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        _opened(uri)
    assert "hunter2" not in str(caught.value)


def test_question_marks_in_names(tmp_path: Path) -> None:
    for name in ("what?.wav", "a?speed=1"):
        soundfile.write(tmp_path / name, tone(16_000, 0.1), 16_000, format="WAV")
        assert _opened(f"file:{tmp_path}/{name}").label == f"{tmp_path}/{name}"
    assert _opened(f"file:{tmp_path}/what?.wav?speed=2").label == f"{tmp_path}/what?.wav"


@pytest.mark.parametrize(
    "uri", ["file:", "file:a.wav?sped=1", "file:a.wav?speed=fast", "file:a.wav?speed=0", "file:a?b"]
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError):
        _opened(uri)


def test_paced_source_keeps_the_pace_and_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 60.0), 16_000)
    source = _opened(f"file:{path}?speed=2")
    started_s = time.monotonic()
    heard = sum(_length(source.read()) for _ in range(5))
    assert time.monotonic() - started_s >= 0.9 * heard / 32_000
    source.close()
    hours = _opened(f"file:{path}?speed=0.01")
    reading = _reading(hours)
    hours.close()
    ended(reading)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def _reading(source: FileSource) -> threading.Thread:
    def read() -> None:
        with suppress(DataError):
            while source.read() is not None:
                pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    time.sleep(0.1)
    return thread


def _promptly(action: Callable[[], Any]) -> Any:
    """In a thread, so that what never ends does not hang the tests."""
    results: Queue[Any] = Queue()
    threading.Thread(target=lambda: results.put(action()), daemon=True).start()
    return results.get(timeout=PATIENCE_S)


def test_a_named_pipe_is_heard(fifo: Path, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 3.0), 16_000)
    threading.Thread(target=fifo.write_bytes, args=(path.read_bytes(),), daemon=True).start()
    source = _opened(f"file:{fifo}")
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    assert np.array_equal(np.concatenate(blocks), load_waveform(path))
    source.close()


def test_a_named_pipe_without_a_writer_holds_nobody_up(fifo: Path) -> None:
    source = _promptly(lambda: _opened(f"file:{fifo}"))
    assert source.state == "waiting"
    reading = _reading(source)
    _promptly(source.close)
    with suppress(BrokenPipeError):
        fifo.write_bytes(b"text" * 100)
    ended(reading)


def test_a_named_pipe_with_a_quiet_writer_holds_nobody_up(fifo: Path, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000, 3.0), 16_000)
    before = len(os.listdir("/proc/self/fd"))
    source = _promptly(lambda: _opened(f"file:{fifo}"))
    reading = _reading(source)
    with fifo.open("wb") as writer:
        writer.write(path.read_bytes()[:10_000])
        writer.flush()
        time.sleep(0.1)
        assert reading.is_alive()
        _promptly(source.close)
        ended(reading)
    assert source.read() is None
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_named_pipe_with_something_else_in_it(fifo: Path) -> None:
    threading.Thread(target=fifo.write_bytes, args=(b"text" * 100,), daemon=True).start()
    source = _opened(f"file:{fifo}")
    with pytest.raises(DataError, match="not a sound file"):
        source.read()
    source.close()


def _length(block: np.ndarray | None) -> int:
    return 0 if block is None else len(block)
