"""``edge-aac bridge emulate``: devices as they are wanted, each in a thread of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_aac.audio.sources.address import Address, integer_option, split_query
from edge_aac.errors import ConfigError, UsageError
from firmware_bridge.address import DEFAULT_BAUD, BridgeAddress
from firmware_bridge.carriers import Carrier, PtyCarrier, UdpCarrier, open_serial_carrier
from firmware_bridge.device_ids import id_text
from firmware_bridge.emulation import Emulation, SampleFeed, blocks_of
from firmware_bridge.emulator import EmulatedDevice
from firmware_bridge.fields import Codec
from firmware_bridge.frame import MAX_FRAME_BYTES, payload_bytes
from firmware_bridge.impairments import BadLink, Chances
from firmware_bridge.keys import Keyring

_AUDIO_OVERHEAD = 30


@dataclass(frozen=True)
class Wanted:
    """Which devices, and how bad their links are: the options of the verb."""

    address: str
    sound: str
    repeat: bool
    device: int
    name: str
    devices: int
    keys: Path | None
    plain: bool
    codec: str
    rate_hz: int
    frame_samples: int
    gate_dbfs: float | None
    chances: Chances
    ppm: float
    seed: int


def emulate(wanted: Wanted, stop: threading.Event, told: Callable[[str], None]) -> None:
    """Run the devices until their sound has ended, or ``stop`` is set.

    Args:
        wanted: the devices.
        stop: ends them.
        told: is told what happens, a line each.

    Raises:
        EdgeAacError: the sound, the keys or the link cannot be opened.
    """
    names = {"pcm": Codec.PCM, "adpcm": Codec.ADPCM}
    if wanted.codec not in names:
        raise UsageError("--codec is pcm or adpcm")
    codec = names[wanted.codec]
    if payload_bytes(codec, 1, wanted.frame_samples) + _AUDIO_OVERHEAD > MAX_FRAME_BYTES:
        raise UsageError(f"a frame of {wanted.frame_samples} samples is too long: 497 fit as PCM, 1000 as ADPCM")
    keyring = _keyring(wanted)
    failures: list[Exception] = []
    threads = []
    for number in range(wanted.devices):
        device_id = wanted.device + number
        key = None if keyring is None else keyring.of(device_id)
        if keyring is not None and key is None:
            wanted_id = id_text(device_id)
            raise ConfigError(
                f"there is no key of {wanted_id}: `edge-aac bridge keygen {wanted_id}` makes one, "
                "--device-id names another"
            )
        carrier = _carrier(wanted, number, told)
        name = wanted.name if wanted.devices == 1 else f"{wanted.name}-{number + 1}"
        device = EmulatedDevice(
            device_id, name, wanted.rate_hz, 1, codec, wanted.frame_samples, key, carrier.stream,
            gate_dbfs=wanted.gate_dbfs,
        )  # fmt: skip
        bad_link = BadLink(wanted.chances, random.Random(wanted.seed + number))

        def run(device: EmulatedDevice = device, carrier: Carrier = carrier, bad_link: BadLink = bad_link) -> None:
            try:
                feed = SampleFeed(blocks_of(wanted.sound, repeat=wanted.repeat), device)
                tell = lambda text: told(f"{device.name}: {text}")  # noqa: E731
                Emulation(device, carrier, feed, bad_link, wanted.ppm, told=tell).run(stop)
            except Exception as error:  # raised again by the thread that waits
                failures.append(error)
                stop.set()

        threads.append(threading.Thread(target=run, name=f"edge-aac-emulated-{number}", daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.5)
    if failures:
        raise failures[0]


def _keyring(wanted: Wanted) -> Keyring | None:
    address = Address.parse(wanted.address)
    if wanted.plain or address.scheme != "udp":
        return None
    place = BridgeAddress.of(address).endpoint.keys if wanted.keys is None else f"file:{wanted.keys}"
    return None if place is None else Keyring(place)


def _carrier(wanted: Wanted, number: int, told: Callable[[str], None]) -> Carrier:
    address = Address.parse(wanted.address)
    if address.scheme == "udp":
        endpoint = BridgeAddress.of(address).endpoint
        return UdpCarrier(endpoint.place, endpoint.number)
    if address.scheme == "serial" and wanted.devices == 1:
        path, options = split_query(address.rest, ("baud",))
        return open_serial_carrier(path, integer_option(options, "baud", DEFAULT_BAUD, 1200, 12_000_000))
    if address.scheme == "pty":
        path = address.rest if wanted.devices == 1 or not address.rest else f"{address.rest}-{number + 1}"
        carrier = PtyCarrier(Path(path) if path else None)
        told(f"listen to it with: edge-aac stream --device serial:{path or carrier.name}")
        return carrier
    raise UsageError("an emulated device speaks at udp://HOST:PORT, serial:PATH (one alone) or pty:[PATH]")
