"""Writes the test vectors of the wire format, which the Python and the C library are both tested with.

``python tests/firmware_bridge/vectors/generate.py`` writes the files beside it. Each line is a vector:
words ``name=value`` apart by one space. Numbers are decimal; values of ``hex``, ``payload``, ``name``, ``firmware``,
``text``, ``data``, ``key`` and ``packet`` are bytes in hexadecimal, and empty where there are none. Lines that begin
with # are remarks.
"""

from __future__ import annotations

import dataclasses
import math
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from firmware_bridge.adpcm import AdpcmEncoder, decode_block  # noqa: E402
from firmware_bridge.cobs import cobs_encode  # noqa: E402
from firmware_bridge.fields import Abilities, Codec, Pattern, Priority, Result  # noqa: E402
from firmware_bridge.frame import (  # noqa: E402
    Ack,
    Alert,
    Audio,
    Caption,
    Frame,
    Hello,
    Status,
    Time,
    encode,
)
from firmware_bridge.packets import Direction, seal, stream_packet, with_crc  # noqa: E402

_DEVICE = 0x24_0A_C4_12_34_56
_MAX_U32 = 2**32 - 1
_MAX_U64 = 2**64 - 1
_KEY = bytes(range(32))


def _pcm(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def _adpcm(*samples: int) -> bytes:
    return AdpcmEncoder().encode(list(samples))


def frames() -> list[tuple[str, Frame]]:
    """Good frames of all types, at their limits too."""
    full = "é" * 120
    everything = Abilities.DISPLAY | Abilities.ALERT | Abilities.GATE
    none = Abilities(0)
    sine = [round(12000 * math.sin(2 * math.pi * 440 * n / 16000)) for n in range(320)]
    return [
        ("hello", Hello(_DEVICE, 0xDEADBEEF, 1, 16000, 1, Codec.ADPCM, 320, everything, 64, "kitchen", "1.0.0")),
        ("hello_bare", Hello(1, 0, 0, 8000, 1, Codec.PCM, 1, none, 0, "", "")),
        (
            "hello_full",
            Hello(_MAX_U64, _MAX_U32, _MAX_U32, 48000, 2, Codec.PCM, 1000, everything, 240, "é" * 16, "x" * 32),
        ),
        ("audio_pcm", Audio(_DEVICE, 7, 2240, 0, Codec.PCM, 1, 4, _pcm(0, 1, -1, -32768))),
        ("audio_pcm_stereo", Audio(_DEVICE, 8, 2560, 160, Codec.PCM, 2, 2, _pcm(1, 2, 3, 4))),
        ("audio_pcm_longest", Audio(_DEVICE, 9, 4000, 0, Codec.PCM, 1, 497, _pcm(*range(-248, 249)))),
        ("audio_adpcm", Audio(_DEVICE, 10, 3200, 0, Codec.ADPCM, 1, 320, _adpcm(*sine))),
        ("audio_adpcm_odd", Audio(_DEVICE, 11, 3520, 320, Codec.ADPCM, 1, 5, _adpcm(100, -200, 300, -400, 500))),
        (
            "audio_adpcm_stereo",
            Audio(_DEVICE, 12, 3840, 0, Codec.ADPCM, 2, 6, _adpcm(*range(6)) + _adpcm(*range(0, -6000, -1000))),
        ),
        ("audio_last_numbers", Audio(_DEVICE, _MAX_U32, _MAX_U64, _MAX_U32, Codec.PCM, 1, 1, _pcm(32767))),
        ("audio_zeros", Audio(_DEVICE, 0, 0, 0, Codec.PCM, 1, 320, bytes(640))),
        ("status_unknown", Status(_DEVICE, 10)),
        ("status", Status(_DEVICE, 3600, 320, 180000, 3, 12, 4125, 3700, -61, 47)),
        ("status_limits", Status(_DEVICE, *[_MAX_U32] * 5, 32767, 65535, -128, 0)),
        ("caption", Caption(_DEVICE, 1, Priority.NORMAL, 10, "a dog barks twice")),
        ("caption_utf8", Caption(_DEVICE, 2, Priority.URGENT, 0, "日本語 é 🔔")),
        ("caption_longest", Caption(_DEVICE, 65535, Priority.LOW, 65535, full)),
        ("alert", Alert(_DEVICE, 3, Pattern.THREE_SHORT, Priority.URGENT, 30)),
        ("alert_stop", Alert(_DEVICE, 4, Pattern.STOP, Priority.LOW, 0)),
        ("time", Time(_DEVICE, 0xDEADBEEF, 1, 0x0123456789ABCDEF, 1_780_000_000_123)),
        ("time_unknown", Time(_DEVICE, 0, 0, 0, 0)),
        ("ack_caption", Ack(_DEVICE, Caption.TYPE, Result.DONE, 1)),
        ("ack_alert", Ack(_DEVICE, Alert.TYPE, Result.BUSY, 3)),
        ("ack_cannot", Ack(_DEVICE, Alert.TYPE, Result.CANNOT, 65535)),
        ("ack_hello_wanted", Ack(_DEVICE, Hello.TYPE, Result.HELLO_WANTED, 0)),
    ]


def _value(value: object) -> str:
    if isinstance(value, str):
        return value.encode().hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int):
        return str(int(value))
    raise TypeError(type(value))


