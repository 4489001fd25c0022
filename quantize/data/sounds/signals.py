"""Signals that machines make, computed: telephone tones, alarms, sirens, beeps. Every parameter is drawn.

The telephone tones are those of ITU-T E.180 and its national lists (dial, ringing, busy, congestion), the pairs of
DTMF those of ITU-T Q.23; the three pulses of a smoke alarm are ISO 8201's; sirens follow what makers publish: wail of
a few seconds, yelp of a few a second, two-tone horns a third to a fifth apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.bells import (
    HIGHEST_HZ,
    Generator,
    Sound,
    chime,
    church_bell,
    ding,
    doorbell,
    drawn_s,
    seconds_of,
    struck,
)

_DTMF_ROWS, _DTMF_COLUMNS = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
_DIAL = ((350.0, 440.0), (425.0,), (400.0, 450.0), (440.0,), (400.0,), (33.0, 425.0))
_BUSY = (((480.0, 620.0), 0.5, 0.5), ((425.0,), 0.48, 0.48), ((400.0,), 0.375, 0.375), ((440.0,), 0.5, 0.5))
_CONGESTION = (((480.0, 620.0), 0.25, 0.25), ((425.0,), 0.24, 0.24), ((400.0,), 0.2, 0.2))
_RINGBACK = (((440.0, 480.0), 2.0, 4.0), ((425.0,), 1.0, 4.0), ((400.0, 450.0), 0.4, 0.2), ((440.0,), 1.5, 3.5))


def partials(hertz: Sound | float, length: int, strengths: Sequence[float], ratios: Sequence[float] = ()) -> Sound:
    """Sines over a fundamental that may move, those above 7.6 kHz left out."""
    track = np.broadcast_to(np.asarray(hertz, dtype=float), (length,))
    phase = 2.0 * np.pi * np.cumsum(track) / SAMPLE_RATE
    total = np.zeros(length)
    for index, strength in enumerate(strengths):
        ratio = ratios[index] if ratios else index + 1.0
        if track.max(initial=0.0) * ratio < HIGHEST_HZ:
            total += strength * np.sin(ratio * phase)
    return total


def gated(sound: Sound, on_s: float, off_s: float, rng: Generator, first_s: float = 0.0) -> Sound:
    """Heard for ``on_s`` and silent for ``off_s`` in turn, with edges of a few milliseconds."""
    times = np.arange(len(sound)) / SAMPLE_RATE - first_s
    period = on_s + off_s
    inside = np.where(times >= 0.0, times % period, period)
    edge = rng.uniform(0.001, min(0.012, on_s / 3.0))
    gate = np.clip(np.minimum(inside, on_s - inside) / edge, 0.0, 1.0)
    return sound * gate


def _timbre(rng: Generator) -> list[float]:
    """Strengths of harmonics: a pure tone, a piezo disc's odd ones, or a horn's many."""
    kind = int(rng.integers(3))
    if kind == 0:
        return [1.0, float(rng.uniform(0.0, 0.1))]
    count = int(rng.integers(3, 9))
    fall = rng.uniform(0.6, 2.0)
    return [0.0 if kind == 1 and index % 2 == 0 else index**-fall for index in range(1, count + 1)]


def _together(hertz: Sequence[float], length: int, rng: Generator) -> Sound:
    detuned = 1.0 + rng.normal(0.0, 0.01)
    times = np.arange(length) / SAMPLE_RATE
    return np.asarray(sum(np.sin(2.0 * np.pi * f * detuned * times) for f in hertz))


def dial_tone(rng: Generator) -> Sound:
    """The steady tone of a free line."""
    length = len(seconds_of(drawn_s(rng)))
    return _together(_DIAL[int(rng.integers(len(_DIAL)))], length, rng)


def busy_signal(rng: Generator) -> Sound:
    """Busy or congestion tone."""
    hertz, on_s, off_s = (_BUSY + _CONGESTION)[int(rng.integers(len(_BUSY) + len(_CONGESTION)))]
    stretch = rng.uniform(0.9, 1.15)
    return gated(_together(hertz, len(seconds_of(drawn_s(rng, 2.0))), rng), on_s * stretch, off_s * stretch, rng)


def ringback(rng: Generator) -> Sound:
    """What a caller hears while it rings at the other end."""
    hertz, on_s, off_s = _RINGBACK[int(rng.integers(len(_RINGBACK)))]
    return gated(_together(hertz, len(seconds_of(drawn_s(rng, 3.0, 9.0))), rng), on_s, off_s, rng)


def dialling(rng: Generator) -> Sound:
    """Keys of a telephone pressed one after another."""
    digits = []
    on_s, off_s = rng.uniform(0.06, 0.3), rng.uniform(0.04, 0.3)
    for _ in range(int(rng.integers(3, 13))):
        pair = (rng.choice(_DTMF_ROWS), rng.choice(_DTMF_COLUMNS[:3]))
        tone = _together(pair, len(seconds_of(on_s)), rng)
        digits += [tone, np.zeros(len(seconds_of(off_s * rng.uniform(0.7, 1.5))))]
    return np.concatenate(digits)


def telephone_bell(rng: Generator) -> Sound:
    """Two gongs struck in turn, ringing and pausing."""
    strikes_hz = rng.uniform(16.0, 27.0)
    length = len(seconds_of(drawn_s(rng, 2.0, 8.0)))
    gongs = [struck(rng.uniform(900.0, 2200.0), rng.uniform(0.08, 0.5), rng) for _ in range(2)]
    total = np.zeros(length + SAMPLE_RATE * 2)
    on_s, off_s = rng.uniform(0.4, 2.0), rng.uniform(0.2, 3.0)
    for index in range(int(length / SAMPLE_RATE * strikes_hz)):
        at = index / strikes_hz
        if at % (on_s + off_s) < on_s:
            start = round(at * SAMPLE_RATE)
            gong = gongs[index % 2]
            total[start : start + len(gong)] += gong * rng.uniform(0.8, 1.0)
    return total[:length]


def ringtone(rng: Generator) -> Sound:
    """A short tune of electronic notes, again and again."""
    notes = [220.0 * 2.0 ** (float(step) / 12.0) for step in rng.choice([12, 14, 16, 19, 21, 24, 26, 28, 31, 36], 8)]
    note_s, timbre = rng.uniform(0.06, 0.25), _timbre(rng)
    melody = []
    for index in range(int(drawn_s(rng, 2.0) / note_s)):
        tone = partials(notes[index % int(rng.integers(3, 9))], len(seconds_of(note_s)), timbre)
        melody.append(tone * np.exp(-np.arange(len(tone)) / SAMPLE_RATE * rng.uniform(1.0, 12.0)))
    return np.concatenate(melody)


def alarm_clock(rng: Generator) -> Sound:
    """Groups of short high beeps."""
    length = len(seconds_of(drawn_s(rng, 2.0)))
    tone = partials(rng.uniform(900.0, 4200.0), length, _timbre(rng))
    beep_s = rng.uniform(0.05, 0.18)
    group = int(rng.integers(1, 5))
    beeps = gated(tone, beep_s, beep_s * rng.uniform(0.6, 1.4), rng)
    return gated(beeps, group * 2.0 * beep_s, rng.uniform(0.2, 1.0), rng)


def smoke_alarm(rng: Generator) -> Sound:
    """Three long pulses and a pause, at the pitch of a piezo disc."""
    pulse_s = rng.uniform(0.4, 0.6)
    length = len(seconds_of(drawn_s(rng, 4.0, 9.0)))
    tone = partials(rng.uniform(2700.0, 3500.0), length, [1.0, float(rng.uniform(0.05, 0.4))])
    return gated(gated(tone, pulse_s, pulse_s, rng), 6.0 * pulse_s, rng.uniform(0.8, 1.6), rng)


def fire_alarm(rng: Generator) -> Sound:
    """A fast sweep, a buzzing horn, or a bell that is struck all the time."""
    length = len(seconds_of(drawn_s(rng, 2.0)))
    kind = int(rng.integers(3))
    if kind == 0:
        ramp = (np.arange(length) / SAMPLE_RATE * rng.uniform(1.0, 9.0)) % 1.0
        return partials(rng.uniform(500.0, 900.0) + ramp * rng.uniform(300.0, 1500.0), length, _timbre(rng))
    if kind == 1:
        tone = partials(rng.uniform(400.0, 1000.0), length, [1.0 / n for n in range(1, 9)])
        return gated(tone, rng.uniform(0.02, 0.06), rng.uniform(0.005, 0.03), rng)
    gong, total = struck(rng.uniform(600.0, 1600.0), rng.uniform(0.2, 0.8), rng), np.zeros(length + 3 * SAMPLE_RATE)
    for start in range(0, length, round(SAMPLE_RATE / rng.uniform(8.0, 18.0))):
        total[start : start + len(gong)] += gong * rng.uniform(0.8, 1.0)
    return total[:length]


def wailing_siren(rng: Generator) -> Sound:
    """Wail, yelp or hyper-yelp: the pitch rises and falls without a step."""
    length = len(seconds_of(drawn_s(rng, 3.0, 9.0)))
    rate_hz = float(rng.choice([rng.uniform(0.12, 0.4), rng.uniform(2.0, 5.0), rng.uniform(8.0, 15.0)]))
    phase = (np.arange(length) / SAMPLE_RATE * rate_hz + rng.random()) % 1.0
    rise = rng.uniform(0.2, 0.7)
    shape = np.where(phase < rise, phase / rise, (1.0 - phase) / (1.0 - rise))
    low = rng.uniform(450.0, 750.0)
    return partials(low * (rng.uniform(1.8, 2.8) ** shape), length, [1.0, 0.6, 0.45, 0.3, 0.2, 0.1])


def two_tone_siren(rng: Generator) -> Sound:
    """Two horns in turn."""
    length = len(seconds_of(drawn_s(rng, 3.0, 9.0)))
    low, each_s = rng.uniform(360.0, 700.0), rng.uniform(0.35, 1.1)
    second = (np.arange(length) / SAMPLE_RATE) % (2.0 * each_s) >= each_s
    return partials(
        np.where(second, low * rng.choice([1.189, 1.26, 1.335, 1.5]), low), length, [1.0, 0.8, 0.6, 0.4, 0.3]
    )


def civil_siren(rng: Generator) -> Sound:
    """A motor siren that winds up slowly, holds, and runs down."""
    length = len(seconds_of(drawn_s(rng, 6.0, 10.0)))
    times = np.arange(length) / SAMPLE_RATE
    if rng.random() < 0.5:
        speed = 1.0 - np.exp(-times / rng.uniform(0.8, 2.5))
    else:
        speed = 0.75 + 0.25 * np.sin(2.0 * np.pi * times / rng.uniform(4.0, 9.0) + rng.uniform(0.0, 6.0))
    top = rng.uniform(350.0, 650.0)
    both = partials(top * speed, length, [1.0, 0.7, 0.5, 0.3, 0.2])
    return both + rng.uniform(0.0, 0.8) * partials(top * speed * rng.uniform(1.15, 1.3), length, [1.0, 0.6, 0.4])


def car_alarm(rng: Generator) -> Sound:
    """A succession of different siren patterns."""
    makers = (wailing_siren, two_tone_siren, reversing_beeps)
    pieces = [makers[int(rng.integers(len(makers)))](rng) for _ in range(3)]
    return np.concatenate([piece[: round(rng.uniform(1.0, 2.5) * SAMPLE_RATE)] for piece in pieces])


def reversing_beeps(rng: Generator) -> Sound:
    """A lorry that goes backwards."""
    on_s = rng.uniform(0.3, 0.7)
    length = len(seconds_of(drawn_s(rng, 2.5)))
    return gated(partials(rng.uniform(900.0, 3200.0), length, _timbre(rng)), on_s, on_s * rng.uniform(0.8, 1.4), rng)


def beep(rng: Generator) -> Sound:
    """One or a few beeps, as of a till, a microwave oven or a lift."""
    count, on_s, off_s = int(rng.integers(1, 6)), rng.uniform(0.05, 0.8), rng.uniform(0.05, 0.8)
    length = len(seconds_of(count * (on_s + off_s)))
    return gated(partials(rng.uniform(400.0, 4500.0), length, _timbre(rng)), on_s, off_s, rng)


def buzzer(rng: Generator) -> Sound:
    """A contact that vibrates: many harmonics of a low tone, a little unsteady."""
    length = len(seconds_of(drawn_s(rng, 0.4, 4.0)))
    hertz = rng.uniform(60.0, 420.0) * (1.0 + 0.01 * np.cumsum(rng.normal(0.0, 0.02, length)) / np.sqrt(length))
    tone = partials(hertz, length, [n ** -rng.uniform(0.3, 0.8) for n in range(1, 25)])
    on_s = rng.uniform(0.3, 3.0)
    return gated(tone, on_s, rng.uniform(0.1, 1.0), rng)


def car_horn(rng: Generator) -> Sound:
    """Two horns at once, pressed once or a few times."""
    count, on_s = int(rng.integers(1, 4)), rng.uniform(0.15, 1.5)
    length = len(seconds_of(count * (on_s + 0.2)))
    low, strengths = rng.uniform(320.0, 460.0), [n ** -rng.uniform(0.2, 0.7) for n in range(1, 14)]
    both = partials(low, length, strengths) + partials(low * rng.uniform(1.18, 1.28), length, strengths)
    return gated(both, on_s, 0.2, rng)


def foghorn(rng: Generator) -> Sound:
    """One deep long blast."""
    length = len(seconds_of(drawn_s(rng, 2.0, 6.0)))
    tone = partials(rng.uniform(60.0, 180.0), length, [n ** -rng.uniform(0.4, 1.0) for n in range(1, 16)])
    times = np.arange(length) / length
    return tone * np.clip(np.minimum(times, 1.0 - times) * rng.uniform(6.0, 15.0), 0.0, 1.0)


def sine_wave(rng: Generator) -> Sound:
    """A pure tone."""
    hertz = float(np.exp(rng.uniform(np.log(100.0), np.log(7000.0))))
    return partials(hertz, len(seconds_of(drawn_s(rng))), [1.0])


def chirp_tone(rng: Generator) -> Sound:
    """A tone that sweeps once or again and again."""
    length = len(seconds_of(drawn_s(rng, 1.0, 6.0)))
    ends = np.exp(rng.uniform(np.log(100.0), np.log(7000.0), 2))
    period = round(rng.uniform(0.1, 1.0) * length)
    ramp = (np.arange(length) % period) / period
    return partials(ends[0] * (ends[1] / ends[0]) ** ramp, length, [1.0])


def morse(rng: Generator) -> Sound:
    """Dots and dashes."""
    dot_s, pieces = rng.uniform(0.04, 0.12), []
    hertz = rng.uniform(400.0, 1200.0)
    for _ in range(int(rng.integers(8, 30))):
        tone = partials(hertz, len(seconds_of(dot_s * float(rng.choice([1.0, 3.0])))), [1.0])
        edge = np.clip(np.minimum(np.arange(len(tone)), np.arange(len(tone))[::-1]) / 60.0, 0.0, 1.0)
        pieces += [tone * edge, np.zeros(len(seconds_of(dot_s * float(rng.choice([1.0, 1.0, 3.0])))))]
    return np.concatenate(pieces)


SIGNALS: dict[str, tuple[Callable[[Generator], Sound], ...]] = {
    "Dial tone": (dial_tone,),
    "Busy signal": (busy_signal,),
    "Telephone": (ringback,),
    "Telephone dialing, DTMF": (dialling,),
    "Telephone bell ringing": (telephone_bell,),
    "Ringtone": (ringtone,),
    "Alarm clock": (alarm_clock,),
    "Smoke detector, smoke alarm": (smoke_alarm,),
    "Fire alarm": (fire_alarm,),
    "Siren": (wailing_siren, two_tone_siren),
    "Civil defense siren": (civil_siren,),
    "Car alarm": (car_alarm,),
    "Reversing beeps": (reversing_beeps,),
    "Beep, bleep": (beep,),
    "Buzzer": (buzzer,),
    "Doorbell": (doorbell,),
    "Wind chime": (chime,),
    "Ding": (ding,),
    "Church bell": (church_bell,),
    "Vehicle horn, car horn, honking": (car_horn,),
    "Foghorn": (foghorn,),
    "Sine wave": (sine_wave,),
    "Chirp tone": (chirp_tone,),
    "": (morse,),
}
"""AudioSet's name of what is heard, "" where it has none, and what makes it."""
