"""Stable names for inputs: ``mic0`` is the same microphone tomorrow, whatever number its card got at boot."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.board.sysfs import text_of
from edge_aac.errors import DeviceError

# One of these stands for the sound server, which shares the hardware and follows the user's choice of input.
_SERVER_NAMES = ("pulse", "pipewire", "default")
_HARDWARE = re.compile(r"^(?P<label>.*?)\s*\(hw:(?P<card>\d+),(?P<device>\d+)\)$")
_ALSA_TYPE = 8  # paALSA

USB_PATH = "usb-path:"
"""Begins the address of whatever microphone is in a USB port."""

_SOUND_FOLDERS = ("proc/asound", "sys/class/sound")
"""Where the kernel tells of sound cards: the first is hidden in containers."""

_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class InputDevice:
    """An input as it is now.

    Attributes:
        name: ``mic0``, ``mic1`` … in a stable order.
        index: PortAudio's index, good until PortAudio is started again.
        description: the driver's name for the input.
        channels: input channels at most.
        default_rate: the device's own rate in Hz.
        id: an address for ``--device`` that does not change with the card's number or the order.
    """

    name: str
    index: int
    description: str
    channels: int
    default_rate: int
    id: str


def list_inputs() -> list[InputDevice]:
    """Lists the inputs that PortAudio sees now, in their stable order; empty where there is none.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio does not start.
    """
    with port_audio() as audio:
        return inputs_of(audio)


def inputs_of(audio: Any) -> list[InputDevice]:
    """Lists the inputs of a running ``pyaudio.PyAudio``; see :func:`list_inputs`."""
    return order_inputs(_alsa_devices(audio))


def order_inputs(devices: Sequence[Mapping[str, Any]], root: Path = Path("/")) -> list[InputDevice]:
    """Chooses, orders and names inputs.

    The sound server comes first, then the hardware: USB before what is built in, each sorted by where it is plugged
    in. Other virtual devices (``front``, ``dmix``, ``sysdefault`` …) are the same hardware again and are left out.

    Args:
        devices: PortAudio's device dictionaries, of one host API.
        root: folder that holds ``proc/asound`` and ``sys/class/sound``.
    """
    inputs = [device for device in devices if int(device["maxInputChannels"]) > 0]
    by_name = {str(device["name"]): device for device in inputs}
    chosen: list[tuple[Mapping[str, Any], str, str]] = []
    for name in _SERVER_NAMES:
        if name in by_name:
            chosen.append((by_name[name], f"sound server ({name})", f"alsa:{name}"))
            break

    hardware = []
    for device in inputs:
        match = _HARDWARE.match(str(device["name"]))
        if match:
            order, identity = _identity(int(match["card"]), int(match["device"]), root)
            hardware.append((order, str(device["name"]), device, match["label"], identity))
    hardware.sort(key=lambda entry: entry[:2])
    chosen.extend((device, label, identity) for _, _, device, label, identity in hardware)

    return [
        InputDevice(
            name=f"mic{number}",
            index=int(device["index"]),
            description=description,
            channels=int(device["maxInputChannels"]),
            default_rate=round(float(device["defaultSampleRate"])),
            id=identity,
        )
        for number, (device, description, identity) in enumerate(chosen)
    ]


def find_input(audio: Any, uri: str, root: Path = Path("/")) -> InputDevice | None:
    """Finds an input of a running ``pyaudio.PyAudio`` by its name, its id, or an ALSA name.

    Args:
        audio: a running ``pyaudio.PyAudio``.
        uri: ``mic0``; ``usb-id:0d8c:0014``, with or without what follows ``@`` in the listing; ``usb-path:1-1.2``,
            which is what follows the ``@``, for whatever is in that port; ``alsa:hw:1,0``, ``alsa:hw:PCH,0``, or
            ``alsa:NAME`` of any virtual device, listed or not.
        root: folder that holds ``proc/asound`` and ``sys/class/sound``.

    Returns:
        The input, or None where it is not there now.
    """
    devices = _alsa_devices(audio)
    for listed in order_inputs(devices, root):
        if uri in (listed.name, listed.id) or (uri.startswith("usb-id:") and listed.id.startswith(f"{uri}@")):
            return listed
        if uri.startswith(USB_PATH) and uri.removeprefix(USB_PATH) == _port_of(listed.id):
            return listed
    if not uri.startswith("alsa:"):
        return None
    pcm = _numbered(uri.partition(":")[2], root)
    for device in devices:
        name = str(device["name"])
        if int(device["maxInputChannels"]) > 0 and (name == pcm or name.endswith(f"({pcm})")):
            return InputDevice(
                name=uri,
                index=int(device["index"]),
                description=name,
                channels=int(device["maxInputChannels"]),
                default_rate=round(float(device["defaultSampleRate"])),
                id=uri,
            )
    return None


def missing_input(audio: Any, uri: str, root: Path = Path("/")) -> DeviceError:
    """Says that there is no such input, and what there is.

    Args:
        audio: a running ``pyaudio.PyAudio``.
        uri: the address that :func:`find_input` found nothing for.
        root: folder that holds ``proc/asound`` and ``sys/class/sound``.
    """
    names = ", ".join(listed.name for listed in order_inputs(_alsa_devices(audio), root))
    there = f"there are {names}" if names else "no input is connected, or this user may not use it (group audio)"
    if names and uri.startswith("usb-") and cards_are_hidden(root):
        there += ". Which of them is on USB is hidden here, as in some containers; an address like alsa:hw:1,0 works"
    return DeviceError(f"There is no input '{uri}'; {there}: run `edge-aac devices` and choose one.")


def cards(root: Path = Path("/")) -> bytes:
    """The kernel's sound cards and their devices, whose change tells that one came or went; empty without a card.

    Args:
        root: folder that holds ``proc/asound``.
    """
    text = b""
    for name in ("cards", "devices"):
        with suppress(OSError):
            text += (root / "proc/asound" / name).read_bytes()
    if text:
        return text
    # Containers hide /proc/asound; /sys they show.
    names = [f"{path.name} {text_of(path / 'id') or ''}" for path in sorted((root / _SOUND_FOLDERS[1]).glob("[cp]*"))]
    return "\n".join(names).encode()


def cards_are_hidden(root: Path = Path("/")) -> bool:
    """Whether it cannot be seen which sound card is which: neither ``/proc/asound`` nor ``/sys`` names any."""
    return not any(path for folder in _SOUND_FOLDERS for path in (root / folder).glob("card[0-9]*"))


@contextmanager
def port_audio() -> Iterator[Any]:
    """Starts PortAudio through PyAudio, without the chatter of ALSA and JACK, and ends it.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio does not start.
    """
    audio = start_port_audio()
    try:
        yield audio
    finally:
        audio.terminate()


def start_port_audio() -> Any:
    """Gives a running ``pyaudio.PyAudio``, which the caller terminates; see :func:`port_audio`."""
    try:
        import pyaudio
    except ImportError as error:
        raise PermanentDeviceError(
            "Microphones need PyAudio, which is not installed: run `sudo apt install portaudio19-dev gcc python3-dev`, "
            "then `pip install 'edge-aac[mic]'`."
        ) from error
    try:
        with silenced_stderr():
            return pyaudio.PyAudio()
    except OSError as error:
        raise DeviceError(f"PortAudio does not start ({error}): check the sound system with `arecord -l`.") from error


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Sends file descriptor 2 to nowhere for the moment: ALSA and JACK print there whatever PortAudio probes.

    It does so for every thread. The command line's own words pass, since they go to a duplicate of the descriptor
    (:func:`edge_aac.cli.main`); another program that writes to descriptor 2 meanwhile is not heard.
    """
    with _stderr_lock:
        try:
            saved = os.dup(2)
        except OSError:
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _alsa_devices(audio: Any) -> list[Mapping[str, Any]]:
    try:
        host = audio.get_host_api_info_by_type(_ALSA_TYPE)
        return [
            audio.get_device_info_by_host_api_device_index(host["index"], number)
            for number in range(host["deviceCount"])
        ]
    except OSError as error:
        raise DeviceError(
            f"PortAudio has no ALSA devices here ({error}): use a PortAudio with ALSA, as Debian's is."
        ) from error


