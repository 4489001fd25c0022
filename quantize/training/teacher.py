"""A teacher's outputs for a batch: computed beside the student, or before and kept in shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantize.models.captioner import Captioner
from quantize.training.objective import TopTokens, top_tokens
from quantize.training.tensor_batch import TensorBatch


@dataclass(frozen=True)
class TeacherSignals(TensorBatch):
    """What a student is compared with, for B windows with K captions each.

    Attributes:
        hidden: (B, T, D) of BEATs.
        memory: (B, T', D) of the Conformer.
        audio_embedding: (B, E).
        activity_logits: (B, T, classes).
        tokens: of the next token at each place of the captions, (B · K, S, top) each.
    """

    hidden: Tensor
    memory: Tensor
    audio_embedding: Tensor
    activity_logits: Tensor
    tokens: TopTokens


class Teacher(nn.Module):
    """A frozen captioner.

    Args:
        captioner: any size; in evaluation mode from here on.
        kept_ids: (V,) the teacher's ids of the student's tokens, where the student's vocabulary is cut from it.
        top: how many of the likeliest tokens are kept.
        temperature: of the token distributions.
    """

    def __init__(self, captioner: Captioner, kept_ids: Tensor | None, top: int, temperature: float) -> None:
        super().__init__()
        self.captioner = captioner.eval().requires_grad_(False)
        self.kept_ids: Tensor | None
        self.register_buffer("kept_ids", kept_ids, persistent=False)
        self.top, self.temperature = top, temperature

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode, also as a part of what is trained."""
        return super().train(False)

    @torch.no_grad()
    def signals(self, fbank: Tensor, decoder_input_ids: Tensor) -> TeacherSignals:
        """Signals for filter banks (B, frames, mel) and decoder inputs (B · K, S) in the student's token ids."""
        model = self.captioner
        hidden, _ = model.beats_hidden(fbank)
        memory, _ = model.memory(hidden)
        inputs = decoder_input_ids if self.kept_ids is None else self.kept_ids[decoder_input_ids]
        per_window = len(decoder_input_ids) // len(fbank)
        logits = model.logits(inputs, memory.repeat_interleave(per_window, dim=0))
        if self.kept_ids is not None:
            logits = logits[..., self.kept_ids]
        return TeacherSignals(
            hidden,
            memory,
            model.audio_embedding(memory),
            model.encoder.predictor(hidden),
            top_tokens(logits, self.top, self.temperature),
        )


def joined(parts: Sequence[TeacherSignals], length: int) -> TeacherSignals:
    """Signals of single windows as those of a batch, whose longest caption has ``length`` tokens."""

    def stacked(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    def padded(name: str) -> Tensor:
        rows = [row[:length] for part in parts for row in getattr(part.tokens, name)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    return TeacherSignals(
        stacked("hidden"),
        stacked("memory"),
        stacked("audio_embedding"),
        stacked("activity_logits"),
        TopTokens(padded("log_probs"), padded("token_ids")),
    )