def frame_lines() -> Iterator[str]:
    """Frames, with the packet of a byte stream (with its 0) and the plain datagram."""
    for vector, frame in frames():
        fields = " ".join(f"{f.name}={_value(getattr(frame, f.name))}" for f in dataclasses.fields(frame))
        data = encode(frame)
        forms = f"hex={data.hex()} stream={stream_packet(data).hex()} datagram={with_crc(data).hex()}"
        yield f"vector={vector} type={frame.TYPE} {fields} {forms}"


def bad_lines() -> Iterator[str]:
    """Bytes that are no frame; each ``hex`` must be refused (``unknown=1``: ignored, as an unknown type)."""
    good = {name: bytearray(encode(frame)) for name, frame in frames()}

    def changed(name: str, at: int, value: int) -> bytes:
        data = bytearray(good[name])
        data[at] = value
        return bytes(data)

    bad: list[tuple[str, bytes]] = [
        ("empty", b""),
        ("header_cut", bytes(good["time"][:9])),
        ("version_0", changed("time", 0, 0)),
        ("version_2", changed("time", 0, 2)),
        ("device_0", bytes(good["time"][:2]) + bytes(8) + bytes(good["time"][10:])),
        ("hello_rate_low", bytes(good["hello"][:18]) + struct.pack("<I", 7999) + bytes(good["hello"][22:])),
        ("hello_rate_high", bytes(good["hello"][:18]) + struct.pack("<I", 48001) + bytes(good["hello"][22:])),
        ("hello_channels_0", changed("hello", 22, 0)),
        ("hello_channels_3", changed("hello", 22, 3)),
        ("hello_codec_2", changed("hello", 23, 2)),
        ("hello_frame_0", bytes(good["hello"][:24]) + bytes(2) + bytes(good["hello"][26:])),
        ("hello_frame_1001", bytes(good["hello"][:24]) + struct.pack("<H", 1001) + bytes(good["hello"][26:])),
        ("hello_ability_3", changed("hello", 26, 8)),
        ("hello_caption_241", changed("hello", 27, 241)),
        ("hello_name_33", bytes(good["hello_bare"][:28]) + b"\x21\0\0\0" + b"n" * 33),
        ("hello_not_zero", changed("hello", 30, 1)),
        ("hello_name_cut", bytes(good["hello"][:-1])),
        ("hello_name_longer", bytes(good["hello"]) + b"x"),
        ("hello_name_no_utf8", changed("hello", 32, 0xFF)),
        ("hello_name_half_character", changed("hello", 38, 0xC3)),
        ("audio_codec_2", changed("audio_pcm", 26, 2)),
        ("audio_channels_0", changed("audio_pcm", 27, 0)),
        ("audio_channels_3", changed("audio_pcm", 27, 3)),
        ("audio_samples_0", bytes(good["audio_pcm"][:28]) + bytes(2)),
        ("audio_samples_5", changed("audio_pcm", 28, 5)),
        ("audio_samples_3", changed("audio_pcm", 28, 3)),
        ("audio_samples_1001", bytes(good["audio_adpcm"][:28]) + struct.pack("<H", 1001) + bytes(4 + 501)),
        ("audio_adpcm_step_89", changed("audio_adpcm_odd", 32, 89)),
        ("audio_adpcm_not_zero", changed("audio_adpcm_odd", 33, 1)),
        ("audio_adpcm_unused_bits", changed("audio_adpcm_odd", 36, good["audio_adpcm_odd"][36] | 0x10)),
        ("audio_adpcm_stereo_step_89", changed("audio_adpcm_stereo", 30 + 7 + 2, 89)),
        ("audio_1025", bytes(good["audio_pcm_longest"]) + b"\0"),
        ("status_short", bytes(good["status"][:-1])),
        ("status_long", bytes(good["status"]) + b"\0"),
        ("caption_id_0", changed("caption", 10, 0)),
        ("caption_priority_4", changed("caption", 12, 4)),
        ("caption_not_zero", changed("caption", 13, 1)),
        ("caption_empty", bytes(good["caption"][:16]) + b"\0\0"),
        ("caption_cut", bytes(good["caption"][:-1])),
        ("caption_half_character", changed("caption", len(good["caption"]) - 1, 0xC3)),
        ("caption_overlong", changed("caption", 18, 0xC0)),
        ("caption_241", bytes(good["caption"][:16]) + struct.pack("<H", 241) + b"x" * 241),
        ("caption_surrogate", bytes(good["caption"][:16]) + struct.pack("<H", 3) + b"\xed\xa0\x80"),
        ("alert_id_0", changed("alert", 10, 0)),
        ("alert_pattern_6", changed("alert", 12, 6)),
        ("alert_priority_4", changed("alert", 13, 4)),
        ("alert_long", bytes(good["alert"]) + b"\0"),
        ("time_short", bytes(good["time"][:-1])),
        ("ack_of_audio", changed("ack_caption", 10, 2)),
        ("ack_result_4", changed("ack_caption", 11, 4)),
        ("ack_id_0", changed("ack_caption", 12, 0)),
        ("ack_hello_done", changed("ack_hello_wanted", 11, 0)),
        ("ack_hello_id", changed("ack_hello_wanted", 12, 1)),
        ("ack_caption_wanted", changed("ack_caption", 11, 3)),
        ("ack_short", bytes(good["ack_caption"][:-1])),
    ]
    for vector, data in bad:
        yield f"vector={vector} unknown=0 hex={data.hex()}"
    for kind in (0, 8, 255):
        yield f"vector=type_{kind} unknown=1 hex={changed('time', 1, kind).hex()}"


