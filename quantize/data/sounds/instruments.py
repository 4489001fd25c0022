"""Instruments and drums playing drawn phrases, rendered by FluidSynth with the FluidR3 bank, whose samples are MIT.

The bank's General MIDI programs are real instruments recorded note by note; the phrases (scale, tempo, register,
chords) are drawn, so what is heard is as varied as the draws are, and ours. Programs 121 to 128 are sound effects.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.sounds.store import Samples, StoredSound, sixteen_bit

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
LICENSE, AUTHOR = "MIT", "Frank Wen (FluidR3)"

_PHRASE_S, _GAP_S = 7.0, 3.0
_DRUMS = 128
"""Program number that stands for the drum channel."""

_LABELS = (
    *("Piano",) * 4,
    *("Electric piano", "Electric piano", "Harpsichord", "Electric piano"),
    *("Glockenspiel", "Glockenspiel", "Music", "Vibraphone", "Marimba, xylophone", "Marimba, xylophone"),
    *("Tubular bells", "Zither"),
    *("Hammond organ", "Electronic organ", "Organ", "Organ", "Organ", "Accordion", "Harmonica", "Accordion"),
    *("Acoustic guitar", "Acoustic guitar", "Electric guitar", "Electric guitar", "Electric guitar"),
    *("Electric guitar", "Electric guitar", "Electric guitar"),
    *("Double bass", "Bass guitar", "Bass guitar", "Bass guitar", "Bass guitar", "Bass guitar"),
    *("Synthesizer", "Synthesizer"),
    *("Violin, fiddle", "Violin, fiddle", "Cello", "Double bass", "String section", "Pizzicato", "Harp", "Timpani"),
    *("String section", "String section", "Synthesizer", "Synthesizer", "Choir", "Choir", "Synthesizer", "Orchestra"),
    *("Trumpet", "Trombone", "Brass instrument", "Trumpet", "French horn", "Brass instrument"),
    *("Brass instrument", "Brass instrument"),
    *("Saxophone",) * 4,
    *("Wind instrument, woodwind instrument",) * 3,
    "Clarinet",
    *("Flute",) * 8,
    *("Synthesizer",) * 24,
    *("Sitar", "Banjo", "Plucked string instrument", "Plucked string instrument", "Plucked string instrument"),
    *("Bagpipes", "Violin, fiddle", "Wind instrument, woodwind instrument"),
    *("Percussion", "Cowbell", "Steelpan", "Wood block", "Drum", "Drum", "Drum", "Cymbal"),
    *("", "", "Ocean", "Bird vocalization, bird call, bird song", "Telephone bell ringing", "Helicopter"),
    *("Applause", "Gunshot, gunfire"),
    "Drum kit",
)
"""AudioSet's name for each General MIDI program, counted from 0, then the drums."""

PROGRAMS = tuple(range(len(_LABELS)))
"""All, counted from 0; 128 are the drums."""

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9), tuple(range(12)))


def instrument_sounds(
    phrases: int, seed: int, soundfont: Path = SOUNDFONT, programs: Sequence[int] = PROGRAMS
) -> Iterator[tuple[StoredSound, Samples]]:
    """So many phrases, each of the programs as often.

    Raises:
        InputMissingError: FluidSynth or the bank is not installed.
    """
    if not soundfont.is_file():
        raise InputMissingError(
            f"no instruments at {soundfont}: apt-get install fluidsynth fluid-soundfont-gm brings them"
        )
    for first in range(0, phrases, len(programs)):
        group = programs[: phrases - first]
        rng = np.random.default_rng([seed, first])
        rendered = _rendered(_midi(group, rng), soundfont)
        step = round((_PHRASE_S + _GAP_S) * SAMPLE_RATE)
        for index, program in enumerate(group):
            piece = _trimmed(rendered[index * step : (index + 1) * step])
            if len(piece) < SAMPLE_RATE // 5:
                continue
            name = "drums" if program == _DRUMS else f"program {program + 1}"
            scaled = piece * (10.0 ** rng.uniform(-0.8, -0.05) / float(np.abs(piece).max()))
            fold = 1 + first // len(programs) % 4
            yield StoredSound("", name, _LABELS[program], fold, LICENSE, AUTHOR, soundfont.name), sixteen_bit(scaled)


