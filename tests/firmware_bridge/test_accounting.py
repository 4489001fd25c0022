"""Bad links: losses are counted to the sample, each damage costs its own frames alone, times stay right for an hour."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

from firmware_bridge.frame import Audio, decode, encode
from firmware_bridge.impairments import BadLink, Chances
from firmware_bridge.packets import StreamReader, stream_packet
from tests.firmware_bridge.worlds import SimulatedChannel, counted_samples, hello, pcm

HOURS = float(os.environ.get("EDGE_AAC_BRIDGE_HOURS", "0.1"))
"""Simulated time of the drifting device: six minutes in CI, an hour and more when asked for."""
FRAME_S = 0.02


def _checked_to_the_sample(channel: SimulatedChannel, given: list[int], samples: int = 320) -> None:
    """All that came is where it belongs, all that did not is counted, and nothing else is."""
    first, last = given[0], given[-1]
    span = (last - first + 1) * samples
    assert channel.ring.written_samples == span
    assert channel.lost_samples == span - len(given) * samples
    for position, sound in channel.sound:
        expected = (np.arange(position, position + len(sound)) + first * samples) % 30_011
        np.testing.assert_array_equal(np.rint(sound * 32_768).astype(int), expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_lost_reordered_and_doubled_datagrams(seed: int) -> None:
    channel = SimulatedChannel()
    bad_link = BadLink(Chances(loss=0.05, reorder=0.02, duplicate=0.02), random.Random(seed))
    arrived: set[int] = set()
    for number, values in counted_samples(3000):
        channel.clocks.running_s += FRAME_S
        for data in bad_link.carry(encode(pcm(number, number * 320, values))):
            frame = decode(data)
            assert isinstance(frame, Audio)
            arrived.add(frame.sequence)
            channel.take(data)
    channel.clocks.running_s += 1.0
    channel.advance()
    assert bad_link.lost > 50 and bad_link.reordered > 20 and bad_link.duplicated > 20
    _checked_to_the_sample(channel, sorted(arrived))
    counters = channel.inbox.counters
    assert counters.reordered == pytest.approx(bad_link.reordered, abs=5)
    assert counters.late <= 5, "copies of frames that came late"
    assert counters.missing == 3000 - len(arrived) - (2999 - max(arrived)) - min(arrived)


def _bursts(data: bytearray, share: float, length: int, generator: random.Random) -> set[int]:
    """Damages ``share`` of the bytes in bursts; gives the places."""
    places: set[int] = set()
    while len(places) < share * len(data):
        start = generator.randrange(len(data))
        for place in range(start, min(start + generator.randint(1, 2 * length), len(data))):
            if place not in places:
                places.add(place)
                data[place] ^= generator.randint(1, 255)
    return places


@pytest.mark.parametrize(("samples", "burst"), [(320, 200), (320, 20), (8, 1)])
def test_5_percent_of_bytes_damaged(samples: int, burst: int) -> None:
    """In bursts with frames of 20 ms; and each byte for itself with frames so short that some come through."""
    generator = random.Random(burst)
    stream, ends = bytearray(b"\0"), [1]
    for number, values in counted_samples(3000, samples):
        stream += stream_packet(encode(pcm(number, number * samples, values)))
        ends.append(len(stream))
    damaged = _bursts(stream, 0.05, burst, generator)
    assert len(damaged) >= 0.05 * len(stream)
    channel, reader = SimulatedChannel(), StreamReader()
    given: list[int] = []
    place = 0
    while place < len(stream):
        size = generator.randint(1, 900)
        for data in reader.feed(bytes(stream[place : place + size])):
            frame = decode(data)
            assert isinstance(frame, Audio)
            given.append(frame.sequence)
            channel.take(data)
        place += size
        channel.clocks.running_s += FRAME_S
    channel.clocks.running_s += 1.0
    channel.advance()
    # Resynchronised within one frame: each packet that is whole, and begins behind a whole 0, is there.
    whole = [n for n in range(3000) if not any(place in damaged for place in range(ends[n] - 1, ends[n + 1]))]
    assert set(whole) <= set(given)
    assert len(given) - len(whole) <= len(whole) * 0.2
    assert reader.refused > 0
    _checked_to_the_sample(channel, given, samples)


def _arrivals(frames: int, pulls: list[int], longest: int, generator: random.Random) -> Iterator[int]:
    """Numbers of frames in the order in which they arrive: 5 % are lost, 2 % come late, the cable is pulled."""
    away_until, held = 0, None
    for number in range(frames):
        if pulls and number >= pulls[0]:
            pulls.pop(0)
            away_until = number + generator.randint(longest // 10, longest)
        if number < away_until or generator.random() < 0.05:
            continue
        if held is None and number > 5 and generator.random() < 0.02:  # with the first frame the count begins
            held = number
            continue
        yield number
        if held is not None and number - held < 3:
            yield held
        held = None


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_a_clock_that_is_off_stays_aligned(ppm: float) -> None:
    """200 ppm are 0.72 s in an hour; with jitter, and all else that a bad link does."""
    generator = random.Random(int(ppm))
    channel = SimulatedChannel()
    channel.keep_sound = False
    frames = int(HOURS * 3600 / FRAME_S)
    zeros = pcm(0, 0)
    began_s = channel.clocks.running_s
    rate = 16_000 * (1 + ppm * 1e-6)
    pulls = sorted(generator.sample(range(frames // 10, frames), 10))
    longest = int(min(60.0, HOURS * 60) / FRAME_S)
    arrived: list[int] = []
    worst_s = 0.0

    def error_s() -> float:
        """How far the time of the newest sample is off."""
        position = channel.ring.written_samples
        return abs(channel.time_of(position) - began_s - (position + arrived[0] * 320) / rate)

    for number in _arrivals(frames, pulls, longest, generator):
        arrived.append(number)
        arrived_s = began_s + (number + 1) * 320 / rate + 0.002 + generator.expovariate(1 / 0.004)
        channel.advance_to(arrived_s)
        audio = Audio(zeros.device, number, number * 320, 0, zeros.codec, 1, 320, zeros.payload)
        channel.inbox.put(audio, channel.clocks.running_s)
        channel.advance()
        if len(arrived) % 50 == 0 and number * FRAME_S > 60:
            worst_s = max(worst_s, error_s())
    channel.clocks.running_s += 1.0
    channel.advance()
    lost = (max(arrived) - arrived[0] + 1 - len(arrived)) * 320
    print(f"{HOURS} h at {ppm} ppm: worst {worst_s * 1000:.1f} ms off, {lost} samples lost")
    assert (channel.lost_samples, channel.inbox.counters.late) == (lost, 0)
    assert error_s() <= 0.020
    assert worst_s <= 0.020


def test_what_a_gate_leaves_out_is_no_loss_and_a_lost_frame_beside_it_is() -> None:
    channel = SimulatedChannel()
    channel.take(encode(pcm(0, 0)))
    # 1600 samples left out, and one frame of 320 lost among them.
    channel.clocks.running_s += 0.12
    channel.take(encode(pcm(2, 320 + 1600 + 320, gated=1600)))
    channel.clocks.running_s += 0.1
    channel.advance()
    assert channel.ring.written_samples == 320 + 1600 + 320 + 320
    assert channel.lost_samples == 320
    gated = channel.sound[1][1]
    assert len(gated) == 1600
    assert 0 < np.abs(gated).max() <= 2 / 32_768, "quiet, and no digital silence"


def test_counters_that_wrap() -> None:
    channel = SimulatedChannel()
    end = 2**32
    for number in range(end - 3, end + 3):
        if number == end:
            continue
        channel.clocks.running_s += FRAME_S
        channel.take(encode(pcm(number, 320 * number, gated=end - 10)))
    channel.clocks.running_s += 0.1
    channel.advance()
    assert (channel.ring.written_samples, channel.lost_samples) == (6 * 320, 320)


def test_losses_at_44100_hz_add_up() -> None:
    """100 samples of 44.1 kHz are no whole number of samples at 16 kHz; in the end the sum is right."""
    channel = SimulatedChannel(first=hello(rate_hz=44_100))
    position = 0
    for number in range(2000):
        channel.clocks.running_s += 420 / 44_100
        channel.inbox.put(pcm(number, position), channel.clocks.running_s)
        channel.advance()
        position += 320 + 100
    expected = 1999 * 100 * 16_000 / 44_100
    assert abs(channel.lost_samples + channel.pending_samples - expected) < 1


def test_a_restart_is_told_by_hello_and_its_time_counts_by_the_clock() -> None:
    channel = SimulatedChannel()
    channel.take(encode(pcm(500, 160_000)))
    channel.clocks.running_s += 2.0
    channel.inbox.restart(hello(boot=8))
    channel.take(encode(pcm(0, 0)))
    assert channel.lost_samples == pytest.approx(2 * 16_000 - 320, abs=1)
    assert channel.ring.written_samples == channel.lost_samples + 640


def test_a_restart_without_a_word_is_noticed() -> None:
    channel = SimulatedChannel()
    channel.take(encode(pcm(5000, 1_600_000)))
    for number in range(40):
        channel.clocks.running_s += FRAME_S
        channel.take(encode(pcm(number, number * 320)))
    assert channel.inbox.counters.frames == 41


def test_a_sample_clock_that_cannot_be_right_is_not_believed() -> None:
    channel = SimulatedChannel()
    channel.take(encode(pcm(0, 0)))
    channel.clocks.running_s += 1.0
    channel.take(encode(pcm(1, 2**60)))
    assert channel.ring.written_samples == pytest.approx(17_000, abs=1000)


def test_a_reader_that_is_held_up_loses_the_oldest_and_counts_them() -> None:
    channel = SimulatedChannel()
    channel.take(encode(pcm(0, 0)))
    for number in range(1, 801):
        channel.clocks.running_s += FRAME_S
        channel.inbox.put(pcm(number, number * 320), channel.clocks.running_s)
    channel.advance()
    assert channel.inbox.overrun_frames == 800 - 512
    assert channel.inbox.counters.frames == 801
    assert channel.lost_samples == (800 - 512) * 320
    assert channel.ring.written_samples == 801 * 320
