"""A stream that is closed from another thread."""

from __future__ import annotations

import os
import threading

import pytest

from edge_aac.audio.formats.byte_stream import ByteStream


def test_a_stream_is_not_closed_while_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    # The number of a closed descriptor may be another file's by the time that it is written to.
    reader, writer = os.pipe()
    stream = ByteStream(reader, "pipe")
    written_to_open: list[bool] = []
    write = os.write

    def write_late(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        closer = threading.Thread(target=stream.close)
        closer.start()
        closer.join(0.2)
        written_to_open.append(closer.is_alive())
        return write(descriptor, data) if closer.is_alive() else len(data)

    monkeypatch.setattr(os, "write", write_late)
    stream.cancel()
    stream.close()
    os.close(writer)
    assert written_to_open == [True]


def test_what_ends_a_cancelled_stream_is_called_at_once() -> None:
    reader, writer = os.pipe()
    stream = ByteStream(reader, "pipe")
    stream.cancel()
    called: list[bool] = []
    stream.on_cancel(lambda: called.append(True))
    assert called == [True]
    stream.close()
    os.close(writer)
