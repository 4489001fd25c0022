"""Pengi and clapcap, converted: what their bundles give in ONNX Runtime against what the original code gave.

Other folders of the layouts of ``pengi_tiny`` and ``clapcap_tiny``:

    EDGE_AAC_REFERENCE_PENGI=FOLDER EDGE_AAC_REFERENCE_CLAPCAP=FOLDER \
      pytest tests/quantize/bundles/test_prompted_parity.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.prompted import Answer, Heard, Prompted
from edge_aac.models.prompted_manifest import SearchRules
from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
from tests.quantize.models.audio_language_reference import Reference
from tests.system.command import records, run_edge_aac

PREFIX_TOLERANCE = 1e-3
WITHIN_A_CLIP = ("bark.wav", "chirp_stereo_22k.wav")
"""Files of both references that are no longer than a clip: of a longer one the original code drew a piece."""


def _converted(path: Path, folder: Path, name: str) -> Path:
    source = prompted_source(path)
    assert source is not None
    return convert_prompted(source, folder / name, prompted_provenance(source, name), lambda line: None)


def _opened(bundle: Path) -> Prompted:
    return Prompted(open_bundle(str(bundle)), EngineOptions(threads=1))


@pytest.fixture(scope="module")
def pengi_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_PENGI", "pengi_tiny")


@pytest.fixture(scope="module")
def clapcap_reference() -> Reference:
    return Reference.of("EDGE_AAC_REFERENCE_CLAPCAP", "clapcap_tiny")


Loaded = tuple[str, Path, Prompted]


@pytest.fixture(scope="module", params=["base", "no_text_enc"])
def pengi(
    pengi_reference: Reference, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Loaded:
    file = {"base": "base.pth", "no_text_enc": "base_no_text_enc.pth"}[request.param]
    path = pengi_reference.folder / "configs" / file
    bundle = _converted(path, tmp_path_factory.mktemp("pengi"), request.param)
    return request.param, bundle, _opened(bundle)


@pytest.fixture(scope="module")
def clapcap(clapcap_reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prompted]:
    bundle = _converted(clapcap_reference.folder, tmp_path_factory.mktemp("clapcap"), "clapcap")
    return bundle, _opened(bundle)


def _heard(model: Prompted, reference: Reference) -> list[Heard]:
    return [model.hear(clip) for clip in reference.expected["audio.waveform"]]


def _close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert float(np.abs(got - want).max()) < PREFIX_TOLERANCE * max(1.0, float(want.std()))


def _same_beams(found: Answer, reference: Reference, prefix: str) -> None:
    beams, expected = found.beams, reference.expected
    assert np.array_equal(beams.token_ids, expected[f"{prefix}.tokens"])
    assert np.array_equal(beams.lengths, expected[f"{prefix}.lengths"])
    np.testing.assert_allclose(beams.scores, expected[f"{prefix}.scores"], rtol=1e-3)


def test_prefixes(pengi: Loaded, pengi_reference: Reference) -> None:
    name, _, model = pengi
    expected, given = pengi_reference.expected, pengi_reference.given
    for number, heard in enumerate(_heard(model, pengi_reference)):
        _close(heard.audio_embedding, expected[f"{name}.audio.embedding"][number])
        _close(heard.prefix, expected[f"{name}.audio.prefix"][number])
        prompt = given["prompts"][number]
        found = model.follow(heard, prompt, [0]).prefix[len(heard.prefix) :]
        _close(found, expected[f"{name}.prompt.prefix"][number])


def test_answers(pengi: Loaded, pengi_reference: Reference) -> None:
    name, _, model = pengi
    given, stop = pengi_reference.given, model.manifest.decoding.stop_token_id
    assert stop == pengi_reference.expected[f"{name}.stop_token_encoding"][0]
    heard = _heard(model, pengi_reference)
    for beams in given["beam_sizes"]:
        rules = SearchRules(beams=beams, max_length=given["max_len"], stop_token_id=stop)
        found = [model.answer(clip, prompt, rules=rules) for clip, prompt in zip(heard, given["prompts"], strict=True)]
        for number, one in enumerate(found):
            _same_beams(one, pengi_reference, f"{name}.plain.beam{beams}.clip{number}")
        assert [list(one.texts) for one in found] == pengi_reference.texts[f"{name}.plain.beam{beams}"]


def test_answers_that_go_on_from_a_text(pengi: Loaded, pengi_reference: Reference) -> None:
    """The published wrapper takes of the text for the i-th file the i-th character alone."""
    name, _, model = pengi
    given, stop = pengi_reference.given, model.manifest.decoding.stop_token_id
    heard = _heard(model, pengi_reference)
    keys = [key.split(".")[2] for key in pengi_reference.expected if key.startswith(f"{name}.added.beam")]
    assert keys
    for beams in set(keys):
        rules = SearchRules(beams=int(beams.removeprefix("beam")), max_length=given["max_len"], stop_token_id=stop)
        found = [
            model.answer(clip, prompt, text[number : number + 1], rules)
            for number, (clip, prompt, text) in enumerate(zip(heard, given["prompts"], given["add_texts"], strict=True))
        ]
        for number, one in enumerate(found):
            _same_beams(one, pengi_reference, f"{name}.added.{beams}.clip{number}")
        assert [list(one.texts) for one in found] == pengi_reference.texts[f"{name}.added.{beams}"]


def test_asking_about_files(pengi: Loaded, pengi_reference: Reference) -> None:
    name, bundle, _ = pengi
    given, texts = pengi_reference.given, pengi_reference.texts
    asked = [number for number, file in enumerate(given["audio"]) if file in WITHIN_A_CLIP]
    if not asked:
        pytest.skip("this reference has no file within a clip")
    for number in asked:
        file, prompt = pengi_reference.folder / "audio" / given["audio"][number], given["prompts"][number]
        limits = ("--beams", "3", "--max-length", str(given["max_len"]))
        done = run_edge_aac("ask", file, prompt, "--bundle", bundle, *limits)
        assert done.returncode == 0, done.stderr
        (record,) = records(done.stdout)
        assert record["prompt"] == prompt
        want = [text.strip() for text in texts[f"{name}.plain.beam3"][number]]
        assert [one["text"] for one in record["answers"]] == want
        assert record["answer"] == want[0]


def test_captions_of_clapcap(clapcap: tuple[Path, Prompted], clapcap_reference: Reference) -> None:
    _, model = clapcap
    given, expected, texts = clapcap_reference.given, clapcap_reference.expected, clapcap_reference.texts
    heard = _heard(model, clapcap_reference)
    for number, clip in enumerate(heard):
        _close(clip.prefix, expected["prefix"][number])
    stop = model.manifest.decoding.stop_token_id
    for name, want in texts.items():
        head, _, temperature = name.partition("_temperature_")
        rules = SearchRules(
            beams=int(head.removeprefix("beam")),
            max_length=given["entry_length"],
            temperature=float(temperature or 1.0),
            stop_token_id=stop,
        )
        found = [model.answer(clip, "", rules=rules) for clip in heard]
        if not temperature:
            for number, one in enumerate(found):
                _same_beams(one, clapcap_reference, f"{head}.clip{number}")
        assert [one.texts[0] for one in found] == want


def test_a_caption_of_a_file_by_clapcap(clapcap: tuple[Path, Prompted], clapcap_reference: Reference) -> None:
    bundle, _ = clapcap
    given = clapcap_reference.given
    asked = [number for number, file in enumerate(given["audio"]) if file in WITHIN_A_CLIP]
    if not asked:
        pytest.skip("this reference has no file within a clip")
    file = clapcap_reference.folder / "audio" / given["audio"][asked[0]]
    limits = ("--beams", "5", "--max-length", str(given["entry_length"]))
    done = run_edge_aac("ask", file, "--bundle", bundle, *limits)
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    assert record["answer"] == clapcap_reference.texts["beam5"][asked[0]].strip()
    assert "prompt" not in record


def test_what_a_manifest_says(pengi: Loaded, pengi_reference: Reference) -> None:
    name, bundle, _ = pengi
    table = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    samples = pengi_reference.expected["audio.waveform"].shape[1]
    assert (table["kind"], table["clip"]["samples"]) == ("prompted", samples)
    assert all(form["max_abs_difference"] <= 1e-3 for forms in table["graphs"].values() for form in forms)
    tokens = pengi_reference.expected[f"{name}.prompt.input_ids"].shape[1]
    assert table["prompt_tokens"]["length"] == tokens
