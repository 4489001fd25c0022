"""The verb `caption` in this process: what it tells the captioner of each window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edge_aac.commands.caption import app
from edge_aac.errors import DataError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner


def test_the_captioner_is_told_how_much_of_a_window_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | None] = []
    caption = Captioner.caption

    def listen(self: Captioner, *given: Any, sound_samples: int | None = None) -> Description:
        told.append(sound_samples)
        return caption(self, *given, sound_samples=sound_samples)

    monkeypatch.setattr(Captioner, "caption", listen)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    noise = np.random.default_rng(0).normal(0, 0.1, 15 * 16_000)
    files = {tmp_path / f"{samples}.wav": samples for samples in (40_000, 15 * 16_000)}
    for path, samples in files.items():
        soundfile.write(path, noise[:samples], 16_000)
    result = CliRunner().invoke(app, [str(path) for path in files])
    assert result.exit_code == 0, result.output
    # A short file is padded; of a long one every window is full, the last one reaching back.
    assert told == [40_000, 160_000, 160_000]


def test_what_the_captioner_refuses_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caption = Captioner.caption
    windows = 0

    def refuse_the_second(self: Captioner, *given: Any, **options: Any) -> Description:
        nonlocal windows
        windows += 1
        if windows == 2:
            raise DataError("the decoder gave NaN or infinite numbers: check the sound's level")
        return caption(self, *given, **options)

    monkeypatch.setattr(Captioner, "caption", refuse_the_second)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    files = [tmp_path / name for name in ("good.wav", "bad.wav", "another.wav")]
    for path in files:
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 40_000), 16_000)
    result = CliRunner().invoke(app, ["--format", "json", *map(str, files)])
    assert result.exit_code == DataError.exit_code
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(files[1]) in told and "0.0 s to 2.5 s" in told and "the decoder gave NaN" in told
    sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
    assert sources == [str(files[0]), str(files[2])]
