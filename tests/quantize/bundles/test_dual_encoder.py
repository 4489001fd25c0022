"""The shipped bundle as a dual encoder: labels ranked for recordings of its own training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import MANIFEST, Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.contract import CancelledError, Description, SelectiveModel, Undecoded, WindowModel
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.registry import open_model
from edge_aac.models.tokens import load_tokenizer
from quantize.bundles.dual_encoder import write_dual_encoder
from quantize.data.clips import load_clips
from quantize.data.scenes import padded_clip

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "esc10"
CLIPS_OF_EACH = 4
FOLD = 1
LABELS = {
    "baby_cry": "a baby cries",
    "chainsaw": "a chainsaw buzzes",
    "clock_tick": "a clock ticks",
    "dog_bark": "a dog barks",
    "fire_crackling": "a fire crackles",
    "helicopter": "a helicopter flies",
    "rain": "rain falls",
    "rooster": "a rooster crows",
    "sea_waves": "waves crash",
    "sneeze": "a person sneezes",
}
ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("bundles") / "esc10-labels"
    return open_bundle(
        str(write_dual_encoder(open_bundle(DEFAULT_BUNDLE), output, "esc10-labels", list(LABELS.values())))
    )


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> WindowModel:
    return open_model(bundle, ONE_THREAD, {"candidates": None})


def _window(waveform: np.ndarray) -> Window:
    return Window(0, WINDOW_SAMPLES, filter_bank(waveform), -20.0, -3.0, -20.0)


def _noise(seed: int) -> Window:
    return _window(np.random.default_rng(seed).normal(0, 0.1, WINDOW_SAMPLES).astype(np.float32))


def _described(model: WindowModel, windows: list[Window]) -> list[Description]:
    described = model.describe(windows, [np.random.default_rng(0) for _ in windows])
    assert all(isinstance(each, Description) for each in described)
    return [each for each in described if isinstance(each, Description)]


def test_the_label_of_a_recording_comes_first(model: WindowModel) -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("the ESC-10 recordings are not beside this checkout")
    clips = load_clips(RECORDINGS, (FOLD,))
    chosen = [clip for label in LABELS for clip in [c for c in clips if c.label == label][:CLIPS_OF_EACH]]
    assert len(chosen) == CLIPS_OF_EACH * len(LABELS)
    described = _described(model, [_window(padded_clip(clip.waveform)) for clip in chosen])
    right = [each.best.text == LABELS[clip.label] for each, clip in zip(described, chosen, strict=True)]
    print(f"{sum(right)} of {len(right)} right")
    assert np.mean(right) >= 0.75


def test_all_labels_are_ranked_by_their_cosine(model: WindowModel) -> None:
    (described,) = _described(model, [_noise(0)])
    assert sorted(each.text for each in described.ranked) == sorted(LABELS.values())
    assert described.candidates == len(LABELS)
    audio = described.audio_embedding / np.linalg.norm(described.audio_embedding)
    for each in described.ranked:
        assert each.hybrid == each.similarity == pytest.approx(float(audio @ each.embedding), abs=1e-5)
        assert each.log_likelihood is None
        assert np.allclose(each.embedding, model.embed([each.text])[0], atol=1e-5)
    hybrids = [each.hybrid for each in described.ranked]
    assert hybrids == sorted(hybrids, reverse=True) and hybrids[0] > hybrids[-1]


def test_a_window_is_described_as_alone(model: WindowModel) -> None:
    windows = [_noise(seed) for seed in range(3)]
    for together, window in zip(_described(model, windows), windows, strict=True):
        (alone,) = _described(model, [window])
        assert [each.text for each in alone.ranked] == [each.text for each in together.ranked]
        assert np.allclose(alone.audio_embedding, together.audio_embedding, atol=1e-5)


def test_a_window_without_numbers_spoils_no_other(model: WindowModel) -> None:
    broken = Window(0, WINDOW_SAMPLES, np.full((998, 128), np.nan, np.float32), -20.0, -3.0, -20.0)
    described = model.describe([_noise(0), broken], [np.random.default_rng(0)] * 2)
    assert isinstance(described[0], Description)
    assert isinstance(described[1], DataError)
    assert model.describe([], []) == []
    with pytest.raises(CancelledError):
        model.describe([_noise(0)], [np.random.default_rng(0)], lambda: True)


def test_only_wanted_windows_are_ranked(model: WindowModel) -> None:
    assert isinstance(model, SelectiveModel)
    windows, asked = [_noise(seed) for seed in range(3)], []

    def wanted(number: int, embedding: np.ndarray) -> bool:
        asked.append((number, embedding.shape))
        return number == 1

    found = model.describe_wanted(windows, [np.random.default_rng(0) for _ in windows], wanted)
    assert [number for number, _ in asked] == [0, 1, 2]
    assert [type(one) for one in found] == [Undecoded, Description, Undecoded]
    assert isinstance(found[1], Description)
    assert found[1].best.text == _described(model, windows)[1].best.text


def test_the_bundle_holds_what_it_needs_and_says_what_it_is(bundle: Bundle, model: WindowModel) -> None:
    check_all(bundle)
    names = {file.file for file in bundle.manifest.files()}
    captioner = open_bundle(DEFAULT_BUNDLE).manifest_of(Seq2SeqManifest)
    assert bundle.manifest.graphs.keys() == set(captioner.needed_roles) - {"decoder"}
    assert names == {f"{role}.fp32.onnx" for role in bundle.manifest.graphs} | {"text_tokenizer.json"}
    assert names | {MANIFEST, "ATTRIBUTIONS.csv"} == {path.name for path in bundle.folder.iterdir()}
    assert (bundle.manifest.kind, bundle.manifest.language) == ("dual_encoder", "en")
    assert (model.identity.bundle, model.identity.precision) == ("esc10-labels", "fp32")
    assert load_tokenizer(bundle.checked(bundle.manifest_of(DualEncoderManifest).text_tokenizer))


def test_other_labels_at_run_time(bundle: Bundle) -> None:
    model = open_model(bundle, ONE_THREAD, {"labels": ["rain", "a dog"], "prompt": "The sound of {}."})
    (described,) = _described(model, [_noise(0)])
    assert {each.text for each in described.ranked} == {"the sound of rain", "the sound of a dog"}


def test_labels_are_compared_by_the_mean_of_a_user_s_templates(bundle: Bundle) -> None:
    templates = ["the sound of {}", "{} is heard"]
    model = open_model(bundle, ONE_THREAD, {"labels": ["rain", "a dog"], "templates": templates})
    (found,) = _described(model, [_noise(0)])
    assert {each.text for each in found.ranked} == {"rain", "a dog"}, "captions are made by the prompt"
    sound = found.audio_embedding / np.linalg.norm(found.audio_embedding)
    for each in found.ranked:
        mean = model.embed([template.replace("{}", each.text) for template in templates]).mean(axis=0)
        assert each.similarity == pytest.approx(float(sound @ mean / np.linalg.norm(mean)), abs=1e-4)


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"labels": []}, "labels"),
        ({"labels": ["rain", "Rain."]}, "no two of them the same"),
        ({"labels": ["?"]}, "words"),
        ({"prompt": "a sound"}, "prompt"),
        ({"templates": ["{} is heard", "a sound"]}, "templates"),
        ({"templates": ["{}"] * 101}, "templates"),
        ({"candidates": 3}, "candidates"),
    ],
)
def test_unusable_choices(bundle: Bundle, choices: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        open_model(bundle, ONE_THREAD, choices)


def test_one_is_made_of_a_captioner_only(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'seq2seq' is needed"):
        write_dual_encoder(bundle, tmp_path / "again", "again", ["rain"])
    with pytest.raises(DataError, match="no two of them the same"):
        write_dual_encoder(open_bundle(DEFAULT_BUNDLE), tmp_path / "twice", "twice", ["rain", "rain"])
    assert not list(tmp_path.iterdir())
