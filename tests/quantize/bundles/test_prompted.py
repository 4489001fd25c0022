"""Bundles that answer prompts, of small models in the published layouts: windows, texts, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import WINDOW_SAMPLES, Window, file_windows
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle
from edge_aac.cli import main
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, UsageError
from edge_aac.models.contract import CancelledError, Description, SelectiveModel, Undecoded, WindowModel
from edge_aac.models.prefix_search import PrefixDecoder
from edge_aac.models.prompted import Answer, Prompted
from edge_aac.models.registry import open_model
from edge_aac.models.window_clips import newest_clip
from quantize.bundles.prompted import PROMPTS, convert_prompted, prompted_provenance, prompted_source
from tests.made_once import made_once
from tests.quantize.models.audio_language_layout import CLIP_SAMPLES, RATE, write_clapcap, write_pengi
from tests.quantize.models.published_layout import refused

ONE_THREAD = EngineOptions(threads=1)
SHORT = {"max_length": 6, "beams": 2}


def _converted(path: Path, output: Path) -> Path:
    source = prompted_source(path)
    assert source is not None
    return convert_prompted(source, output, prompted_provenance(source, output.name), lambda line: None)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles pengi, without (a text tower) and clapcap."""
    return made_once(tmp_path_factory, "prompted", _convert_all)


