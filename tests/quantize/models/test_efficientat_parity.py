"""EfficientAT's taggers, stage by stage: what our code gives against what the original code gave.

The facts lie in a folder with ``expected.npz`` and ``inputs.json``; another one of that layout, and its weights:

    export EDGE_AAC_REFERENCE_EFFICIENTAT=FOLDER EDGE_AAC_TEACHER=FILE
    pytest tests/quantize/models/test_efficientat_parity.py
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_aac.errors import DataError, InputMissingError
from quantize.models.efficientat import EfficientAt, load_efficientat
from quantize.models.efficientat_mel import mel_bank
from tests.quantize.models.published_layout import reference

MEL, BLOCKS, FEATURE, LOGITS = 1e-4, 2e-4, 5e-5, 2e-4
"""Differences that the reference's own two sets of library versions have, with a margin; see its facts."""

Expected = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder() -> Path:
    return reference("EDGE_AAC_REFERENCE_EFFICIENTAT", "efficientat")


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, object]:
    table: dict[str, object] = json.loads((folder / "inputs.json").read_text())
    return table


@pytest.fixture(scope="module")
def expected(folder: Path) -> Expected:
    with np.load(folder / "expected.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def weights(folder: Path, facts: dict[str, object]) -> Path:
    named = os.environ.get("EDGE_AAC_TEACHER")
    path = Path(named) if named else folder.parent.parent / "teacher" / str(facts["weights"])
    if not path.is_file():
        pytest.skip(f"no {path.name}: set EDGE_AAC_TEACHER")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == facts["weights_sha256"], "of other weights"
    return path


@pytest.fixture(scope="module")
def tagger(weights: Path) -> EfficientAt:
    return load_efficientat(weights)


def _clips(expected: Expected) -> list[str]:
    return sorted({name.partition("/")[0] for name in expected} - {"frontend"})


def _waveform(expected: Expected, clip: str) -> torch.Tensor:
    return torch.from_numpy(expected[f"{clip}/waveform"])[None]


def _furthest(got: torch.Tensor, want: np.ndarray) -> float:
    assert got.shape == want.shape
    return float(np.abs(got.numpy() - want).max())


def test_the_mel_filters(expected: Expected) -> None:
    bank = mel_bank(len(expected["frontend/mel_bank"]))
    # Computed in float32 there.
    assert _furthest(bank, expected["frontend/mel_bank"]) < 2e-5


def test_the_mel_spectrogram(tagger: EfficientAt, expected: Expected) -> None:
    for clip in _clips(expected):
        assert _furthest(tagger.mel(_waveform(expected, clip))[0], expected[f"{clip}/mel"]) < MEL


def _maps(tagger: EfficientAt, mel: np.ndarray) -> Iterator[torch.Tensor]:
    maps = torch.from_numpy(mel)[None, None]
    for layer in tagger.features:
        maps = layer(maps)
        yield maps[0]


def test_each_block(tagger: EfficientAt, expected: Expected) -> None:
    compared = 0
    for clip in _clips(expected):
        for number, maps in enumerate(_maps(tagger, expected[f"{clip}/mel"])):
            name = f"{clip}/block{number:02d}"
            assert _furthest(maps.mean((1, 2)), expected[f"{name}_mean"]) < BLOCKS
            assert _furthest(maps.std((1, 2), correction=0), expected[f"{name}_std"]) < BLOCKS
            if name in expected:
                assert _furthest(maps[..., : expected[name].shape[-1]], expected[name]) < BLOCKS
                compared += 1
    assert compared > len(tagger.features), "or nothing is compared as a whole"


def test_features_logits_and_the_five_best(tagger: EfficientAt, expected: Expected) -> None:
    for clip in _clips(expected):
        logits, feature = tagger(tagger.mel(_waveform(expected, clip)))
        assert _furthest(feature[0], expected[f"{clip}/feature"]) < FEATURE
        assert _furthest(logits[0], expected[f"{clip}/logits"]) < LOGITS
        assert logits[0].topk(5).indices.tolist() == expected[f"{clip}/top5_index"].tolist()


def test_a_batch_gives_what_each_clip_gives_alone(tagger: EfficientAt, expected: Expected) -> None:
    waveforms = [_waveform(expected, clip) for clip in ("dog", "rain")]
    together = tagger(tagger.mel(torch.cat(waveforms)))[0]
    alone = torch.cat([tagger(tagger.mel(one))[0] for one in waveforms])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


# Parameters in millions and features, as published.
@pytest.mark.parametrize(
    ("width", "features", "millions"),
    [(0.1, 96, 0.124), (0.2, 192, 0.325), (0.4, 384, 0.984), (0.5, 480, 1.431), (1.0, 960, 4.877), (2.0, 1920, 17.909)],
)
def test_published_widths(tmp_path: Path, width: float, features: int, millions: float) -> None:
    torch.manual_seed(0)
    empty = EfficientAt(width)
    assert sum(one.numel() for one in empty.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)
    torch.save(empty.state_dict(), tmp_path / "some_as.pt")
    loaded = load_efficientat(tmp_path / "some_as.pt")
    assert (loaded.width, loaded.feature_size, loaded.training) == (width, features, False)
    mel = torch.randn(2, 128, 40)
    torch.testing.assert_close(loaded(mel), empty.eval()(mel))


def test_what_only_a_files_name_tells(tmp_path: Path) -> None:
    made = EfficientAt(0.1, convolutional_head=True, strides=(2, 2, 2, 1))
    path = tmp_path / "mn01_as_fc_s2221_hop_15_mels_64_mAP_1.pt"
    torch.save(made.state_dict(), path)
    loaded = load_efficientat(path)
    assert (loaded.mel.hop, loaded.mel.mel_bins) == (480, 64)
    logits, _ = loaded(loaded.mel(torch.zeros(1, 32_000)))
    assert logits.shape == (1, 527)
    maps = loaded.features(torch.zeros(1, 1, 64, 64))
    assert maps.shape[-1] == 4, "the last stride is 1"


def test_a_sound_too_short_to_reflect_is_padded() -> None:
    assert EfficientAt(0.1).mel(torch.zeros(1, 100)).shape == (1, 128, 2)


def test_other_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    def refused(state: object, reason: str, error: type[Exception] = DataError) -> None:
        torch.save(state, tmp_path / "file.pt")
        with pytest.raises(error, match=reason):
            load_efficientat(tmp_path / "file.pt")

    whole = EfficientAt(0.1).state_dict()
    refused({"layers.0.weight": torch.zeros(1)}, "dynamic EfficientAT network")
    refused({"x": torch.zeros(1)}, "no EfficientAT tagger")
    refused({**whole, "features.16.0.weight": torch.zeros(97, 16, 1, 1)}, "97 features")
    refused({name: value for name, value in whole.items() if "features.3" not in name}, "it lacks features.3")
    refused({**whole, "more": torch.zeros(1)}, "has besides more")
    refused({**whole, "features.0.0.weight": torch.zeros(8, 1, 5, 5)}, "other sizes of features.0.0.weight")
    with pytest.raises(InputMissingError, match="no file"):
        load_efficientat(tmp_path / "absent.pt")
