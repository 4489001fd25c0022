"""Familiarity: its formula, what it is fitted to, and that it tells sounds apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import open_bundle
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.choices import Choices
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.models.tokens import load_tokenizer, token_of
from quantize.bundles.export import export_bundle
from quantize.bundles.onnx_writer import write_onnx
from quantize.data.captions import words_that_name_nothing
from quantize.data.clips import load_clips
from quantize.data.everyday.lexicon import english
from quantize.data.lexicon import LABELS, named_events
from quantize.data.scenes import Scene, SceneBuilder, SceneRecipe
from quantize.graphs.int8 import half
from quantize.graphs.layers import decides_on_names, quantisable_layers
from quantize.graphs.onnx_file import HALF_SUFFIX, OnnxFile
from quantize.graphs.qdq_lint import lint
from quantize.models.familiarity import Familiarity, Stretches
from quantize.models.graph_modules import GraphSpec
from quantize.training.familiarity import fit_familiarity, known_scenes
from quantize.training.recipe import Recipe, load_recipe
from quantize.training.settings import CorpusRecipe, FamiliarityRecipe, SurenessRecipe
from quantize.training.sources import SceneSource
from quantize.training.train import Run
from tests.edge_aac.fakes import described
from tests.quantize.bundles.test_export import Quiet

_RECIPE = FamiliarityRecipe(scenes=96, stretch_tokens=8, stretch_hop=4, loudest_tokens=2, rank=6)
_TOKENS, _DIM = 20, 8


def test_the_formula() -> None:
    torch.manual_seed(0)
    score = Familiarity(_DIM, 3, 4, Stretches(8, 4, 2))
    for name, buffer in score.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + (0.5 if name == "spread" else 0.0))
    hidden, logits = torch.randn(5, _TOKENS, _DIM), torch.randn(5, _TOKENS, 3)
    for row, given in enumerate(score(hidden, logits).tolist()):
        best = -np.inf, 0
        for start in (0, 4, 8, 12):
            heard = float(np.sort(logits[row, start : start + 8].numpy(), axis=0)[-2:].mean(axis=0).max())
            if heard > best[0]:  # of equals the first
                best = heard, start
        state = hidden[row, best[1] : best[1] + 8].numpy().mean(axis=0) @ score.whitening.numpy()
        distance = np.square(state - score.centres.numpy()).sum(axis=1).min()
        middle, spread = score.middle.numpy(), score.spread.numpy()
        assert given == pytest.approx(
            (best[0] - middle[0]) / spread[0] + (-distance - middle[1]) / spread[1], rel=1e-4, abs=1e-4
        )


def test_a_window_shorter_than_a_stretch_is_one() -> None:
    assert list(Stretches(30, 10).starts(63)) == [0, 10, 20, 30]
    assert list(Stretches(30, 10).starts(12)) == [0]
    assert Familiarity(_DIM, 3, 4, Stretches(30, 10, 6))(torch.zeros(2, 4, _DIM), torch.zeros(2, 4, 3)).shape == (2,)


class _Directions(nn.Module):
    """An encoder of nothing but bands, so that scenes that sound alike have states that are alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.bands = nn.Linear(128, _DIM)
        self.predictor = nn.Linear(_DIM, len(LABELS))

    def forward(self, fbank: Tensor) -> tuple[Tensor, None]:
        return self.bands(fbank[:, : _TOKENS * 49].unfold(1, 49, 49).mean(dim=3)), None


def _builder(recordings: Path) -> SceneBuilder:
    return SceneBuilder(load_clips(recordings, (1,)), SceneRecipe())


def test_scenes_it_is_fitted_to_hold_known_sounds_and_are_always_the_same(recordings: Path) -> None:
    scenes = list(known_scenes(_builder(recordings), 12))
    assert all(1 <= len(scene.events) <= 2 for scene in scenes)
    again = list(known_scenes(_builder(recordings), 12))
    assert [scene.labels for scene in scenes] == [scene.labels for scene in again]
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(scenes, again, strict=True))


