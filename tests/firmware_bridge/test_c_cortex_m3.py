"""The library on an emulated Cortex-M3: streams the recording that is linked into its image, and shows captions."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.adpcm import AdpcmEncoder, decode_block
from firmware_bridge.fields import Codec, Pattern, Priority, Result
from firmware_bridge.frame import Ack, Alert, Audio, Caption, Hello, Status
from tests.firmware_bridge.c_devices import SmallHost, build_image, cortex_m3, samples_in
from tests.firmware_bridge.c_library import need
from tests.firmware_bridge.wav_files import samples_of, write_scene

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_DEVICE = 0x02CA5C4DE0000001
_CAPTION = "a dog barks twice while rain falls on a tin roof"
_SHOWN = ["a dog barks twice", "while rain falls on a", "tin roof", ""]


def _heard_all(host: SmallHost, samples: int) -> bool:
    audio = host.audio()
    return bool(audio) and audio[-1].first_sample + audio[-1].samples >= samples


def test_it_streams_its_recording_and_shows_captions(c_build: Path, tmp_path: Path) -> None:
    recording = write_scene(tmp_path / "scene.wav", 2.013)
    expected = samples_of(recording)
    with cortex_m3(build_image(c_build, tmp_path, recording), tmp_path) as board:
        host = SmallHost.at(board.terminal)
        host.serve_until(lambda host: len(host.audio()) >= 10)
        host.write(bytes(range(1, 256)) * 4)  # noise on the line
        host.send(Caption(_DEVICE, 1, Priority.IMPORTANT, 2, _CAPTION))
        host.send(Caption(_DEVICE, 1, Priority.IMPORTANT, 2, _CAPTION))
        host.send(Caption(_DEVICE + 1, 1, Priority.URGENT, 2, "not for this device"))
        host.send(Alert(_DEVICE, 2, Pattern.TWO_SHORT, Priority.URGENT, 1))
        host.serve_until(lambda host: _heard_all(host, len(expected)))
        console = board.wait_for(lambda lines: lines[-4:] == ["screen ||"] * 4 and "heard all" in "".join(lines))
        host.serve_until(lambda host: any(isinstance(frame, Status) and frame.uptime_s >= 10 for frame in host.frames))
        host.close()
        screens = board.screens()
    hello = host.frames[0]
    assert isinstance(hello, Hello)
    assert (hello.device, hello.name, hello.rate_hz, hello.codec) == (_DEVICE, "cortex-m3", 16_000, Codec.PCM)
    assert np.array_equal(samples_in(host.audio()), expected)
    assert host.refused == 0
    acks = [frame for frame in host.frames if isinstance(frame, Ack)]
    # The noise ended with the first caption's packet, which is lost with it; its repetition is shown.
    assert acks == [Ack(_DEVICE, 4, Result.DONE, 1), Ack(_DEVICE, 5, Result.DONE, 2)]
    assert screens == [[""] * 4, _SHOWN, [""] * 4]
    assert f"alert {int(Pattern.TWO_SHORT)}" in console
    assert f"heard all: sent {len(host.audio())} frames, lost 0 samples" in console
    status = [frame for frame in host.frames if isinstance(frame, Status)][-1]
    assert (status.overrun_samples, status.captions_shown, status.frames_refused) == (0, 1, 1)


def test_adpcm_of_a_mulaw_recording(c_build: Path, tmp_path: Path) -> None:
    recording = write_scene(tmp_path / "scene.wav", 1.0, subtype="ULAW")
    expected = samples_of(recording)
    with cortex_m3(build_image(c_build, tmp_path, recording, "ADPCM"), tmp_path) as board:
        host = SmallHost.at(board.terminal)
        host.serve_until(lambda host: _heard_all(host, len(expected)))
        host.close()
    encoder = AdpcmEncoder()
    pieces = [expected[at : at + 320].tolist() for at in range(0, len(expected), 320)]
    assert [frame.payload for frame in host.audio()] == [encoder.encode(piece) for piece in pieces]
    decoded = np.array([sample for frame in host.audio() for sample in decode_block(frame.payload, frame.samples)])
    assert np.array_equal(samples_in(host.audio()), decoded)


def _sections(image: Path) -> dict[str, int]:
    need("arm-none-eabi-size")
    listed = subprocess.run(["arm-none-eabi-size", "-A", image], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.[\w.]+)\s+(\d+)", listed, re.MULTILINE)}


def _symbols(image: Path) -> dict[str, int]:
    listed = subprocess.run(["arm-none-eabi-nm", "-S", image], capture_output=True, text=True, check=True).stdout
    # Variables of a function have a number behind their name.
    return {name: int(size, 16) for size, name in re.findall(r"^\w+ (\w+) [bBdD] (\w+)", listed, re.MULTILINE)}


def test_the_device_is_small(c_build: Path, tmp_path: Path) -> None:
    image = build_image(c_build, tmp_path, write_scene(tmp_path / "scene.wav", 0.1))
    sections, symbols = _sections(image), _symbols(image)
    flash = sections[".text"] + sections.get(".data", 0)
    ram = sections[".data"] + sections[".bss"]
    library = sum(symbols[name] for name in ("ring", "microphone", "device", "samples", "out", "in"))
    print(f"flash {flash} bytes, RAM {ram} bytes, of them the library's with its buffers {library}: {symbols}")
    assert flash < 16_384
    assert ram < 4_096
    assert 1_000 < library < 2_560


_BENCH_LINE = re.compile(r"(.+) ticks=(\d+) bytes=(\d+) times=(\d+)")
_INSTRUCTIONS_A_TICK = 20  # 1 ns each, of a counter at 50 MHz


def test_a_frame_costs_few_instructions(c_build: Path, tmp_path: Path) -> None:
    build_image(c_build, tmp_path, write_scene(tmp_path / "scene.wav", 0.1))
    with cortex_m3(c_build / "cortex_m3_bench.elf", tmp_path, instructions=True) as board:
        console = board.wait_for(lambda lines: "done" in lines)
    costs: dict[str, tuple[float, float]] = {}
    for line in console[:-1]:
        match = _BENCH_LINE.fullmatch(line)
        assert match is not None, line
        times = int(match[4])
        name = match[1] if not match[1].startswith(" ") else f"{list(costs)[-1]}: caption"
        costs.setdefault(name, (int(match[2]) * _INSTRUCTIONS_A_TICK / times, int(match[3]) / times))
    for name, (instructions, size) in costs.items():
        print(f"{name}: {instructions:.0f} instructions, {size:.1f} bytes")
    # 20 ms of a core at 50 MHz are about a million cycles: a frame takes less than a tenth of them.
    assert all(instructions < 100_000 for instructions, _ in costs.values())
    assert costs["pcm serial"][0] < costs["adpcm serial"][0] < costs["adpcm udp"][0]
    # 20 of body's head, 10 of header, 4 of CRC, 2 to 4 of COBS; or 28 of trailer.
    assert 676 <= costs["pcm serial"][1] <= 678 and 199 <= costs["adpcm serial"][1] <= 202
    assert (costs["pcm udp"][1], costs["adpcm udp"][1]) == (698, 222)


def test_the_cable_is_pulled_ten_times(c_build: Path, tmp_path: Path) -> None:
    """What comes between the pulls is the recording at the place that it says, and the device goes on."""
    recording = write_scene(tmp_path / "scene.wav", 14.0, subtype="ULAW")
    expected = samples_of(recording)
    generator = random.Random(19)
    heard: list[Audio] = []
    refused = 0
    with cortex_m3(build_image(c_build, tmp_path, recording), tmp_path) as board:
        for _ in range(11):
            host = SmallHost.at(board.terminal)
            host.serve_until(lambda host: len(host.audio()) >= 5)
            host.write(generator.randbytes(generator.randrange(40)))  # a packet of the host's is cut, too
            host.close()
            heard += host.audio()
            refused += host.refused
    sequences = [frame.sequence for frame in heard]
    assert sequences == sorted(set(sequences)) and len(sequences) >= 55
    for frame in heard:
        at = frame.first_sample
        assert at == 320 * frame.sequence
        assert np.array_equal(np.frombuffer(frame.payload, "<i2"), expected[at : at + frame.samples])
    # Of each piece at most its first packet was begun before the terminal was open.
    assert refused <= 11
