"""What the links to microcontrollers cost: captions through each codec, bits a second, and processor time a device.

    python -m benchmarks.bridge codecs --data FOLDER --fold 4
    python -m benchmarks.bridge devices --count 16 --seconds 60

"codecs" captions the card's recordings and scenes from 16-bit PCM and from ADPCM with the same generator, at their own
level and 30 dB lower, as a distant microphone has them. "float" against PCM is the measure of what any change of the
last bit does. "devices" has so many emulated devices, in a process of their own, speak to one socket over
authenticated UDP, and reads them without captioning: what is left is the bridge's own cost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from edge_aac.bundle.store import DEFAULT_BUNDLE

Waveform = npt.NDArray[np.float32]
_FULL_SCALE = 32768.0
_UDP_AND_IP_BYTES = 28
_SOCKET_WAIT_S = 30.0


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    codecs = kinds.add_parser("codecs")
    codecs.add_argument("--bundle", default=DEFAULT_BUNDLE)
    codecs.add_argument("--data", type=Path, required=True)
    codecs.add_argument("--fold", type=int, default=4)
    codecs.add_argument("--scenes", type=int, default=200)
    devices = kinds.add_parser("devices")
    devices.add_argument("--count", type=at_least(1), default=16)
    devices.add_argument("--seconds", type=at_least(1), default=60)
    devices.add_argument("--codec", choices=("pcm", "adpcm"), default="pcm")
    arguments = parser.parse_args()
    if arguments.kind == "codecs":
        agreement = codec_agreement(arguments.bundle, arguments.data, arguments.fold, arguments.scenes)
        result: dict[str, Any] = {"bits_a_second": bits_a_second(), "agreement": agreement}
    else:
        result = many_devices(arguments.count, arguments.seconds, arguments.codec)
    print(json.dumps(result, indent=1))


def bits_a_second(rate_hz: int = 16_000, frame_samples: int = 320) -> dict[str, dict[str, int]]:
    """Bits a second of sound on the wire, by codec: a byte of a UART takes ten; UDP with all headers."""
    from firmware_bridge.fields import Codec
    from firmware_bridge.frame import Audio, encode, payload_bytes
    from firmware_bridge.packets import TRAILER_BYTES, stream_packet

    random = np.random.default_rng(0)
    table = {}
    for codec in Codec:
        for samples in (frame_samples, 2 * frame_samples):
            size = payload_bytes(codec, 1, samples)
            head = bytes(4) if codec is Codec.ADPCM else b""
            payload = head + random.bytes(size - len(head))
            try:
                frame = encode(Audio(1, 0, 0, 0, codec, 1, samples, payload))
            except ValueError:
                continue  # longer than a frame may be
            a_second = rate_hz / samples
            table[f"{codec.name.lower()}, {1000 * samples // rate_hz} ms"] = {
                "uart": round(10 * len(stream_packet(frame)) * a_second),
                "udp": round(8 * (len(frame) + TRAILER_BYTES + _UDP_AND_IP_BYTES) * a_second),
            }
    return table


def through_pcm(waveform: Waveform) -> Waveform:
    """What a device's 16-bit samples keep of a waveform."""
    return (_sixteen_bit(waveform) / np.float32(_FULL_SCALE)).astype(np.float32)


def through_adpcm(waveform: Waveform, frame_samples: int = 320) -> Waveform:
    """What ADPCM keeps of a waveform, frame by frame."""
    from firmware_bridge.adpcm import AdpcmEncoder, decode_block

    encoder, samples = AdpcmEncoder(), _sixteen_bit(waveform).tolist()
    back: list[int] = []
    for start in range(0, len(samples), frame_samples):
        frame = samples[start : start + frame_samples]
        back += decode_block(encoder.encode(frame), len(frame))
    return np.asarray(back, np.float32) / np.float32(_FULL_SCALE)


def _sixteen_bit(waveform: Waveform) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(waveform * _FULL_SCALE), -32768, 32767).astype(np.int16)


