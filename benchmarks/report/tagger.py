"""A tagger that a user would pick in place of an encoder: EfficientAT's "mn" networks, random weights, ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.report.plain import export
from benchmarks.report.scene import timed
from benchmarks.report.worker import Way
from quantize.models.efficientat import EfficientAt, parameters
from quantize.models.efficientat_mel import TAGGER_RATE

WINDOW_S = 10


def tagger(threads: int, width: float) -> Way:
    """The network alone, without its mel spectrogram, in a session with default settings.

    Args:
        threads: cores of the process, which the session takes.
        width: 1.0 for "mn10".
    """
    torch.manual_seed(0)
    network = EfficientAt(width).eval()
    frames = WINDOW_S * TAGGER_RATE // network.mel.hop
    mel = torch.zeros(1, network.mel.mel_bins, frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tagger.onnx"
        export(network, {"mel": mel}, {}, path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    spectrogram = np.random.default_rng(0).standard_normal(mel.shape).astype(np.float32)

    def run(index: int) -> Mapping[str, float]:
        encode_ms, _ = timed(lambda: session.run(None, {"mel": spectrogram}))
        return {"encode": encode_ms}

    return Way(run, {"parameters": parameters(network), "precision": "fp32", "width": width})
