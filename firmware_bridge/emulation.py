"""Drives emulated devices in real time: sound in, packets out, with a link as bad and a clock as wrong as is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from edge_aac.audio.sources.address import open_source
from edge_aac.timebase import SAMPLE_RATE
from firmware_bridge.carriers import Carrier
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.impairments import BadLink

_LONGEST_WAIT_S = 0.05
_MOST_BEHIND_S = 2.0


class SampleFeed:
    """Sound for an emulated device, in frames of 16-bit samples.

    Args:
        blocks: gives mono float32 samples at 16 kHz.
        device: whose rate, channels and frames are wanted; each channel gets the same sound.
    """

    def __init__(self, blocks: Iterator[npt.NDArray[np.float32]], device: EmulatedDevice) -> None:
        self._blocks = blocks
        self._device = device
        self._stream = None
        if device.rate_hz != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(SAMPLE_RATE, device.rate_hz, 1, dtype="float32")
        self._rest = np.zeros(0, np.int16)
        self._ended = False

    def next(self) -> list[list[int]] | None:
        """Samples of the next frame, the last one shorter; None at the end."""
        wanted = self._device.frame_samples
        while len(self._rest) < wanted and not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            samples = np.zeros(0, np.float32) if block is None else block
            if self._stream is not None:
                samples = self._stream.resample_chunk(samples, last=self._ended)
            scaled = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
            self._rest = np.concatenate((self._rest, scaled))
        frame, self._rest = self._rest[:wanted], self._rest[wanted:]
        return [frame.tolist()] * self._device.channels if len(frame) else None


def blocks_of(address: str, *, repeat: bool = False) -> Iterator[npt.NDArray[np.float32]]:
    """Blocks of mono float32 samples at 16 kHz of any source; where ``repeat``, over and over.

    Raises:
        EdgeAacError: it cannot be opened.
    """
    while True:
        source = open_source(address)
        try:
            while (block := source.read()) is not None:
                yield block
        finally:
            source.close()
        if not repeat:
            return


@dataclass(eq=False)
class Emulation:
    """One emulated device in real time.

    Attributes:
        device: the device.
        carrier: carries its packets.
        feed: its microphone.
        bad_link: what happens to its packets on the way; None for nothing.
        ppm: how much faster its clock runs, in millionths.
        linger_s: seconds that it goes on after its sound has ended, to take what comes back.
        told: is told of what happens, in a sentence.
    """

    device: EmulatedDevice
    carrier: Carrier
    feed: SampleFeed
    bad_link: BadLink | None = None
    ppm: float = 0.0
    linger_s: float = 2.0
    told: Callable[[str], None] = lambda _: None

    def run(self, stop: threading.Event) -> None:
        """Run until the sound has ended, or ``stop`` is set. The carrier is closed."""
        device = self.device
        frame_s = device.frame_samples / device.rate_hz / (1.0 + self.ppm * 1e-6)
        begun_s: float | None = None
        frames, ended_s = 0, None
        samples = self.feed.next()  # before anybody hears of the device: making the first sound may take long
        shown = played = 0
        try:
            while not stop.is_set():
                now_s = time.monotonic()
                for packet in device.packets_due(now_s):
                    self._send(packet)
                if begun_s is None and device.session:
                    begun_s = now_s
                    self.told("the host has answered")
                while begun_s is not None and ended_s is None and now_s - begun_s >= frames * frame_s:
                    if now_s - begun_s - frames * frame_s > _MOST_BEHIND_S:
                        # This process was held up: the microphone of a device is not.
                        device.lose(device.frame_samples)
                    elif samples is None:
                        ended_s = now_s
                        break
                    else:
                        if (audio := device.audio(samples)) is not None:
                            self._send(audio)
                        samples = self.feed.next()
                    frames += 1
                if ended_s is not None and now_s - ended_s >= self.linger_s:
                    return
                due_s = _LONGEST_WAIT_S if begun_s is None else begun_s + frames * frame_s - time.monotonic()
                for packet in self.carrier.receive(max(0.0, min(due_s, _LONGEST_WAIT_S))):
                    device.receive(packet)
                for caption in device.shown[shown:]:
                    self.told(f"shows for {caption.show_s} s: {caption.text}")
                for alert in device.played[played:]:
                    self.told(f"plays {alert.pattern.name.lower().replace('_', '-')} for {alert.seconds} s")
                shown, played = len(device.shown), len(device.played)
        finally:
            self.carrier.close()

    def _send(self, packet: bytes) -> None:
        for one in [packet] if self.bad_link is None else self.bad_link.carry(packet):
            self.carrier.send(one)
