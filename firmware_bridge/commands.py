"""Link microcontrollers: make their keys, listen to them, send to them, emulate them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from edge_aac import signals
from edge_aac.errors import UsageError
from edge_aac.terminal import escaped

ENDS_IN_GOOD_ORDER = True
"""See :data:`edge_aac.cli.OWN_SIGNALS`."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Link microcontrollers: make their keys, listen to them, send to them, emulate them.",
    epilog="Examples: `edge-aac bridge keygen 24:0a:c4:12:34:56`; `edge-aac bridge listen udp://0.0.0.0:5005`; "
    "`edge-aac bridge emulate udp://127.0.0.1:5005 --device-id 1`; then "
    "`edge-aac stream --device udp://0.0.0.0:5005 --sink bridge`.",
)

_Address = Annotated[
    str,
    typer.Argument(metavar="ADDRESS", help="serial:/dev/ttyACM0[?baud=921600] or udp://0.0.0.0:5005[?keys=file:PATH]."),
]
_Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="File of keys. Default: /etc/edge-aac/credentials/bridge-keys for root or where it is there, else "
        "~/.config/edge-aac/bridge-keys.",
    ),
]


@app.command("keygen", short_help="Make the key of a device.")
def keygen_verb(
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="Id of the device, as a MAC address; * for all that have no own.")
    ],
    keys: _Keys = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="hex, or c: a line for the firmware.")] = "hex",
) -> None:
    """Make a key, add it to the host's file of keys, and print it once, for the device."""
    from firmware_bridge.device_ids import id_of
    from firmware_bridge.keys import ANY_DEVICE, add_key, default_key_file, new_key

    signals.end_by_exception()
    number = None if device == ANY_DEVICE else id_of(device)
    if device != ANY_DEVICE and number is None:
        raise UsageError(f"'{device}' is no device id: write 1 to 16 hexadecimal digits, as 24:0a:c4:12:34:56")
    if form not in {"hex", "c"}:
        raise UsageError("--format is hex or c")
    path = keys or default_key_file()
    key = new_key()
    add_key(path, number, key)
    typer.echo(f"The key was added to '{path}'. Give it to the device, and nobody else:", err=True)
    listed = ", ".join(f"0x{byte:02x}" for byte in key)
    typer.echo(key.hex() if form == "hex" else f"static const uint8_t bridge_key[32] = {{{listed}}};")


@app.command("listen", short_help="Show who is there, and what comes.")
def listen_verb(
    address: _Address,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="End after so long; 0: never.")] = 0.0,
    output_json: Annotated[bool, typer.Option("--json", help="JSON Lines.")] = False,
) -> None:
    """Show each device that says HELLO, and each second what came of it. Not while a stream has the same link open."""
    stop = _stopped_by_signals()
    from firmware_bridge.listening import listen

    listen(address, stop, seconds, lambda line: typer.echo(line if output_json else escaped(line)), as_json=output_json)


@app.command("send", short_help="Send a caption or an alert to a device.")
def send_verb(
    address: _Address,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Id or name of the device.")],
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="Text to show.")] = "",
    pattern: Annotated[
        str,
        typer.Option("--pattern", metavar="NAME", help="Pattern to play: one-short, two-short, three-short, long …"),
    ] = "",
    seconds: Annotated[int, typer.Option("--seconds", min=0, max=65535, help="Seconds to show or play it.")] = 10,
    priority: Annotated[
        str, typer.Option("--priority", metavar="NAME", help="low, normal, important or urgent.")
    ] = "normal",
) -> None:
    """Send a caption or an alert to a device, and wait for its answer: to try a display or a vibrator."""
    stop = _stopped_by_signals()
    from firmware_bridge.sending import send_once

    typer.echo(escaped(send_once(address, device, text, pattern, seconds, priority, stop)))


@app.command("emulate", short_help="Be a device, or several.")
def emulate_verb(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="udp://HOST:PORT, serial:PATH[?baud=N], or pty:[PATH]: a pseudo-terminal, with PATH as a link to it.",
        ),
    ],
    sound: Annotated[
        str, typer.Option("--sound", metavar="ADDRESS", help="Its microphone: file:PATH, mic0 …")
    ] = "demo:",
    repeat: Annotated[bool, typer.Option("--repeat", help="Play a file over and over.")] = False,
    device_id: Annotated[str, typer.Option("--device-id", metavar="ID", help="Its id.")] = "0200e5000001",
    name: Annotated[str, typer.Option("--name", help="What it calls itself.")] = "emulated",
    devices: Annotated[int, typer.Option("--devices", min=1, max=64, help="So many, with ids that follow.")] = 1,
    keys: _Keys = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without authentication, for a host with auth=none.")] = False,
    codec: Annotated[str, typer.Option("--codec", metavar="NAME", help="pcm or adpcm.")] = "pcm",
    rate_hz: Annotated[int, typer.Option("--rate", min=8000, max=48000, help="Sample rate in Hz.")] = 16_000,
    frame_samples: Annotated[int, typer.Option("--frame", min=1, max=1000, help="Samples a frame.")] = 320,
    gate_dbfs: Annotated[
        float | None, typer.Option("--gate-dbfs", show_default=False, help="Leave out sound below this level.")
    ] = None,
    loss: Annotated[float, typer.Option("--loss", min=0, max=1, help="Chance of a packet to be lost.")] = 0.0,
    reorder: Annotated[float, typer.Option("--reorder", min=0, max=1, help="… to come late.")] = 0.0,
    duplicate: Annotated[float, typer.Option("--duplicate", min=0, max=1, help="… to come twice.")] = 0.0,
    corrupt: Annotated[float, typer.Option("--corrupt", min=0, max=1, help="Chance of a byte to be damaged.")] = 0.0,
    ppm: Annotated[float, typer.Option("--ppm", help="How much its clock is too fast, in millionths.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of chance.")] = 0,
) -> None:
    """Be a device, or several, from a file or a microphone: for tests, and for people without hardware."""
    stop = _stopped_by_signals()
    from firmware_bridge.device_ids import id_of
    from firmware_bridge.fleet import Wanted, emulate
    from firmware_bridge.impairments import Chances

    number = id_of(device_id)
    if number is None:
        raise UsageError(f"'{device_id}' is no device id: write 1 to 16 hexadecimal digits")
    wanted = Wanted(
        address, sound, repeat, number, name, devices, keys, plain, codec, rate_hz, frame_samples, gate_dbfs,
        Chances(loss, reorder, duplicate, corrupt), ppm, seed,
    )  # fmt: skip
    emulate(wanted, stop, lambda line: typer.echo(escaped(line)))


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    signals.end_by(stop.set)
    return stop