def codec_agreement(bundle: str, data: Path, fold: int, scene_count: int) -> dict[str, Mapping[str, float]]:
    """Shares of windows with the same caption, and with the same sounds named, as from PCM."""
    from benchmarks.readings import class_reader
    from edge_aac.audio.features import filter_bank
    from edge_aac.models.seq2seq import Captioner, window_rng
    from quantize.captioning import described, heard
    from quantize.data.clips import load_clips
    from quantize.data.scenes import SceneBuilder, SceneRecipe, padded_clip, two_sound_scenes
    from quantize.evaluation.statistics import wilson
    from quantize.evaluation.windows import SCENE_SEED

    clips = load_clips(data, (fold,))
    scenes = two_sound_scenes(SceneBuilder(clips, SceneRecipe()), scene_count, SCENE_SEED)
    waveforms = {
        "recordings": [padded_clip(clip.waveform) for clip in clips],
        "scenes": [scene.waveform for scene in scenes],
    }
    captioner = Captioner.open(bundle)
    read = class_reader(captioner.sound_names)

    def captions(sounds: Iterator[Waveform]) -> list[str]:
        windows = ((heard(filter_bank(sound)), window_rng(0, 0)) for sound in sounds)
        return [description.best.text for description in described(captioner, windows)]

    table: dict[str, Mapping[str, float]] = {}
    for kind, sounds in waveforms.items():
        for level_db in (0, -30):
            gain = np.float32(10 ** (level_db / 20))
            pcm = captions(through_pcm(sound * gain) for sound in sounds)
            for name, form in (("float", lambda sound: sound), ("adpcm", through_adpcm)):
                other = captions(form(sound * gain) for sound in sounds)
                same = sum(one == two for one, two in zip(pcm, other, strict=True))
                named = sum(read(one) == read(two) for one, two in zip(pcm, other, strict=True))
                low, high = wilson(same, len(sounds))
                table[f"{kind}, {level_db} dB, {name}"] = {
                    "windows": len(sounds),
                    "same_caption": round(same / len(sounds), 4),
                    "same_caption_from": round(low, 4),
                    "same_caption_to": round(high, 4),
                    "same_sounds_named": round(named / len(sounds), 4),
                }
    return table


def many_devices(count: int, seconds: int, codec: str) -> dict[str, Any]:
    """Has devices speak to a socket of this process, and reads them; see the module."""
    import socket

    import soundfile

    from edge_aac.audio.sources.address import Address, SourceContext
    from firmware_bridge.address import BridgeAddress
    from firmware_bridge.keys import add_key, new_key
    from firmware_bridge.registry import registry
    from firmware_bridge.source import DeviceSource, open_device

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        add_key(keys, None, new_key())
        address = f"udp://127.0.0.1:{port}?keys=file:{keys}"
        link = registry.open(BridgeAddress.of(Address.parse(address)).endpoint, wait=False)
        sound = Path(folder) / "sound.wav"
        noise = np.random.default_rng(0).normal(0.0, 0.05, 16_000 * seconds).astype(np.float32)
        soundfile.write(sound, noise, 16_000, subtype="PCM_16")
        words = ["--keys", str(keys), "--devices", str(count), "--codec", codec, "--sound", f"file:{sound}"]
        emulator = subprocess.Popen(
            [sys.executable, "-m", "edge_aac.cli", "bridge", "emulate", f"udp://127.0.0.1:{port}", *words],
            stdout=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + _SOCKET_WAIT_S
        while len(link.devices) < count and time.monotonic() < deadline_s:
            time.sleep(0.05)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        heard = dict.fromkeys(range(count), 0)
        sources: list[DeviceSource] = []

        def read(number: int, source: DeviceSource) -> None:
            while (block := source.read()) is not None:
                source.take_losses()
                heard[number] += len(block)

        threads = []
        for number, device in enumerate(link.devices):
            found = BridgeAddress.of(Address.parse(address)).of_found(device.id)
            sources.append(open_device(Address.parse(found), SourceContext(device.label)))
            threads.append(threading.Thread(target=read, args=(number, sources[-1]), daemon=True))
            threads[-1].start()
        emulator.wait(seconds * 4 + 60)
        elapsed_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        time.sleep(0.3)
        lost = [source.lost_samples() for source in sources]
        for source in sources:
            source.close()
        registry.release(link)
    return {
        "devices": len(sources),
        "codec": codec,
        "seconds": round(elapsed_s, 1),
        "heard_s_fewest": round(min(heard.values()) / 16_000, 2),
        "heard_s_most": round(max(heard.values()) / 16_000, 2),
        "lost_samples": sum(lost),
        "refused": link.refused,
        "processor_percent_a_device": round(100 * cpu_s / elapsed_s / max(1, len(sources)), 3),
    }


if __name__ == "__main__":
    run(main)
