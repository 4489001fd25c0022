"""Bundles that tell how sure they are of each sound: exported from torch, with the rule that a recipe wants."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.bundle.store import open_bundle
from edge_aac.bundle.sureness import SurenessRule
from edge_aac.errors import ConfigError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import not_cancelled
from edge_aac.models.seq2seq import Captioner
from edge_aac.models.sureness import Sureness as Rule
from edge_aac.models.sureness import words_of
from quantize.bundles.bundle_writer import export_graph
from quantize.bundles.naming_rules import free_words, naming_entries, sureness_of
from quantize.captioning import heard
from quantize.data.captions import NOTHING, UNKNOWN
from quantize.data.everyday.adverbs import SAYS
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.wording import caption
from quantize.device.check_windows import check_windows
from quantize.graphs.layers import decides_on_names
from quantize.models.captioner import Captioner as TorchCaptioner
from quantize.models.config import CaptionerConfig
from quantize.models.graph_modules import encoder_spec, fold_weight_norm
from quantize.models.sureness import Sureness
from quantize.training.recipe import Recipe
from quantize.training.settings import SurenessRecipe
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models.ensemble_bundles import descriptions
from tests.edge_aac.models.sure_bundles import ORDER, allowed, between
from tests.quantize.bundles.patched_cases import patched_config, random_captioner, write_patched
from tests.quantize.data.everyday.event_lists import drawn_events

_RECIPE = SurenessRecipe(threshold=0.5, scale=2.0, bias=-1.5)
_SPLIT = st.sampled_from([0.0, 0.35, 1.0])


def _confidences(captioner: TorchCaptioner, fbanks: torch.Tensor) -> np.ndarray:
    """Of torch, in the words of the definition: the largest over time of the sigmoid of each calibrated logit."""
    with torch.no_grad():
        memory, _, _ = captioner.encode(fbanks)
        logits = _RECIPE.scale * captioner.sound_logits(memory) + _RECIPE.bias
        return np.asarray(torch.sigmoid(logits).max(dim=1).values)


@pytest.fixture(scope="module")
def exported(small_config: CaptionerConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """A bundle of patches that scores familiarity, too, and torch's confidences for the check windows."""
    captioner = random_captioner(replace(patched_config(small_config), sounds=len(ORDER)))
    assert captioner.sound_head is not None
    torch.nn.init.zeros_(captioner.sound_head.bias)
    folder = write_patched(tmp_path_factory.mktemp("bundles") / "sure", captioner, sureness=_RECIPE)
    # With the weights as they were stored.
    return str(folder), _confidences(captioner, torch.from_numpy(np.stack(check_windows(4))))


def test_a_graph_tells_what_torch_tells(exported: tuple[str, np.ndarray]) -> None:
    folder, want = exported
    assert np.ptp(want) > 0.1 and np.ptp(want, axis=0).max() > 1e-3, "or all sounds and windows are alike to it"
    model = Captioner.open(folder)
    told = model.encode([heard(fbank) for fbank in check_windows(4)], not_cancelled)
    assert told.familiarity is not None and told.sounds is not None
    assert np.abs(told.sounds - want).max() < 1e-4


def test_its_product_is_left_out_of_int8_and_fp16(exported: tuple[str, np.ndarray]) -> None:
    bundle = open_bundle(exported[0])
    nodes = onnx.load(str(bundle.path(bundle.manifest.graphs["encoder"][0]))).graph.node
    kinds = {node.op_type for node in nodes if "/sureness/" in node.name and decides_on_names(node.name)}
    assert {"Sigmoid", "ReduceMax", "MatMul"} <= kinds
    (told,) = (node for node in nodes if "sounds" in node.output)
    assert decides_on_names(told.name)


def test_a_model_without_patches_and_without_familiarity(small_config: CaptionerConfig, tmp_path: Path) -> None:
    captioner = random_captioner(replace(small_config, sounds=7))
    fbanks = torch.from_numpy(np.stack(check_windows(2)))
    want = _confidences(captioner, fbanks)
    fold_weight_norm(captioner)
    spec = encoder_spec(captioner, fbanks, sureness=Sureness(captioner, _RECIPE.scale, _RECIPE.bias))
    assert spec.outputs == ("cross_keys", "cross_values", "audio_embedding", "sounds")
    form = export_graph("encoder", lambda: spec, tmp_path, lambda line: None)
    assert form["shapes"]["sounds"] == ["windows", 7]
    session = onnxruntime.InferenceSession(str(tmp_path / form["file"]), providers=["CPUExecutionProvider"])
    (told,) = session.run(["sounds"], {"fbank": fbanks.numpy()})
    assert np.abs(told - want).max() < 1e-4