def cobs_lines() -> Iterator[str]:
    """COBS alone: ``data`` and its ``packet`` (without the 0); then packets that are none."""
    nonzero = bytes(n % 255 + 1 for n in range(600))
    data = [
        ("empty", b""),
        ("zero", b"\0"),
        ("zeros", b"\0\0"),
        ("one", b"\x11"),
        ("middle", b"\x11\x22\0\x33"),
        ("ends_with_zero", b"\x11\0"),
        ("run_253", nonzero[:253]),
        ("run_254", nonzero[:254]),
        ("run_255", nonzero[:255]),
        ("run_254_zero", nonzero[:254] + b"\0"),
        ("zero_run_254", b"\0" + nonzero[:254]),
        ("run_508", nonzero[:508]),
        ("run_254_zero_1", nonzero[:254] + b"\0\x01"),
        ("zeros_1028", bytes(1028)),
    ]
    for vector, plain in data:
        yield f"vector={vector} good=1 data={plain.hex()} packet={cobs_encode(plain).hex()}"
    other_form = (b"\xff" + nonzero[:254] + b"\x01").hex()
    yield f"vector=run_254_other_form good=2 data={nonzero[:254].hex()} packet={other_form}"
    for vector, packet in (("cut", b"\x05\x11\x22"), ("cut_run", b"\xff" + nonzero[:253]), ("code_alone", b"\x01\x02")):
        yield f"vector={vector} good=0 packet={packet.hex()}"


