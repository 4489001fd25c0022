"""Windows in which somebody speaks: espeak-ng in voices, languages and sentences that no training draws from.

:mod:`quantize.data.sounds.voices` trains with other variants of espeak-ng's voices, and
:mod:`quantize.data.sounds.texts` has no sentence in these three languages. The programme is the same, so this measures
new voices and words, not new ways of making speech.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_aac.audio.sources.file import load_waveform
from edge_aac.errors import EdgeAacError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform, trim_silence
from quantize.data.scenes import SCENE_SAMPLES
from quantize.data.sound_shaping import coloured_noise
from quantize.evaluation.everyday.truth import SoundWindow

SPEECH = "speech"
SPEAKERS = (
    ("sk", "adam", 150, 45),
    ("et", "aunty", 165, 60),
    ("bg", "boris", 175, 30),
    ("sk", "shelby", 140, 70),
    ("et", "edward", 185, 40),
    ("bg", "Denis", 155, 50),
    ("sk", "michel", 195, 35),
    ("et", "marcelo", 145, 55),
)
"""Language, variant of the voice, words a minute, pitch (0 to 99)."""

SENTENCES = {
    "sk": (
        "Dobré ráno, dnes bude pekne a teplo.",
        "Prosím vás, kde je najbližšia zastávka?",
        "Včera večer sme dlho sedeli v záhrade.",
        "Nezabudni kúpiť mlieko, chlieb a dve jablká.",
        "Vlak do Žiliny dnes mešká štvrť hodiny.",
        "Moja sestra sa učí hrať na husle.",
    ),
    "et": (
        "Tere hommikust, kas sa magasid hästi?",
        "Palun pane aken kinni, siin on külm.",
        "Buss linna läheb igal täistunnil.",
        "Eile käisime metsas seeni korjamas.",
        "Kus on minu prillid, ma ei leia neid kuskilt.",
        "Täna õhtul tulevad meile külalised.",
    ),
    "bg": (
        "Добро утро, как спа тази нощ?",
        "Извинете, къде е най-близката аптека?",
        "Влакът за Пловдив тръгва след десет минути.",
        "Вчера се разхождахме дълго край реката.",
        "Моля, затворете вратата, тук е студено.",
        "Сестра ми готви много вкусна супа.",
    ),
}
"""What is said, by the language's code as espeak-ng names it; each speaker says all of its language."""

ESPEAK = "espeak-ng"
INSTALL = f"{ESPEAK} is not installed: apt-get install {ESPEAK} brings its voices"


def speech_left_out() -> str:
    """Why there can be no windows of speech here; "" where there can."""
    return "" if shutil.which(ESPEAK) else INSTALL


def speech_windows(seed: int) -> Iterator[SoundWindow]:
    """Every speaker with every sentence, at drawn levels (peak -30 to -3 dBFS) and places, over faint noise.

    Raises:
        InputMissingError: espeak-ng is not installed, or lacks a voice.
    """
    for voice, (language, variant, rate, pitch) in enumerate(SPEAKERS):
        for number, sentence in enumerate(SENTENCES[language]):
            rng = np.random.default_rng([seed, 3, voice, number])
            waveform = _spoken(f"{language}+{variant}", rate, pitch, sentence)[:SCENE_SAMPLES]
            window = coloured_noise(SCENE_SAMPLES, rng) * np.float32(10.0 ** (rng.uniform(-75.0, -60.0) / 20.0))
            peak = 10.0 ** (rng.uniform(-30.0, -3.0) / 20.0)
            start = int(rng.integers(SCENE_SAMPLES - len(waveform) + 1))
            window[start : start + len(waveform)] += waveform * np.float32(peak / np.abs(waveform).max())
            yield SoundWindow("speech", f"{language}+{variant} {number}", window, ((SPEECH,),))


def _spoken(voice: str, rate: int, pitch: int, sentence: str) -> Waveform:
    """A sentence read aloud, without the silence around it."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "voice.wav")
        command = [ESPEAK, "-v", voice, "-s", str(rate), "-p", str(pitch), "-w", str(target), sentence]
        try:
            subprocess.run(command, capture_output=True, check=True)
            waveform = trim_silence(load_waveform(target))
        except FileNotFoundError as error:
            raise InputMissingError(INSTALL) from error
        except (subprocess.CalledProcessError, EdgeAacError) as error:
            raise InputMissingError(f"{ESPEAK} cannot speak with the voice {voice}: install it again") from error
    if len(waveform) < SAMPLE_RATE // 2:
        raise InputMissingError(f"{ESPEAK} says nothing with the voice {voice}: install it again")
    return waveform
