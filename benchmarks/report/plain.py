"""ONNX Runtime as it comes: exported by torch, quantised dynamically, default session settings, no cache."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks.report.scene import timed, window_samples
from benchmarks.report.torch_ways import PublishedParts
from benchmarks.report.worker import Way
from edge_aac.audio.features import filter_bank
from edge_aac.engines.contract import Logits, TokenIds
from edge_aac.errors import DataError
from edge_aac.models.decoding import find_candidates
from edge_aac.models.seq2seq import window_rng
from quantize.models.captioner import Captioner
from quantize.models.config import WINDOW_FRAMES

OPSET = 17


def plain(threads: int, sizes: Mapping[str, Any], embedder: str, candidates: int, tokens: int) -> Way:
    """Encoder, decoder and text embedder of the published sizes, each a file that ONNX Runtime quantised.

    Arguments are those of :class:`benchmarks.report.torch_ways.PublishedParts`. Threads are left to the session, which
    takes those cores that the process may run on.
    """
    parts = PublishedParts(threads, sizes, embedder, candidates, tokens)
    rules, about = parts.rules(candidates), {**parts.about(), "precision": "int8, dynamic"}
    with tempfile.TemporaryDirectory() as scratch:
        encoder, decoder, texts = sessions(parts, Path(scratch))
    del parts
    ids = np.ones((candidates, tokens - 2 + 4), np.int64)

    def run(index: int) -> Mapping[str, float]:
        features_ms, fbank = timed(lambda: filter_bank(window_samples(index)))
        encode_ms, (memory, embedding) = timed(lambda: encoder.run(None, {"fbank": fbank[np.newaxis]}))
        steps = WholePrefix(decoder, np.repeat(memory, candidates, axis=0))
        decode_ms, (found,) = timed(partial(find_candidates, steps, rules, [window_rng(0, index)]))
        if isinstance(found, DataError):
            raise found
        rerank_ms, _ = timed(
            lambda: texts.run(None, {"token_ids": ids, "attention_mask": np.ones_like(ids)})[0] @ embedding[0]
        )
        return {"features": features_ms, "encode": encode_ms, "decode": decode_ms, "rerank": rerank_ms}

    return Way(run, about)


class WholePrefix:
    """Decoding steps without a cache: each runs the decoder over all tokens so far.

    Args:
        session: token_ids (N, S), memory (N, T, D) → logits (N, S, V).
        memory: of each row.
    """

    def __init__(self, session: onnxruntime.InferenceSession, memory: npt.NDArray[np.float32]) -> None:
        self._session, self._memory = session, memory
        self._prefix = np.zeros((len(memory), 0), np.int64)

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """See :class:`edge_aac.engines.steps.DecodingSteps`."""
        self._prefix = np.concatenate([self._prefix[:, :step], token_ids], axis=1)
        (logits,) = self._session.run(None, {"token_ids": self._prefix, "memory": self._memory})
        last: Logits = logits[:, -1]
        return last

    def reorder(self, parents: TokenIds, length: int) -> None:
        """See :class:`edge_aac.engines.steps.DecodingSteps`."""
        self._prefix[:, :length] = self._prefix[parents, :length]


class _Encoder(nn.Module):
    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, fbank: Tensor) -> tuple[Tensor, Tensor]:
        memory, _, embedding = self.captioner.encode(fbank)
        return memory, embedding


class _Decoder(nn.Module):
    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, token_ids: Tensor, memory: Tensor) -> Tensor:
        return self.captioner.logits(token_ids, memory)


def sessions(parts: PublishedParts, folder: Path) -> list[onnxruntime.InferenceSession]:
    """The three graphs, exported and quantised; the files are not needed any more."""
    captioner, memory_steps = parts.captioner.model, parts.config.memory_steps
    rows, tokens = {0: "rows"}, {0: "rows", 1: "tokens"}
    fbank = torch.zeros(1, WINDOW_FRAMES, parts.config.beats.mel_bins)
    ids = torch.ones(2, 3, dtype=torch.long)
    memory = torch.zeros(2, memory_steps, parts.config.beats.dim)
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]] = {
        "encoder": (_Encoder(captioner), {"fbank": fbank}, {}),
        "decoder": (_Decoder(captioner), {"token_ids": ids, "memory": memory}, {"token_ids": tokens, "memory": rows}),
        "texts": (
            parts.text_embedder,
            {"token_ids": ids, "attention_mask": torch.ones_like(ids)},
            {"token_ids": tokens, "attention_mask": tokens},
        ),
    }
    made = []
    for name, (module, inputs, axes) in graphs.items():
        path = quantised(module.eval(), inputs, axes, folder / name)
        made.append(onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
    return made


def quantised(
    module: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]], folder: Path
) -> Path:
    """Export a module and quantise its matrix products dynamically.

    Convolutions stay fp32: the operator that the library would put in their place (ConvInteger) takes no int8 weights
    on a processor.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    exported, made = folder / "fp32" / "graph.onnx", folder / "int8" / "graph.onnx"
    for path in (exported, made):
        path.parent.mkdir(parents=True)
    export(module, inputs, axes, exported)
    quantize_dynamic(exported, made, op_types_to_quantize=["MatMul", "Gemm", "Attention"], weight_type=QuantType.QInt8)
    return made


def export(module: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]], path: Path) -> None:
    """Write a module as ONNX, as a user would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that traces is deprecated
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            dynamic_axes={name: dict(named) for name, named in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