def adpcm_lines() -> Iterator[str]:
    """A row of blocks of one encoder: ``data`` PCM s16le, ``packet`` the block, ``decoded`` what it decodes to."""
    generator = random.Random(19)
    rows = {
        "silence": [[0] * 320],
        "sine": [
            [round(20000 * math.sin(2 * math.pi * 1000 * n / 16000)) for n in range(k * 160, k * 160 + 160)]
            for k in range(4)
        ],
        "noise": [[generator.randint(-32768, 32767) for _ in range(101)] for _ in range(4)],
        "square": [[32767] * 40 + [-32768] * 40, [-32768, 32767] * 20, [0] * 40],
        "quiet": [[generator.randint(-8, 8) for _ in range(160)] for _ in range(2)],
        "single": [[5], [-5], [32767], [-32768]],
    }
    for vector, blocks in rows.items():
        encoder = AdpcmEncoder()
        for number, samples in enumerate(blocks):
            block = encoder.encode(samples)
            decoded = decode_block(block, len(samples))
            forms = f"data={_pcm(*samples).hex()} packet={block.hex()} decoded={_pcm(*decoded).hex()}"
            yield f"vector={vector} block={number} samples={len(samples)} {forms}"


def sealed_lines() -> Iterator[str]:
    """Authenticated datagrams: with right tags (``good=1``), and forged, cut or turned ones (``good=0``)."""
    by_name = dict(frames())
    session = 0xFEDCBA9876543210
    rows = [
        ("hello", "hello", Direction.UP, 0, 0),
        ("time", "time", Direction.DOWN, 0, 0),
        ("audio", "audio_pcm", Direction.UP, session, 1),
        ("audio_longest", "audio_pcm_longest", Direction.UP, session, 2),
        ("status", "status", Direction.UP, session, _MAX_U32),
        ("caption", "caption_utf8", Direction.DOWN, session, 1),
        ("ack", "ack_alert", Direction.UP, session, 3),
    ]

    def line(vector: str, good: int, direction: Direction, packet: bytes, tail: str = "") -> str:
        way = direction.value.hex()
        return f"vector={vector} good={good} direction={way} key={_KEY.hex()} packet={packet.hex()}{tail}"

    for vector, frame, direction, of_session, counter in rows:
        data = encode(by_name[frame])
        packet = seal(data, _KEY, direction, of_session, counter)
        yield line(vector, 1, direction, packet, f" session={of_session} counter={counter} hex={data.hex()}")
    packet = seal(encode(by_name["audio_pcm"]), _KEY, Direction.UP, session, 1)
    for at in (0, 12, len(packet) - 28, len(packet) - 20, len(packet) - 16, len(packet) - 1):
        yield line(f"bit_{at}", 0, Direction.UP, packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :])
    yield line("other_direction", 0, Direction.DOWN, packet)
    yield line("cut", 0, Direction.UP, packet[:-1])
    yield line("short", 0, Direction.UP, packet[-37:])
    yield line("longer", 0, Direction.UP, packet + b"\0")
    yield line("plain", 0, Direction.UP, with_crc(encode(by_name["audio_pcm"])))
    yield line("too_long", 0, Direction.UP, seal(bytes(1025), _KEY, Direction.UP, session, 1))


def window_lines() -> Iterator[str]:
    """A row of counters of one session, and which are taken (1) and refused (0), in order."""
    counters = [0, 1, 1, 3, 2, 2, 67, 3, 4, 5, 66, 66, 1000, 937, 936, 937, 999, _MAX_U32, _MAX_U32, 1000]
    taken = [0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    for counter, verdict in zip(counters, taken, strict=True):
        yield f"counter={counter} taken={verdict}"


FILES = {
    "frames.txt": frame_lines,
    "bad_frames.txt": bad_lines,
    "cobs.txt": cobs_lines,
    "adpcm.txt": adpcm_lines,
    "sealed.txt": sealed_lines,
    "window.txt": window_lines,
}


def main() -> None:
    """Writes all files."""
    for file, lines in FILES.items():
        (Path(__file__).parent / file).write_text("".join(f"{line}\n" for line in lines()), encoding="ascii")


if __name__ == "__main__":
    main()
