"""Wyoming microphones and satellites, made of the real package."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event
from wyoming.ping import Ping, Pong
from wyoming.satellite import RunSatellite
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.errors import DeviceError, UsageError
from firmware_bridge.wyoming import open_wyoming
from tests.waiting import PATIENCE_S, ended, until

pytestmark = pytest.mark.waits
RAMP = (np.arange(16_000) % 1000).astype("<i2")


class _Satellite(AsyncEventHandler):
    """Streams once it is told to run, after a ping; and each connection anew."""

    seen: list[str] = []
    rate = 16_000

    async def handle_event(self, event: Event) -> bool:
        self.seen.append(event.type)
        if RunSatellite.is_type(event.type):
            await self.write_event(Ping("hello").event())
        elif Pong.is_type(event.type):
            assert Pong.from_event(event).text == "hello"
            await self.write_event(AudioStart(self.rate, 2, 1).event())
            for start in range(0, len(RAMP), 1024):
                payload = RAMP[start : start + 1024].tobytes()
                await self.write_event(AudioChunk(self.rate, 2, 1, payload, timestamp=start).event())
            return False  # it ends the connection
        return True


@contextmanager
def _serving(handler: Any) -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = AsyncTcpServer("127.0.0.1", port)
        await server.start(handler)
        ready.set()
        await asyncio.sleep(3600)

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        tasks.append(task)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    tasks: list[Any] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        ended(thread)


def test_a_satellite_is_heard_and_heard_again() -> None:
    _Satellite.seen = []
    with _serving(_Satellite) as port:
        source = open_wyoming(Address.parse(f"wyoming://127.0.0.1:{port}"), SourceContext())
        heard: list[Any] = []
        while sum(map(len, heard)) < 2 * len(RAMP):
            block = source.read()
            assert block is not None
            heard.append(block)
        source.close()
    samples = np.rint(np.concatenate(heard) * 32_768).astype(int)[: 2 * len(RAMP)]
    np.testing.assert_array_equal(samples, np.tile(RAMP, 2))
    assert _Satellite.seen[:2] == ["run-satellite", "pong"] and source.reconnects >= 1


@pytest.mark.parametrize(
    "answer",
    [
        b"x" * 70_000,
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"type": 5, "payload_length": -1}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999}\n',
        b'{"type": "audio-chunk", "data": {"rate": 16000}, "payload_length": 2}\nab',
        b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 3, "channels": 1}, "payload_length": 3}\nabc',
        b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 3}\nabc',
        b'{"type": "audio-chunk", "data_length": 2, "payload_length": 0}\n{{',
        b'{"type": "audio-chunk", "data": {"rate": 1e999, "width": 2, "channels": 1}, "payload_length": 2}\nab',
        b'{"type": "audio-chunk", "payload_length": 1e999}\n',
        b"[1]\n",
        b"[" * 60_000 + b"\n",
    ],
)
def test_what_is_no_wyoming_is_refused_with_a_sentence(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)
                connection.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        source = open_wyoming(Address.parse(f"wyoming://127.0.0.1:{server.getsockname()[1]}"), SourceContext())
        reader = threading.Thread(target=source.read, daemon=True)
        reader.start()
        until(lambda: source.reason is not None)
        assert "speaks no Wyoming" in str(source.reason)
        source.close()
        ended(reader, thread)


@pytest.mark.parametrize("text", ["wyoming:", "wyoming://", "wyoming://h:0", "wyoming://h:99999", "wyoming://u:p@h:1"])
def test_addresses_that_are_unusable(text: str) -> None:
    with pytest.raises(UsageError):
        open_wyoming(Address.parse(text), SourceContext())


def test_nobody_is_there() -> None:
    with pytest.raises(DeviceError, match="cannot be reached"):
        open_wyoming(Address.parse("wyoming://127.0.0.1:1"), SourceContext())
