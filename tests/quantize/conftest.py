"""Recordings made here, so that the build-time side is tested without any corpus."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the build-time side needs torch: pip install 'edge-aac[train]'")

import soundfile  # noqa: E402

from quantize.models.config import (  # noqa: E402
    BeatsConfig,
    CaptionerConfig,
    ConformerConfig,
    DecoderConfig,
    TextEmbedderConfig,
)
from quantize.models.sentence_embedder import SentenceEmbedder, load_sentence_embedder  # noqa: E402
from quantize.training.recipe import Recipe, load_recipe  # noqa: E402
from quantize.training.settings import Folds  # noqa: E402
from tests.made_once import made_once  # noqa: E402
from tests.quantize.models.published_layout import reference  # noqa: E402

if TYPE_CHECKING:
    from quantize.training.distill import TeacherModel
    from quantize.training.sources import SceneSource

RATE = 16_000
# Small tensors gain nothing from more threads, and lose much where other work shares the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with clips.csv: two recordings of each of three classes in each of two folds."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    rows = []
    for fold in (1, 2):
        for number in range(2):
            for label, waveform in (
                ("rain", 0.1 * rng.standard_normal(5 * RATE)),
                ("dog_bark", _bursts(rng)),
                ("clock_tick", _ticks(rng)),
            ):
                name = f"{fold}-{number}-{label}.flac"
                soundfile.write(folder / name, np.clip(waveform, -1, 1), RATE)
                rows.append([name, label, fold, name, name, f"author {number}", "CC0", "https://example.org/" + name])
    with (folder / "clips.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "label", "fold", "freesound_id", "title", "author", "license", "source_url"])
        table.writerows(rows)
    return folder


def _bursts(rng: np.random.Generator) -> np.ndarray:
    """Three barks of 0.2 s."""
    waveform = np.zeros(5 * RATE)
    for start in (0.5, 2.0, 3.5):
        at = round(start * RATE)
        waveform[at : at + 3200] = 0.5 * np.sin(2 * np.pi * 500 * np.arange(3200) / RATE) * rng.uniform(0.8, 1.0)
    return waveform


def _ticks(rng: np.random.Generator) -> np.ndarray:
    waveform = 1e-3 * rng.standard_normal(5 * RATE)
    waveform[:: RATE // 2] += 0.8
    return waveform


@pytest.fixture(scope="session")
def captioner_folder() -> Path:
    """The reference captioner, or the one that the environment names."""
    return reference("EDGE_AAC_REFERENCE_CAPTIONER", "captioner_tiny")


@pytest.fixture(scope="session")
def instructor_folder() -> Path:
    """The reference INSTRUCTOR, or the one that the environment names."""
    return reference("EDGE_AAC_REFERENCE_INSTRUCTOR", "instructor_tiny")


@pytest.fixture(scope="session")
def published(captioner_folder: Path, instructor_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model in its published layout, converted; what that told stands in ``lines`` beside it."""
    from quantize.bundles.convert import convert_published, provenance_of
    from quantize.models.decoder_tokenizer import NUMBERED

    def convert(folder: Path) -> None:
        lines: list[str] = []
        provenance = provenance_of(captioner_folder, instructor_folder, "published")
        convert_published(captioner_folder, instructor_folder, NUMBERED, folder / "bundle", provenance, lines.append)
        (folder / "lines").write_text("\n".join(lines), encoding="utf-8")

    return made_once(tmp_path_factory, "published", convert) / "bundle"


@pytest.fixture(scope="session")
def expected(captioner_folder: Path) -> dict[str, np.ndarray]:
    """What the original code gave for the reference captioner."""
    with np.load(captioner_folder / "expected.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="session")
def small_config() -> CaptionerConfig:
    """Every module of the captioner, a few thousand parameters in all."""
    return CaptionerConfig(
        beats=BeatsConfig(
            conv_stem=(4, 8, 8, 8),
            conv_stem_strides=((2, 2), (2, 2), (2, 2), (2, 2)),
            patch_embed_dim=16,
            layers=2,
            run_layers=2,
            dim=16,
            ffn_dim=32,
            heads=2,
            conv_pos=8,
            conv_pos_groups=4,
            relative_buckets=16,
            relative_max_distance=32,
            classes=10,
        ),
        conformer=ConformerConfig(
            layers=1, heads=2, ffn_dim=32, depthwise_kernel=5, conv_pos=8, conv_pos_groups=4, max_positions=64
        ),
        decoder=DecoderConfig(vocab_size=900, layers=2, heads=2, ffn_dim=32, max_positions=48),
        downsample_rate=2,
        max_memory_positions=64,
        embedding_ffn_dim=32,
        embedding_dim=8,
    )


@pytest.fixture(scope="session")
def small_recipe(small_config: CaptionerConfig) -> Recipe:
    """Two epochs of twelve scenes; the text embedder learns along, and the encoder nothing before."""
    shipped = load_recipe("esc10-tiny")
    return replace(
        shipped,
        name="small",
        folds=Folds(train=(1,), validation=(2,)),
        model=small_config,
        text=TextEmbedderConfig(dim=16, head_dim=8, heads=2, ffn_dim=32, layers=1, embedding_dim=8),
        pretrain=None,
        familiarity=None,
        train=replace(
            shipped.train,
            contrastive_target="together",
            epochs=2,
            scenes_per_epoch=12,
            batch_scenes=4,
            warmup_steps=2,
            validation_scenes=4,
            corpus_scenes=20,
            workers=0,
        ),
        decoding={**shipped.decoding, "max_length": 24},
    )


@pytest.fixture(scope="session")
def taught_recipe(small_recipe: Recipe) -> Recipe:
    """Of a student."""
    from tests.quantize.training.distill_cases import student_recipe

    return student_recipe(small_recipe)


@pytest.fixture(scope="session")
def scene_source(taught_recipe: Recipe, recordings: Path) -> SceneSource:
    """Scenes of fold 1."""
    from quantize.training.sources import SceneSource

    return SceneSource(taught_recipe, recordings)


@pytest.fixture(scope="session")
def teacher(
    small_config: CaptionerConfig, scene_source: SceneSource, tmp_path_factory: pytest.TempPathFactory
) -> TeacherModel:
    """Of the student's sizes, with more tokens."""
    from tests.quantize.training.distill_cases import small_teacher

    return small_teacher(small_config, scene_source.captions(), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def sentence_embedder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence embedder of as many dimensions as the small captioner's audio embeddings have."""
    from tests.quantize.training.distill_cases import write_sentence_embedder

    return write_sentence_embedder(tmp_path_factory.mktemp("sentence-embedder"))


@pytest.fixture(scope="session")
def sentence_embedder(sentence_embedder_folder: Path) -> SentenceEmbedder:
    """The same, loaded."""
    return load_sentence_embedder(sentence_embedder_folder)
