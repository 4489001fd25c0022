"""Stands in for PyAudio in the process that captures a microphone: what is plugged in stands in a JSON file.

``EDGE_AAC_TEST_SOUND`` names the file: ``names`` of the inputs that are there now; ``value`` of each sample, full scale
1, or ``values`` of the channels, where an input has several; ``mute``: they open, but give no sound; ``hangs``: nothing
answers; ``crashes``: the process dies while it captures.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


def _world() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(os.environ["EDGE_AAC_TEST_SOUND"]).read_text())
    return table


class PyAudio:
    def __init__(self) -> None:
        print("a library prints to standard output")
        if _world().get("hangs"):
            time.sleep(600)
        # As PortAudio does, it lists the devices now, and never again in this process.
        self._names = _world()["names"]

    def get_host_api_info_by_type(self, _kind: int) -> dict[str, Any]:
        return {"index": 0, "deviceCount": len(self._names)}

    def get_device_info_by_host_api_device_index(self, _host: int, number: int) -> dict[str, Any]:
        channels = len(_world().get("values", [0]))
        return {
            "index": number,
            "name": self._names[number],
            "maxInputChannels": channels,
            "defaultSampleRate": 48_000.0,
        }

    def open(self, *, rate: int, channels: int, input_device_index: int, stream_callback: Any, **_rest: Any) -> Stream:
        if rate != 48_000:
            raise OSError(-9997, "Invalid sample rate")
        return Stream(self._names[input_device_index], rate, channels, stream_callback)


class Stream:
    def __init__(self, name: str, rate: int, channels: int, callback: Any) -> None:
        self._name = name
        self._callback = callback
        self._frames = rate // 10
        self._channels = channels
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def is_active(self) -> bool:
        return self._thread.is_alive()

    def _play(self) -> None:
        while self._name in (world := _world())["names"]:
            if world.get("crashes"):
                os.kill(os.getpid(), signal.SIGKILL)
            if not world.get("mute"):
                values = world.get("values", [world.get("value", 0.5)] * self._channels)[: self._channels]
                frame = b"".join(round(value * 32_768).to_bytes(2, sys.byteorder, signed=True) for value in values)
                self._callback(frame * self._frames, self._frames, {}, 0)
            time.sleep(0.02)
