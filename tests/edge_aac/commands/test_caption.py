"""The verb `caption` in this process: what it tells the captioner of each window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edge_aac.captioner.captioner import CaptionedWindow, Captioner
from edge_aac.commands.caption import app


def test_the_captioner_is_told_how_much_of_a_window_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | None] = []
    caption = Captioner.caption

    def listen(self: Captioner, *given: Any, sound_samples: int | None = None) -> CaptionedWindow:
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