def _trimmed(piece: Waveform) -> Waveform:
    loud = np.flatnonzero(np.abs(piece) > 1e-3)
    return piece[loud[0] : loud[-1] + 1] if len(loud) else piece[:0]


def _rendered(midi: bytes, soundfont: Path) -> Waveform:
    with tempfile.TemporaryDirectory() as scratch:
        tune, sound = Path(scratch, "phrases.mid"), Path(scratch, "phrases.wav")
        tune.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(SAMPLE_RATE), "-T", "wav", "-F", str(sound)]
        try:
            done = subprocess.run([*command, str(soundfont), str(tune)], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise InputMissingError("fluidsynth is not installed: apt-get install fluidsynth brings it") from error
        if done.returncode or not sound.is_file():
            raise InputMissingError(f"fluidsynth cannot render with {soundfont} ({done.stderr.strip()[-200:]})")
        played, rate = soundfile.read(sound, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        raise InputMissingError(f"fluidsynth rendered at {rate} Hz in place of {SAMPLE_RATE} Hz")
    mono: Waveform = played.mean(axis=1)
    return mono


def _midi(programs: Sequence[int], rng: np.random.Generator) -> bytes:
    """A MIDI file of one phrase a program, ``_PHRASE_S`` long with ``_GAP_S`` to die away; 1000 ticks a second."""
    events: list[tuple[int, int, bytes]] = []
    for index, program in enumerate(programs):
        start = round(index * (_PHRASE_S + _GAP_S) * 1000)
        channel = 9 if program == _DRUMS else 0
        number = int(rng.choice([0, 8, 16, 24, 25, 32, 40, 48])) if program == _DRUMS else program
        events.append((start, 1, bytes([0xC0 | channel, number])))
        for at, length, note, strength in _phrase(program, rng):
            on, off = start + round(at * 1000), start + round(min(at + length, _PHRASE_S) * 1000)
            events.append((on, 2, bytes([0x90 | channel, note, strength])))
            events.append((max(off, on + 10), 0, bytes([0x80 | channel, note, 0])))
    end = round(len(programs) * (_PHRASE_S + _GAP_S) * 1000)
    # A last note that nobody hears keeps the renderer from stopping early.
    events += [(end - 20, 2, bytes([0x91, 60, 1])), (end, 0, bytes([0x81, 60, 0]))]
    track, now = bytearray(b"\x00\xff\x51\x03" + (500000).to_bytes(3, "big")), 0
    for at, _, message in sorted(events):
        track += _variable(at - now) + message
        now = at
    track += b"\x00\xff\x2f\x00"
    # 500 ticks a quarter of half a second: a tick is a millisecond.
    head = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1]) + (500).to_bytes(2, "big")
    return head + b"MTrk" + len(track).to_bytes(4, "big") + bytes(track)


def _phrase(program: int, rng: np.random.Generator) -> Iterator[tuple[float, float, int, int]]:
    """Notes as (start s, length s, note, strength)."""
    at, step_s = 0.0, float(np.exp(rng.uniform(np.log(0.1), np.log(1.2))))
    scale, root = _SCALES[int(rng.integers(len(_SCALES)))], int(rng.integers(36, 72))
    degree, voices = int(rng.integers(0, 10)), int(rng.choice([1, 1, 1, 2, 3]))
    while at < _PHRASE_S - 0.2:
        length = step_s * float(rng.choice([0.3, 0.9, 1.0, 1.8]))
        if rng.random() < 0.85:
            for voice in range(voices):
                octave, place = divmod(degree + 2 * voice, len(scale))
                note = int(rng.integers(35, 82)) if program == _DRUMS else min(108, root + 12 * octave + scale[place])
                yield at, length, note, int(rng.integers(50, 127))
        degree = int(np.clip(degree + rng.integers(-3, 4), 0, 2 * len(scale)))
        at += step_s * float(rng.choice([0.5, 1.0, 1.0, 1.0, 2.0]))


def _variable(number: int) -> bytes:
    """A delta time as MIDI writes it: seven bits a byte, all but the last marked."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(0x80 | number & 0x7F)
    return bytes(reversed(parts))
