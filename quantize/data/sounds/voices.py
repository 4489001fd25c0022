"""Voices that read sentences aloud: espeak-ng in many languages and timbres, flite's four English ones.

espeak-ng computes its sound from rules; flite joins recorded diphones of voices that are given under BSD-like terms.
What they say is ours to use. Rate, pitch, voice, language and text are drawn.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_aac.errors import InputMissingError
from quantize.data.sounds.debian import decoded
from quantize.data.sounds.store import OURS, Samples, StoredSound
from quantize.data.sounds.texts import SENTENCES, spoken_text

VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("croak", "klatt", "klatt2", "klatt3", "klatt4", "whisper", "whisperf"),
    *("Andy", "Annie", "Alicia", "Andrea", "Antonio", "belinda", "benjamin", "caleb", "ed", "Gene", "grandma"),
    *("grandpa", "iven", "Jacky", "john", "kaukovalta", "Lee", "linda", "Marco", "max", "Michael", "miguel", "Mike"),
    *("norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "steph", "travis", "victor", "zac"),
)
FLITE_VOICES = ("kal16", "awb", "rms", "slt")
ACCENTS = {
    "en": ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbcwmd", "en-gb-x-gbclan"),
    "es": ("es", "es-419"),
    "fr": ("fr-fr", "fr-be", "fr-ch"),
    "pt": ("pt", "pt-br"),
    "vi": ("vi", "vi-vn-x-central", "vi-vn-x-south"),
}
_FLITE_SHARE = 0.15


@dataclass(frozen=True)
class Utterance:
    """What is said by whom, and how.

    Attributes:
        voice: an espeak-ng voice with its variant, as ``de+f2``, or a flite voice.
        text: what it says.
        words_a_minute: rate.
        pitch: 0 to 99, in espeak-ng's own scale.
        flite: whether flite speaks.
    """

    voice: str
    text: str
    words_a_minute: int
    pitch: int
    flite: bool

    @property
    def labels(self) -> str:
        """AudioSet's name of what is heard."""
        return "Whispering" if "whisper" in self.voice else "Speech"

    def command(self, target: Path) -> list[str]:
        """The command that writes the sound into a WAV file."""
        if self.flite:
            stretch = f"duration_stretch={160 / self.words_a_minute:.2f}"
            return ["flite", "-voice", self.voice, "--setf", stretch, "-t", self.text, "-o", str(target)]
        shape = ["-s", str(self.words_a_minute), "-p", str(self.pitch)]
        return ["espeak-ng", "-v", self.voice, *shape, "-w", str(target), self.text]


def drawn_utterance(rng: np.random.Generator) -> Utterance:
    """A voice, a text, a rate and a pitch."""
    rate, pitch = int(rng.integers(90, 260)), int(rng.integers(15, 95))
    if rng.random() < _FLITE_SHARE:
        return Utterance(str(rng.choice(FLITE_VOICES)), spoken_text("en", rng), rate, pitch, flite=True)
    languages = list(SENTENCES)
    # A third of all is English, as are most of the accents.
    language = "en" if rng.random() < 0.25 else languages[int(rng.integers(len(languages)))]
    accent = str(rng.choice(ACCENTS.get(language, (language,))))
    voice = f"{accent}+{rng.choice(VARIANTS)}"
    return Utterance(voice, spoken_text(language, rng), rate, pitch, flite=False)


def voice_sounds(count: int, seed: int) -> Iterator[tuple[StoredSound, Samples]]:
    """So many utterances; the same for the same seed and the same versions of the two programs.

    Raises:
        InputMissingError: espeak-ng or flite is not installed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "voice.wav")
        for index in range(count):
            said = drawn_utterance(np.random.default_rng([seed, index]))
            target.unlink(missing_ok=True)
            command = said.command(target)
            try:
                subprocess.run(command, capture_output=True, check=False)
            except FileNotFoundError as error:
                raise InputMissingError(
                    f"{command[0]} is not installed: apt-get install espeak-ng flite brings the voices"
                ) from error
            samples = decoded(target) if target.is_file() else None
            if samples is not None:
                program = "flite" if said.flite else "espeak-ng"
                title = f"{program} {said.voice} {said.words_a_minute}/min pitch {said.pitch}: {said.text}"
                yield StoredSound("", title, said.labels, 1 + index % 4, "CC0-1.0", OURS, program), samples