def _identity(card: int, device: int, root: Path) -> tuple[tuple[int, str, str, int], str]:
    """Gives a sort key and an address for a sound card's input, both free of the card's number."""
    in_proc, in_sys = (root / folder / f"card{card}" for folder in _SOUND_FOLDERS)
    usb_id = text_of(in_proc / "usbid") or _usb_id(in_sys / "device")
    plugged = _plugged(in_sys / "device")
    if usb_id:
        suffix = f"#{device}" if device else ""
        return (0, usb_id, plugged, device), f"usb-id:{usb_id}@{plugged}{suffix}"
    card_id = text_of(in_proc / "id") or text_of(in_sys / "id") or ""
    return (1, plugged or card_id, card_id, device), f"alsa:hw:{card_id or card},{device}"


def _port_of(identity: str) -> str | None:
    """Gives the port in a USB input's address, with ``#1`` for the second input of its card; None for any other."""
    return identity.partition("@")[2] if identity.startswith("usb-id:") else None


def _usb_id(device: Path) -> str:
    """Gives vendor and product of the USB device that an interface belongs to; empty where it is none."""
    try:
        usb_device = device.resolve(strict=True).parent
    except OSError:
        return ""
    vendor, product = text_of(usb_device / "idVendor"), text_of(usb_device / "idProduct")
    return f"{vendor}:{product}" if vendor and product else ""


def _plugged(device: Path) -> str:
    """Names the port or bus address of a card, such as ``1-1.2`` or ``0000:00:1f.3``; empty where unknown."""
    try:
        name = device.resolve(strict=True).name
    except OSError:
        return ""
    # A USB card hangs on an interface, such as 1-1.2:1.0; which interface says nothing about the port.
    usb_interface = re.fullmatch(r"(\d+-[\d.]+):\d+\.\d+", name)
    return usb_interface[1] if usb_interface else name


def _numbered(pcm: str, root: Path) -> str:
    """Rewrites ``hw:PCH,0`` to ``hw:1,0``, as PortAudio spells it; gives anything else back as it is."""
    match = re.fullmatch(r"(?:plug)?hw:(?:CARD=)?(\w+)(?:,(?:DEV=)?(\d+))?", pcm)
    if not match:
        return pcm
    card, device = match[1], match[2] or "0"
    if not card.isdigit():
        for path in (path for folder in _SOUND_FOLDERS for path in sorted((root / folder).glob("card[0-9]*/id"))):
            if text_of(path) == card:
                card = path.parent.name.removeprefix("card")
                break
    return f"hw:{card},{device}"
