"""Bundles whose stem hears patches of time, exported from random weights: no training, no recordings."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge_aac.bundle.manifest import DecodingRules
from quantize.bundles.bundle_writer import export_graph, write_manifest
from quantize.bundles.export import (
    TextPart,
    graph_specs,
    manifest_table,
    patch_rule,
    write_calibration_of,
)
from quantize.bundles.sounds import write_sounds
from quantize.bundles.training_data import TrainingData
from quantize.device.check_windows import check_windows
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig, TextEmbedderConfig
from quantize.models.familiarity import Familiarity, Stretches
from quantize.models.graph_modules import fold_batch_norm, fold_weight_norm
from quantize.models.instructor import TextEmbedder
from quantize.models.sureness import Sureness
from quantize.training.settings import SurenessRecipe
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models.sure_bundles import FREE, NAMES, ORDER
from tests.edge_aac.models.tiny_bundle import WORDS

CAPTIONS = ["a dog barks while rain falls", "birds sing", "thunder rolls on the roof and rain falls"]


def patched_config(config: CaptionerConfig, **beats: Any) -> CaptionerConfig:
    """The same captioner with a stem of patches, for the words of the tests."""
    stem: dict[str, Any] = {"conv_stem": (), "conv_stem_strides": (), "stem_width": 0.1, "layers": 0, "run_layers": 0}
    vocabulary = word_tokenizer(WORDS).get_vocab_size()
    return replace(
        config,
        beats=replace(config.beats, **{**stem, **beats}),
        decoder=replace(config.decoder, vocab_size=vocabulary),
        downsample_rate=1,
    )


@torch.no_grad()
def random_captioner(config: CaptionerConfig) -> Captioner:
    """Random weights under norms that have seen sound, so that different sounds have different vectors."""
    torch.manual_seed(7)
    captioner = Captioner(config).train()
    norms = [module for module in captioner.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.weight.uniform_(0.6, 1.4)
        norm.bias.normal_(0.0, 0.3)
    captioner.encode(torch.from_numpy(np.stack(check_windows(4))))
    return captioner.eval()


def write_patched(
    folder: Path,
    captioner: Captioner,
    windows: int = 2,
    calibration: int = 0,
    sureness: SurenessRecipe | None = None,
) -> Path:
    """Write a bundle as export does; ``captioner`` is changed as export changes it.

    With ``sureness`` it tells how sure it is of the sounds of tests/edge_aac/models/sure_bundles.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer = captioner.config, word_tokenizer(WORDS)
    sizes = TextEmbedderConfig(
        vocab_size=tokenizer.get_vocab_size(),
        dim=32,
        head_dim=16,
        heads=2,
        ffn_dim=32,
        layers=1,
        embedding_dim=config.embedding_dim,
    )
    text = TextPart(TextEmbedder.from_config(sizes).eval(), tokenizer)
    fbanks = check_windows(windows + calibration)
    data = TrainingData([], torch.from_numpy(np.stack(fbanks[:windows])), CAPTIONS, np.stack(fbanks), "a test")
    fold_weight_norm(captioner)
    fold_batch_norm(captioner)
    familiarity = Familiarity(config.beats.dim, 4, 3, Stretches(tokens=4, hop=2, loudest=2)).eval()
    for buffer in familiarity.buffers():
        buffer.add_(torch.randn_like(buffer).abs())
    telling = Sureness(captioner, sureness.scale, sureness.bias) if sureness else None
    specs = graph_specs(captioner, text, data, familiarity, telling)
    graphs = {role: [export_graph(role, make, folder, lambda line: None)] for role, make in specs.items()}
    recipe = {
        "name": "patched",
        "version": "1",
        "license": "CC0-1.0",
        "source": "random numbers",
        "model": {**asdict(config)},
        "decoding": DecodingRules(candidates=3, min_length=3, max_length=12).model_dump(
            include={"candidates", "min_length", "max_length"}
        ),
        "rerank": {"log_likelihood": 0.3, "similarity": 0.7},
    }
    manifest = manifest_table(recipe, tokenizer, tokenizer, folder, graphs, {})
    rule = patch_rule(captioner)
    assert rule is not None
    manifest["patches"] = rule.model_dump()
    manifest["familiarity"] = {"threshold": -1e6, "words": ["rain", "and"]}
    if sureness:
        manifest["sounds"] = write_sounds(folder, NAMES)
        manifest["sureness"] = {"threshold": sureness.threshold, "names": list(ORDER), "words": list(FREE)}
    if calibration:
        manifest["calibration"] = write_calibration_of(folder, specs, data, rule, lambda line: None)
    write_manifest(folder, manifest)
    return folder
