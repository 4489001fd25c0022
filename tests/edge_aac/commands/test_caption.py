"""The verb `caption` in this process: what it tells the captioner of each window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edge_aac.audio.windows import Window
from edge_aac.commands.caption import app
from edge_aac.errors import DataError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner


def test_the_captioner_gets_how_much_of_a_window_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[int] = []
    describe = Captioner.describe

    def listen(self: Captioner, windows: list[Window], *given: Any) -> list[Description | DataError]:
        logged.extend(window.samples for window in windows)
        return describe(self, windows, *given)

    monkeypatch.setattr(Captioner, "describe", listen)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    noise = np.random.default_rng(0).normal(0, 0.1, 15 * 16_000)
    files = {tmp_path / f"{samples}.wav": samples for samples in (40_000, 15 * 16_000)}
    for path, samples in files.items():
        soundfile.write(path, noise[:samples], 16_000)
    result = CliRunner().invoke(app, [str(path) for path in files])
    assert result.exit_code == 0, result.output
    # A short file is padded; of a long one every window is full, the last one reaching back.
    assert logged == [40_000, 160_000, 160_000]


def test_what_the_captioner_refuses_is_reported_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    describe = Captioner.describe
    calls = 0

    def refuse_the_second(self: Captioner, *given: Any) -> list[Description | DataError]:
        nonlocal calls
        calls += 1
        if calls == 2:
            return [DataError("the decoder gave NaN or infinite numbers: check the sound's level")]
        return describe(self, *given)

    monkeypatch.setattr(Captioner, "describe", refuse_the_second)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    files = [tmp_path / name for name in ("good.wav", "bad.wav", "another.wav")]
    for path in files:
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 40_000), 16_000)
    result = CliRunner().invoke(app, ["--format", "json", *map(str, files)])
    assert result.exit_code == DataError.exit_code
    (logged,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(files[1]) in logged and "0.0 s to 2.5 s" in logged and "the decoder gave NaN" in logged
    sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
    assert sources == [str(files[0]), str(files[2])]
