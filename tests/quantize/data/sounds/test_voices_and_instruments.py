"""Spoken texts and played phrases, with the programs themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from edge_aac.errors import InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds.instruments import SOUNDFONT, instrument_sounds
from quantize.data.sounds.texts import SENTENCES
from quantize.data.sounds.voices import Utterance, drawn_utterance, voice_sounds

needs_voices = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("espeak-ng", "flite")),
    reason="needs espeak-ng and flite, of Debian's packages of these names",
)
needs_instruments = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.is_file(),
    reason="needs Debian's packages fluidsynth and fluid-soundfont-gm",
)


def test_many_voices_say_many_things_in_many_languages() -> None:
    said = [drawn_utterance(np.random.default_rng([1, index])) for index in range(800)]
    assert len({each.voice for each in said}) > 350
    assert len({each.voice.split("+")[0].split("-")[0] for each in said if not each.flite}) == len(SENTENCES)
    assert len({each.text for each in said}) > 350
    assert 0.1 < sum(each.flite for each in said) / 800 < 0.2
    assert {each.labels for each in said} == {"Speech", "Whispering"}
    assert said[7] == drawn_utterance(np.random.default_rng([1, 7]))


@needs_voices
def test_every_language_is_one_that_espeak_speaks(tmp_path_factory: pytest.TempPathFactory) -> None:
    lengths = {}
    for language in SENTENCES:
        target = tmp_path_factory.mktemp("voices") / "said.wav"
        command = Utterance(language, SENTENCES[language][0], 150, 50, flite=False).command(target)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (language, done.stderr)
        lengths[language] = target.stat().st_size
    assert min(lengths.values()) > 20_000, lengths


@needs_voices
def test_voices_become_rows() -> None:
    rows = list(voice_sounds(20, 3))
    assert len(rows) == 20
    for row, samples in rows:
        assert len(samples) > SAMPLE_RATE // 3, row.title
        assert np.abs(samples.astype(int)).max() > 1000, row.title
        assert (row.license, row.author) == ("CC0-1.0", "edge-aac")
    assert {row.source_url for row, _ in rows} == {"espeak-ng", "flite"}


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputMissingError, match="is not installed: apt-get install espeak-ng flite"):
        list(voice_sounds(1, 3))


@needs_instruments
def test_instruments_play_phrases_under_their_names() -> None:
    rows = list(instrument_sounds(6, 3, programs=(0, 56, 128)))
    assert [row.label for row, _ in rows] == ["Piano", "Trumpet", "Drum kit"] * 2
    for row, samples in rows:
        assert SAMPLE_RATE // 5 < len(samples) <= 10 * SAMPLE_RATE, row.title
        assert np.abs(samples.astype(int)).max() > 3000, row.title
    assert len({samples.tobytes() for _, samples in rows}) == 6
    assert [row.fold for row, _ in rows] == [1, 1, 1, 2, 2, 2]
    assert {row.license for row, _ in rows} == {"MIT"}


def test_a_missing_bank_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputMissingError, match="apt-get install fluidsynth fluid-soundfont-gm"):
        next(instrument_sounds(1, 3, tmp_path_factory.mktemp("none") / "none.sf2"))