def test_streaming_is_offline_and_names_only_what_is_sure(exported: tuple[str, np.ndarray]) -> None:
    folder, told = exported
    threshold = float(np.median(told))
    model = Captioner.open(folder, None, None, Choices(min_confidence=threshold))
    assert model.sureness is not None
    sound = (0.1 * np.random.default_rng(3).standard_normal(13 * 16_000)).astype(np.float32)
    slicer, windows = WindowSlicer(hop_samples=24_000), list[Window]()
    for start in range(0, len(sound), 5_000):
        windows += slicer.push(start, sound[start : start + 5_000])
    windows += slicer.flush()
    streamed = descriptions(model, windows)
    offline = [descriptions(model, [replace(window, stretch=None)])[0] for window in windows]
    for one, other, window in zip(streamed, offline, windows, strict=True):
        assert {c.text: (c.log_likelihood, c.sounds) for c in one.ranked} == {
            c.text: (c.log_likelihood, c.sounds) for c in other.ranked
        }
        sounds = model.encode([window], not_cancelled).sounds
        assert sounds is not None
        may = allowed(dict(zip(ORDER, sounds[0].tolist(), strict=True)), threshold)
        assert {word for c in one.ranked for word in c.text.split()} <= may


@cache
def _vocabulary() -> Tokenizer:
    lexicon = english()
    named = {word for sound in lexicon.names.sounds.values() for word in words_of(sound)}
    said = {word for text in (*NOTHING, *UNKNOWN) for word in text.split()}
    return word_tokenizer(sorted(named | said | set(free_words(lexicon))))


@cache
def _rule() -> Rule:
    lexicon, tokenizer = english(), _vocabulary()
    rule = SurenessRule(threshold=0.35, names=list(lexicon.order), words=free_words(lexicon))
    return Rule.of(rule, lexicon.names, tokenizer, tokenizer.get_vocab_size())


@settings(max_examples=30, deadline=None)
@given(st.lists(_SPLIT, min_size=len(english().order), max_size=len(english().order)))
def test_the_captions_that_name_nothing_can_always_be_said(told: list[float]) -> None:
    tokenizer = _vocabulary()
    rule = _rule()
    held = rule.sayable(rule.raised(np.array([told], np.float32))[0])
    for text in (*NOTHING, *UNKNOWN, *SAYS, "there is", "you can hear the sound of"):
        ids = tokenizer.encode(text).ids
        assert held is None or not between(held)[ids].any(), text


def test_where_nothing_is_sure_no_sound_can_be_named() -> None:
    """Every way to name a sound has a word that is withheld; captions have no other words than names and free ones."""
    lexicon, tokenizer = english(), _vocabulary()
    rule = _rule()
    withheld = between(rule.sayable(np.zeros(len(lexicon.order), np.float32)))

    def kept(phrase: str) -> bool:
        return bool(withheld[tokenizer.encode(phrase).ids].any())

    for name, sound in lexicon.names.sounds.items():
        for phrase in (*sound.nouns, *(subject for say in sound.says for subject in say.subjects)):
            assert kept(phrase), (name, phrase)
    free = set(free_words(lexicon))
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = caption(lexicon, drawn_events(rng), rng).split()
        inside = {place for naming in lexicon.names.find(words) for place in range(naming.start, naming.end)}
        assert {word for place, word in enumerate(words) if place not in inside and kept(word)} <= free


def test_what_is_sure_can_be_named_and_nothing_else() -> None:
    lexicon, tokenizer = english(), _vocabulary()
    rule = _rule()
    told = np.zeros((1, len(lexicon.order)), np.float32)
    told[0, lexicon.order.index("dog_bark")] = 0.9
    raised = rule.raised(told)[0]
    withheld = between(rule.sayable(raised))
    assert not withheld[tokenizer.encode("a dog barks twice in the distance").ids].any()
    assert withheld[tokenizer.encode("meows cat rain thunder snores").ids].all()
    assert rule.named("a dog barks and an animal gives a cry", raised) == pytest.approx(
        {"dog_bark": 0.9, "animal": 0.9}
    )


def test_an_export_wants_the_classifier_that_its_rule_is_of(small_config: CaptionerConfig) -> None:
    plain, other = (TorchCaptioner(replace(small_config, sounds=count)) for count in (0, 5))
    assert sureness_of(None, plain) is None
    with pytest.raises(ConfigError, match="sounds = 269|tells how sure"):
        sureness_of(_RECIPE, plain)
    with pytest.raises(ConfigError, match=f"of 5 sounds, and {len(english().order)} are listed"):
        sureness_of(_RECIPE, other)


def test_the_manifest_has_the_rule_and_the_list(small_recipe: Recipe, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(["a"])
    assert naming_entries(tmp_path, small_recipe, tokenizer) == {}
    entries = naming_entries(tmp_path, replace(small_recipe, sureness=_RECIPE), tokenizer)
    assert entries["sounds"]["file"] == "sounds.json" and (tmp_path / "sounds.json").is_file()
    rule = SurenessRule.model_validate(entries["sureness"])
    assert rule.threshold == 0.5 and tuple(rule.names) == english().order
    assert {"a", "the", "of", "sound", "twice", "distance"} <= set(rule.words)