def _convert_all(folder: Path) -> None:
    write_pengi(folder / "weights")
    (folder / "weights" / "configs" / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    write_pengi(folder / "other", name="base_no_text_enc")
    write_clapcap(folder / "clapcap-weights")
    _converted(folder / "weights" / "configs" / "base.pth", folder / "pengi")
    _converted(folder / "other", folder / "without")
    _converted(folder / "clapcap-weights", folder / "clapcap")


@pytest.fixture(scope="module")
def pengi(bundles: Path) -> Prompted:
    return Prompted(open_bundle(str(bundles / "pengi")), ONE_THREAD, SHORT)


def _window(seed: int, samples: int = WINDOW_SAMPLES) -> Window:
    sound = np.random.default_rng(seed).normal(0.0, 0.1, samples).astype(np.float32)
    (window,) = file_windows([sound], WINDOW_SAMPLES, keeps_sound=True)
    return window


def test_what_the_bundle_says_of_itself(bundles: Path) -> None:
    table = json.loads((bundles / "pengi" / MANIFEST).read_text(encoding="utf-8"))
    assert (table["name"], table["kind"], table["license"]) == ("pengi", "prompted", "mit")
    assert table["attributions"] == ["weights: base.pth (mit)"]
    assert table["prompts"] == PROMPTS
    assert table["clip"] == {"sample_rate": RATE, "samples": CLIP_SAMPLES}
    assert sorted(table["graphs"]) == ["decoder", "encoder", "prompt_encoder"]
    card = (bundles / "pengi" / "README.md").read_text(encoding="utf-8")
    for wanted in ("# pengi", "| prompt_encoder |", '"beams": 5', "this is a sound of"):
        assert wanted in card
    clapcap = json.loads((bundles / "clapcap" / MANIFEST).read_text(encoding="utf-8"))
    assert clapcap["capitalises"] and sorted(clapcap["graphs"]) == ["decoder", "encoder"]
    assert not {"prompts", "prompt", "prompt_tokens"} & set(clapcap)


@pytest.mark.parametrize("name", ["pengi", "without", "clapcap"])
def test_windows_are_described_as_by_every_kind(bundles: Path, name: str) -> None:
    choices: dict[str, Any] = {"max_length": 6, "beams": 2, "candidates": None}
    model: WindowModel = open_model(open_bundle(str(bundles / name)), ONE_THREAD, choices)
    assert isinstance(model, SelectiveModel)
    windows = [_window(seed) for seed in (0, 1)]
    rngs = [np.random.default_rng(0)] * 2
    both = model.describe(windows, rngs)
    for window, found in zip(windows, both, strict=True):
        (alone,) = model.describe([window], rngs[:1])
        assert isinstance(found, Description) and isinstance(alone, Description)
        assert found.ranked == alone.ranked, "a window does not depend on its neighbours"
        assert found.best.text == found.best.text.lower()
        assert found.best.hybrid == found.best.log_likelihood
        assert found.audio_embedding.shape == (10,)
    first, second = both
    assert isinstance(first, Description) and isinstance(second, Description)
    assert not np.array_equal(first.audio_embedding, second.audio_embedding)
    assert model.identity.bundle == name
    with pytest.raises(CancelledError):
        model.describe(windows, rngs, lambda: True)


def test_a_window_is_heard_by_its_newest_clip(pengi: Prompted) -> None:
    window = _window(2)
    assert window.waveform is not None
    tail = window.waveform[-4 * CLIP_SAMPLES :]
    (short,) = file_windows([tail], WINDOW_SAMPLES, keeps_sound=True)
    long, near = (newest_clip(each, pengi.manifest.clip) for each in (window, short))
    assert long.shape == near.shape == (CLIP_SAMPLES,)
    # The resampler's first taps reach behind the cut; the rest is the same sound.
    np.testing.assert_allclose(long[50:], near[50:], atol=1e-5)
    repeated = newest_clip(_window(3, samples=320), pengi.manifest.clip)
    assert repeated.shape == (CLIP_SAMPLES,)
    assert np.array_equal(repeated[:160], repeated[160:320])


def test_only_what_is_wanted_is_decoded(pengi: Prompted) -> None:
    windows, rngs = [_window(0), _window(1)], [np.random.default_rng(0)] * 2
    asked: list[int] = []

    def second(number: int, embedding: np.ndarray) -> bool:
        assert embedding.shape == (10,)
        asked.append(number)
        return number == 1

    first, described = pengi.describe_wanted(windows, rngs, second)
    assert asked == [0, 1]
    assert isinstance(first, Undecoded) and isinstance(described, Description)
    assert described.ranked == pengi.describe(windows[1:], rngs[1:])[0].ranked  # type: ignore[union-attr]


def test_sound_that_cannot_be_heard_is_that_windows_error(pengi: Prompted) -> None:
    bare = Window(0, WINDOW_SAMPLES, np.zeros((998, 128), np.float32), -20.0, -3.0, -20.0)
    spoilt = _window(0)
    assert spoilt.waveform is not None
    spoilt.waveform[-5] = np.nan
    found = pengi.describe([bare, spoilt, _window(1)], [np.random.default_rng(0)] * 3)
    assert [type(one) for one in found] == [DataError, DataError, Description]


def test_prompts_change_the_answer_and_are_read_once(pengi: Prompted, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = pengi.hear(np.random.default_rng(0).normal(0.0, 0.1, CLIP_SAMPLES).astype(np.float32))
    encoded: list[str] = []
    original = Prompted._encoded_prompt

    def counted(self: Prompted, prompt: str) -> Any:
        encoded.append(prompt)
        return original(self, prompt)

    monkeypatch.setattr(Prompted, "_encoded_prompt", counted)
    answers = [pengi.answer(heard, prompt) for prompt in ("what is heard", "a car", "what is heard")]
    assert encoded == ["what is heard", "a car"]
    assert answers[0].texts == answers[2].texts
    assert not np.array_equal(answers[0].beams.scores, answers[1].beams.scores)


@pytest.mark.parametrize("name", ["pengi", "without", "clapcap"])
def test_texts_are_compared(bundles: Path, name: str) -> None:
    model = Prompted(open_bundle(str(bundles / name)), ONE_THREAD, SHORT)
    rows = model.embed(["a dog barks", "the dog barks", "rain", ""])
    assert rows.shape[0] == 4
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    if name != "pengi":
        assert rows[0] @ rows[1] == pytest.approx(1.0)
        assert rows[0] @ rows[2] == pytest.approx(0.0)


def test_choices(bundles: Path) -> None:
    bundle = open_bundle(str(bundles / "pengi"))
    model = Prompted(bundle, ONE_THREAD, {"prompt": "this is a sound of", "beams": 1, "max_length": 3})
    assert model.manifest.prompt == "this is a sound of"
    assert (model.manifest.decoding.beams, model.manifest.decoding.max_length) == (1, 3)
    for choices, words in (
        ({"max_length": 400}, "give a smaller max_length"),
        ({"max_length": 1000}, "max_length"),
        ({"beams": 65}, "beams"),
        ({"prompt": " "}, "a prompt is empty"),
    ):
        with pytest.raises(ConfigError, match=words):
            Prompted(bundle, ONE_THREAD, choices)
    with pytest.raises(ConfigError, match="labels means nothing to the bundle pengi"):
        open_model(bundle, ONE_THREAD, {"labels": ("rain",)})


@pytest.fixture
def broken(bundles: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the bundle pengi whose manifest says something else."""

    def changed(**changes: Any) -> Path:
        folder = shutil.copytree(bundles / "pengi", tmp_path / "broken")
        path = folder / MANIFEST
        table = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**table, **changes}), encoding="utf-8")
        return folder

    return changed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_size": 11}, ("embedding_size",)),
        ({"vocabulary_size": 258}, ("vocabulary_size",)),
        ({"positions": 97}, ()),
        ({"clip": {"sample_rate": RATE, "samples": CLIP_SAMPLES + 1}}, ("clip.samples",)),
    ],
)
def test_a_manifest_that_its_graphs_contradict(
    broken: Callable[..., Path], changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    folder = broken(**changes)
    if "positions" in changes:
        # Positions that the table does not have are found by writing as far as they reach.
        longest = {"max_length": 97 + 1 - 10}
        refused(lambda: Prompted(open_bundle(str(folder)), ONE_THREAD, longest), DataError, "decoder", "97 positions")
    else:
        refused(lambda: Prompted(open_bundle(str(folder)), ONE_THREAD), DataError, *words)


def test_answers_that_differ_from_torchs_are_not_written(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PrefixDecoder.read
    monkeypatch.setattr(PrefixDecoder, "read", lambda self, *given: read(self, *given)[:, ::-1].copy())
    weights = bundles / "weights" / "configs" / "base.pth"
    refused(lambda: _converted(weights, tmp_path / "out"), DataError, "answer", "torch", "nothing was written")
    assert not (tmp_path / "out").exists()


def test_an_answer_that_is_as_likely_is_told(bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models with random weights take texts for equally likely that a trained one would not."""
    answer, lines = Prompted.answer, list[str]()

    def another(self: Prompted, *given: Any) -> Answer:
        found = answer(self, *given)
        return replace(found, texts=tuple(f"{text}!" for text in found.texts))

    monkeypatch.setattr(Prompted, "answer", another)
    source = prompted_source(bundles / "clapcap-weights")
    assert source is not None
    convert_prompted(source, tmp_path / "out", prompted_provenance(source, "out"), lines.append)
    assert lines[-1] == "answers: 0 of 2 the same as torch's, tokens and texts, the others as likely"


def test_options_of_another_conversion_are_refused(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ("--output", str(tmp_path / "out"))
    for words in (
        ["convert", str(bundles / "weights"), "--instructor", str(tmp_path), *output],
        ["convert", str(tmp_path), *output],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == UsageError.exit_code
        assert len(capsys.readouterr().err.splitlines()) == 1