def test_what_it_was_fitted_to_is_more_familiar_than_anything_else(recordings: Path) -> None:
    encoder = _Directions()
    scenes = list(known_scenes(_builder(recordings), _RECIPE.scenes))
    score = fit_familiarity(encoder, iter(scenes), _RECIPE)  # type: ignore[arg-type]
    assert score.whitening.shape == (_DIM, 6)
    with torch.no_grad():
        hidden = torch.randn(64, _TOKENS, _DIM) * 3.0
        unfamiliar = score(hidden, encoder.predictor(hidden))
        fitted = _scores(encoder, score, scenes)
    assert fitted.median() == pytest.approx(0.0, abs=0.7)
    assert (unfamiliar < fitted.quantile(0.05)).float().mean() > 0.9


def _scores(encoder: _Directions, score: Familiarity, scenes: list[Scene]) -> Tensor:
    from edge_aac.audio.features import filter_bank

    hidden, _ = encoder(torch.from_numpy(np.stack([filter_bank(scene.waveform) for scene in scenes])))
    return score(hidden, encoder.predictor(hidden))


def test_scenes_that_are_too_few(recordings: Path) -> None:
    few: Iterator[Scene] = known_scenes(_builder(recordings), 3)
    with pytest.raises(DataError, match="raise `scenes`"):
        fit_familiarity(_Directions(), few, _RECIPE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scenes": 0}, "scenes"),
        ({"shrinkage": 0.0}, "shrinkage"),
        ({"rank": 0}, "rank"),
        ({"loudest_tokens": 9}, "a stretch has 8"),
    ],
)
def test_recipes_that_cannot_be(change: dict[str, float], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        replace(_RECIPE, **change)  # type: ignore[arg-type]


def test_the_words_name_no_class() -> None:
    words = words_that_name_nothing()
    assert {"unknown", "sound", "silent", "noise"} <= set(words)
    assert not [word for word in words if named_events(word)]


@pytest.fixture(scope="module")
def bundle(small_recipe: Recipe, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = replace(
        small_recipe,
        model=replace(small_recipe.model, sounds=len(english().order)),
        familiarity=replace(_RECIPE, threshold=-1.0),
        sureness=SurenessRecipe(threshold=0.0),
        train=replace(small_recipe.train, epochs=1, scenes_per_epoch=16, corpus_scenes=60),
    )
    folder = tmp_path_factory.mktemp("familiar")
    Run(recipe, SceneSource(recipe, recordings), folder / "run").train(Quiet())
    return export_bundle(folder / "run", recordings, folder / "bundle", {}, lambda line: None, calibration_windows=2)


def test_a_bundle_that_scores_familiarity(bundle: Path) -> None:
    opened = open_bundle(str(bundle))
    rule = opened.manifest.familiarity
    assert rule and rule.threshold == -1.0
    assert opened.manifest.graphs["encoder"][0].shapes["familiarity"] == ["windows"]
    fbank = np.random.default_rng(0).normal(0, 0.5, (998, 128)).astype(np.float32)
    heard = described(Captioner(opened, choices=Choices(min_familiarity=-1e9)), fbank, window_rng(0, 0))
    assert heard.familiarity is not None and heard.familiar
    unfamiliar = described(Captioner(opened, choices=Choices(min_familiarity=1e9)), fbank, window_rng(0, 0))
    assert unfamiliar.familiarity == heard.familiarity and not unfamiliar.familiar
    assert set(unfamiliar.best.text.split()) <= set(rule.words)
    tokenizer = load_tokenizer(opened.path(opened.manifest.tokenizers.decoder))
    assert rule.words == [word for word in words_that_name_nothing() if token_of(tokenizer, word) is not None]
    assert not any(named_events(caption.text) for caption in unfamiliar.ranked)


def test_it_tells_how_sure_it_is_of_each_sound_besides(bundle: Path) -> None:
    opened = open_bundle(str(bundle))
    rule, lexicon = opened.manifest_of(Seq2SeqManifest).sureness, english()
    assert rule and rule.threshold == 0.0 and tuple(rule.names) == lexicon.order
    assert opened.manifest.graphs["encoder"][0].shapes["sounds"] == ["windows", len(lexicon.order)]
    fbank = np.random.default_rng(0).normal(0, 0.5, (998, 128)).astype(np.float32)
    sure = described(Captioner(opened, choices=Choices(min_familiarity=-1e9)), fbank, window_rng(0, 0))
    assert sure.familiar and sure.sounds is not None
    strict = Choices(min_familiarity=-1e9, min_confidence=1.0)
    unsure = described(Captioner(opened, choices=strict), fbank, window_rng(0, 0))
    assert not unsure.familiar and unsure.familiarity == sure.familiarity
    assert not any(lexicon.names.named(caption.text) for caption in unsure.ranked)


def test_weights_are_stored_in_half_the_bytes_and_read_as_they_are_computed_with(bundle: Path) -> None:
    opened = open_bundle(str(bundle))
    for role, (form,) in opened.manifest.graphs.items():
        path = opened.path(form)
        stored = onnx.load(str(path)).graph
        halves = {tensor.name for tensor in stored.initializer if tensor.name.endswith(HALF_SUFFIX)}
        file = OnnxFile(path)
        assert not any(name.endswith(HALF_SUFFIX) for name in file.weights)
        for name in halves:
            weight = file.weights[name.removesuffix(HALF_SUFFIX)]()
            assert weight.dtype == np.float32
            assert np.array_equal(weight, weight.astype(np.float16).astype(np.float32))
        assert halves, role
        assert form.max_abs_difference <= 1e-4, "what is lost in halving is lost before the graph is held against torch"


class _Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 64, bias=False)
        self.familiarity = Familiarity(64, 40, 4, Stretches(8, 4, 2))

    def forward(self, hidden: Tensor) -> Tensor:
        states = self.layer(hidden)
        return self.familiarity(states, states)


def test_what_decides_stays_out_of_int8(tmp_path: Path) -> None:
    hidden = torch.randn(2, _TOKENS, 64)
    axes = {"hidden": {0: "windows"}, "familiarity": {0: "windows"}}
    spec = GraphSpec(
        _Deciding().eval(), {"hidden": hidden}, ("familiarity",), axes, lambda: iter(({"hidden": hidden},))
    )
    write_onnx(spec, tmp_path / "graph.onnx")
    file = OnnxFile(tmp_path / "graph.onnx")
    products = [node.name for node in file.graph.node if node.op_type == "MatMul"]
    assert len(products) == 2
    (quantised,) = quantisable_layers(file)
    assert not decides_on_names(quantised.name)
    assert [decides_on_names(name) for name in products] == [False, True]
    half(tmp_path / "graph.onnx", tmp_path / "half.onnx")
    types = OnnxFile(tmp_path / "half.onnx").element_types()
    made = {node.name: types[node.output[0]] for node in OnnxFile(tmp_path / "half.onnx").graph.node}
    assert [made[name] for name in products] == [TensorProto.FLOAT16, TensorProto.FLOAT]
    assert not lint(tmp_path / "graph.onnx", keep=[quantised.name])


def test_a_recipe_of_a_corpus_has_none() -> None:
    corpus = CorpusRecipe(format="folder", captions="captions.csv", audio="audio")
    with pytest.raises(ConfigError, match="labelled recordings"):
        replace(load_recipe("esc10-tiny"), corpus=corpus)


def test_the_shipped_recipes_score_familiarity() -> None:
    for name in ("esc10-tiny", "esc10-teacher"):
        assert load_recipe(name).familiarity is not None
