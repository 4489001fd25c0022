"""The published captioner for use from Python: a waveform in, every stage's output out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edge_aac.audio.features import filter_bank
from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.steps import Memory
from edge_aac.errors import DataError
from edge_aac.models.decoding import Candidate, CandidateDecoder
from quantize.models.beats import pool_padding
from quantize.models.captioner import Captioner
from quantize.models.graph_modules import DecoderGraph
from quantize.models.published_config import published_rules

IGNORED_LABEL = -100

Waveform = Tensor | npt.NDArray[np.float32]
Mask = Tensor | npt.NDArray[np.bool_] | None


class PublishedCaptioner:
    """Stages of the captioner, without gradients; see ``quantize.load_captioner``.

    Args:
        model: in evaluation mode.

    Attributes:
        model: the module itself.
        rules: the published decoding rules for this model's tokens.
    """

    def __init__(self, model: Captioner) -> None:
        self.model = model
        self.rules = published_rules(model.config)

    def filter_bank(self, waveform: Waveform) -> Tensor:
        """Normalised filter banks (B, frames, 128) of waveforms (B, samples) or (samples,), 16 kHz in ±1.

        Raises:
            DataError: another number of axes.
        """
        waveforms = torch.atleast_2d(torch.as_tensor(waveform, dtype=torch.float32))
        if waveforms.ndim != 2:  # noqa: PLR2004 - batch and samples
            raise DataError(f"waveforms must be (batch, samples), not {tuple(waveforms.shape)}")
        return torch.from_numpy(np.stack([filter_bank(row.numpy()) for row in waveforms]))

    @torch.no_grad()
    def beats_hidden(self, waveform: Waveform, padding_mask: Mask = None) -> Tensor:
        """BEATs' hidden state that the captioner reads, (B, patches, D); arguments as for :meth:`encode`."""
        return self.model.beats_hidden(*self._inputs(waveform, padding_mask))[0]

    @torch.no_grad()
    def encode(self, waveform: Waveform, padding_mask: Mask = None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode waveforms.

        Args:
            waveform: (B, samples), 16 kHz in ±1.
            padding_mask: (B, samples), True = padding; None where nothing is.

        Returns:
            Memory (B, T, D), before cross positions; its padding mask (B, T), True = padding; audio embedding (B, E),
            not normalised.
        """
        memory, padding, embedding = self.model.encode(*self._inputs(waveform, padding_mask))
        if padding is None:
            padding = torch.zeros(memory.shape[:2], dtype=torch.bool)
        return memory, padding, embedding

    @torch.no_grad()
    def logits(self, memory: Tensor, memory_padding_mask: Mask, decoder_input_ids: Tensor) -> Tensor:
        """Teacher-forced logits.

        Args:
            memory: (N, T, D) or (1, T, D) for all rows, from :meth:`encode`.
            memory_padding_mask: the same for its mask; None where nothing is padding.
            decoder_input_ids: (N, S), the start token first.

        Returns:
            (N, S, V).

        Raises:
            DataError: more tokens or memory steps than the decoder has positions for.
        """
        ids = torch.as_tensor(decoder_input_ids)
        config = self.model.config
        for what, length, limit in (
            ("tokens", ids.shape[1], config.decoder.max_positions),
            ("memory steps", memory.shape[1], config.max_memory_positions),
        ):
            if length > limit:
                raise DataError(f"{length} {what} are more than the {limit} that the decoder has positions for")
        padding = None if memory_padding_mask is None else torch.as_tensor(memory_padding_mask).expand(len(ids), -1)
        return self.model.logits(ids, memory.expand(len(ids), -1, -1), padding)

    def caption_nll(self, memory: Tensor, memory_padding_mask: Mask, labels: Tensor) -> Tensor:
        """Mean negative log-likelihood of each caption.

        Args:
            memory, memory_padding_mask: as for :meth:`logits`.
            labels: (N, S) token ids, the end token last; −100 is ignored. The decoder's inputs are the labels shifted
                right, behind the start token.

        Returns:
            (N,).
        """
        labels = torch.as_tensor(labels)
        config = self.model.config.decoder
        start = torch.full((len(labels), 1), config.start_token_id)
        inputs = torch.cat([start, labels[:, :-1]], dim=1)
        inputs = inputs.masked_fill(inputs == IGNORED_LABEL, config.pad_token_id)
        logits = self.logits(memory, memory_padding_mask, inputs)
        counted = labels != IGNORED_LABEL
        losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED_LABEL)
        return losses.sum(dim=1) / counted.sum(dim=1)

    @torch.no_grad()
    def decode(
        self, memory: Tensor, memory_padding_mask: Mask, rules: DecodingRules, rng: np.random.Generator | None = None
    ) -> list[Candidate]:
        """Candidates for one window by the runtime's own decoding loop, torch in place of the exported step.

        Args:
            memory, memory_padding_mask: of one window, (1, T, D) and (1, T).
            rules: :attr:`rules`, or a copy with another ``method``.
            rng: needed by the method "nucleus".

        Raises:
            DataError: the decoder's numbers are none.
        """
        keys, values = self.model.decoder.cross_keys_values(self.model.positioned(memory))
        padding = np.zeros(memory.shape[:2], bool)
        if memory_padding_mask is not None:
            padding = torch.as_tensor(memory_padding_mask).numpy()
        of_window = Memory(keys.numpy(), values.numpy(), padding)
        decoder = CandidateDecoder(TorchDecoder(self.model))
        (found,) = decoder.decode(of_window, rules, [rng or np.random.default_rng(0)])
        if isinstance(found, DataError):
            raise found
        return found

    def _inputs(self, waveform: Waveform, padding_mask: Mask) -> tuple[Tensor, Tensor | None]:
        fbank = self.filter_bank(waveform)
        frames = fbank.shape[1]
        if self.model.config.memory_steps_of(frames) < 1:
            raise DataError(f"{frames} frames of 10 ms are too few for one memory step: give more samples")
        if padding_mask is None:
            return fbank, None
        padding = pool_padding(torch.atleast_2d(torch.as_tensor(padding_mask)), frames)
        if padding.all(dim=1).any():
            raise DataError("a waveform is padding from end to end: leave it out")
        return fbank, padding


class TorchDecoder:
    """The decoding step in torch, behind the runtime's ``Engine`` protocol."""

    def __init__(self, model: Captioner) -> None:
        self._graph = DecoderGraph(model).eval()
        heads = model.config.decoder.heads
        cache = ("rows", heads, "capacity", model.config.beats.dim // heads)
        self.input_shapes: Mapping[str, tuple[int | str | None, ...]] = {
            "memory_padding": ("windows", "memory_steps"),
            **{name: cache for name in self._graph.input_names if name.startswith("self_")},
        }

    @torch.no_grad()
    def run(self, inputs: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`edge_aac.engines.choice.Engine`."""
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._graph.input_names]
        names = ("logits", "new_keys", "new_values")
        return {name: tensor.numpy() for name, tensor in zip(names, self._graph(*tensors), strict=True)}
