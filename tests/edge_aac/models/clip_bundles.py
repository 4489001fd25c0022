"""A dual encoder that hears clips, with graphs that compute so little that it is made anew for each test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.edge_aac.models.tiny_bundle import (
    _FLOAT,
    Tiny,
    _model,
    _weights,
    captioner_table,
    entry,
    graph_entry,
    write,
)

RATE, SAMPLES, FFT, HOP, BINS = 8_000, 8_000, 128, 100, 6
"""Clips of one second."""


def clip_table(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write the files of such a bundle; its manifest, with some entries otherwise."""
    tiny = Tiny()
    table = captioner_table(folder, tiny)
    nodes = [
        helper.make_node("ReduceMean", ["log_mel"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["audio_embedding"]),
    ]
    encoder = _model(
        nodes,
        {"log_mel": (_FLOAT, ["windows", SAMPLES // HOP + 1, BINS])},
        {"audio_embedding": (_FLOAT, ["windows", tiny.embedding])},
        {"weights": _weights(3, BINS, tiny.embedding)},
    )
    onnx.save(encoder, str(folder / "encoder.onnx"))
    np.save(folder / "mel.npy", np.abs(_weights(4, FFT // 2 + 1, BINS)))
    return {
        "schema": "edge-aac/bundle/1",
        "kind": "dual_encoder",
        "name": "tiny-clap",
        "version": "1",
        "license": "Apache-2.0",
        "attributions": [],
        "sample_rate": RATE,
        "window_s": SAMPLES / RATE,
        "quality": {},
        "labels": [],
        "prompt": "the sound of {}",
        "embedding_size": tiny.embedding,
        "text_tokenizer": table["tokenizers"]["text"],
        "clip": {
            "samples": SAMPLES,
            "mixes": False,
            "pads": False,
            "mel": {"fft": FFT, "hop": HOP, "bins": BINS, "filters": entry(folder / "mel.npy")},
        },
        "text": {"suffix": " rain", "max_tokens": 12},
        "logit_scale": 20.0,
        "graphs": {
            "encoder": [graph_entry(folder / "encoder.onnx")],
            "text_embedder": table["graphs"]["text_embedder"],
        },
        **changes,
    }


def write_clip_bundle(folder: Path, **changes: Any) -> str:
    """Write such a bundle; its folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder, clip_table(folder, **changes))
