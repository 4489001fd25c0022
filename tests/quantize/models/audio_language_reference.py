"""References of CLAP, clapcap and Pengi: what the original code gave, and how near ours must come."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from quantize.models.audio_language.clips import ClipLength
from quantize.models.audio_language.prefix_writer import Generated
from tests.quantize.models.published_layout import reference

TOLERANCE = 5e-4
"""Of a stage's standard deviation: wrong kinds of GELU show only above 1e-3."""
LOG_MEL = 1e-2
"""dB."""


@dataclass(frozen=True)
class Reference:
    """A folder that the original code was run on.

    Attributes:
        folder: weights and what lies beside them.
        expected: ``expected.npz``.
        given: ``expected_inputs.json``.
    """

    folder: Path
    expected: dict[str, np.ndarray]
    given: dict[str, Any]

    @classmethod
    def of(cls, variable: str, name: str) -> Reference:
        """The tiny one, or the one that an environment variable names; skips without both."""
        folder = reference(variable, name)
        with np.load(folder / "expected.npz") as arrays:
            expected = {name: arrays[name] for name in arrays.files}
        return cls(folder, expected, json.loads((folder / "expected_inputs.json").read_text(encoding="utf-8")))

    @property
    def texts(self) -> dict[str, list[Any]]:
        """``expected_texts.json``."""
        table: dict[str, list[Any]] = json.loads((self.folder / "expected_texts.json").read_text(encoding="utf-8"))
        return table

    @property
    def waveform(self) -> Tensor:
        """The clips that the original code heard."""
        return torch.from_numpy(self.expected["audio.waveform"])

    def clips(self, length: ClipLength) -> Tensor:
        """The same of the files, cut where the original code's generator cut them."""
        rng = random.Random(self.given["crop_seed"])
        found = []
        for name in self.given["audio"]:
            samples, rate = soundfile.read(self.folder / "audio" / name, dtype="int16", always_2d=True)
            found.append(length.clip(samples.T.astype(np.float32) / 32768, rate, rng))
        return torch.stack(found)

    def same(self, stages: Mapping[str, Tensor], prefix: str, first_only: str = "") -> int:
        """Compare the stages that stand under ``prefix.`` and, of the first file alone, under ``first_only.``.

        Returns:
            How many were compared.
        """
        compared = 0
        for key, want in self.expected.items():
            head, _, name = key.rpartition(".")
            if head not in {prefix, first_only} or name not in stages:
                continue
            got = stages[name] if head == prefix else stages[name][:1]
            close(got, want, key, LOG_MEL / float(want.std()) if name == "logmel" else TOLERANCE)
            compared += 1
        return compared

    def same_beams(self, found: Generated, prefix: str) -> None:
        """Compare a search with what stands under ``prefix.``: tokens and lengths exactly."""
        beams = found.beams
        for name, got in (("tokens", beams.token_ids), ("lengths", beams.lengths)):
            assert np.array_equal(got, self.expected[f"{prefix}.{name}"]), f"{prefix}.{name}"
        near(beams.scores, self.expected[f"{prefix}.scores"], f"{prefix}.scores")
        if (key := f"{prefix}.returned_scores") in self.expected:
            near(beams.unsorted_scores, self.expected[key], key)


def close(got: Tensor, want: np.ndarray, name: str, tolerance: float = TOLERANCE) -> None:
    """Numbers within ``tolerance`` of the standard deviation; whole numbers and truths exactly."""
    values = got.numpy()
    assert values.shape == want.shape, name
    if want.dtype.kind in "iub":
        assert np.array_equal(values, want), name
    else:
        assert float(np.abs(values - want).max()) < tolerance * float(want.std()), name


def near(got: Tensor, want: np.ndarray, name: str) -> None:
    """Scores, of which there may be only one; −∞ is −∞."""
    np.testing.assert_allclose(got.numpy(), want, rtol=TOLERANCE, atol=0, err_msg=name)
