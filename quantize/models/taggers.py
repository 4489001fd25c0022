"""Audio taggers as teachers, behind one protocol: waveforms in, classes over time and features out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from edge_aac.audio.features import filter_bank
from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.models.beats import Beats
from quantize.models.checkpoint import load_beats
from quantize.models.efficientat import CLASSES, EfficientAt, load_efficientat
from quantize.models.efficientat_mel import TAGGER_RATE
from quantize.models.weight_files import load_pickle

_REDUCTION = 32
"""Frames of EfficientAT's spectrogram that one step of its last block covers: five blocks halve it."""


@dataclass(frozen=True)
class Tags:
    """What a tagger hears in a batch of waveforms.

    Attributes:
        features: (B, T, F), what its classifier reads, before it is averaged over time.
        local: (B, T, C), logits of the classes at each step. Each class stands by itself: sigmoid, not softmax.
        logits: (B, C), logits of the classes in the whole waveform, as the tagger was trained.
        step_s: seconds from one of the T steps to the next.
    """

    features: Tensor
    local: Tensor
    logits: Tensor
    step_s: float


class Tagger(Protocol):
    """A network that names AudioSet's classes.

    Attributes:
        feature_size: F.
        classes: C, in the order of AudioSet's list.
    """

    feature_size: int
    classes: int

    def tag(self, waveforms: Tensor) -> Tags:
        """Tag waveforms (B, samples), mono at 16 kHz in ±1, without gradients."""

    def classify(self, features: Tensor) -> Tensor:
        """Logits (…, C) of features (…, F), with gradients to the features."""

    def on(self, device: torch.device) -> Tagger:
        """The tagger itself where it is on a device already, else a copy of it there."""


class EfficientAtTagger:
    """An EfficientAT network; waveforms are brought to its 32 kHz, so nothing lies above 8 kHz.

    Args:
        network: in evaluation mode.
    """

    classes = CLASSES

    def __init__(self, network: EfficientAt) -> None:
        self.network = network
        self.feature_size = network.feature_size

    @torch.no_grad()
    def tag(self, waveforms: Tensor) -> Tags:
        """See :meth:`Tagger.tag`. Local logits are the classifier's of each step's features."""
        network = self.network
        rows = [soxr.resample(row, SAMPLE_RATE, TAGGER_RATE, "HQ") for row in waveforms.cpu().numpy()]
        mel = network.mel(torch.from_numpy(np.stack(rows)).to(waveforms.device))
        maps = network.features(mel[:, None])
        features = maps.mean(2).transpose(1, 2)
        # A convolutional head is linear: the classes of the mean are the mean of the classes.
        local, logits = self.classify(features), self.classify(features.mean(1))
        return Tags(features, local, logits, _REDUCTION * network.mel.hop / TAGGER_RATE)

    def on(self, device: torch.device) -> EfficientAtTagger:
        """See :meth:`Tagger.on`."""
        return self if _lies_on(self.network, device) else EfficientAtTagger(copy.deepcopy(self.network).to(device))

    def classify(self, features: Tensor) -> Tensor:
        """See :meth:`Tagger.classify`."""
        if not self.network.convolutional_head:
            return self.network.classifier(features)
        rows = features.reshape(-1, self.feature_size, 1, 1)
        return self.network.classifier(rows).reshape(*features.shape[:-1], CLASSES)


class BeatsTagger:
    """BEATs with the head that it was fine-tuned with on AudioSet.

    Args:
        network: in evaluation mode, with its predictor.
    """

    def __init__(self, network: Beats) -> None:
        self.network = network
        self.feature_size, self.classes = network.config.dim, network.config.classes

    @torch.no_grad()
    def tag(self, waveforms: Tensor) -> Tags:
        """See :meth:`Tagger.tag`.

        Tokens are time-major, one for each patch of 16 frames and 16 mel bins; those of one moment are averaged. The
        class logits of the whole are the mean of the tokens' (Chen et al., *BEATs*, 2023, fine-tuning).
        """
        config = self.network.config
        fbank = torch.from_numpy(np.stack([filter_bank(row) for row in waveforms.cpu().numpy()])).to(waveforms.device)
        hidden, _ = self.network(fbank)
        over_mel = config.mel_bins // config.patch_size
        features = hidden.unflatten(1, (-1, over_mel)).mean(2)
        local = self.classify(features)
        return Tags(features, local, local.mean(1), config.patch_size * 0.010)

    def on(self, device: torch.device) -> BeatsTagger:
        """See :meth:`Tagger.on`."""
        return self if _lies_on(self.network, device) else BeatsTagger(copy.deepcopy(self.network).to(device))

    def classify(self, features: Tensor) -> Tensor:
        """See :meth:`Tagger.classify`."""
        return self.network.predictor(features)


def _lies_on(network: nn.Module, device: torch.device) -> bool:
    return next(network.parameters()).device == device


def load_tagger(path: Path) -> Tagger:
    """Load a published tagger: an EfficientAT file, or a BEATs checkpoint that was fine-tuned on AudioSet.

    Raises:
        InputMissingError: the file is not there or cannot be read.
        DataError: it is damaged, or neither of the two.
    """
    if "cfg" not in load_pickle(path):
        return EfficientAtTagger(load_efficientat(path))
    network = load_beats(path).requires_grad_(False)
    if not hasattr(network, "predictor"):
        raise DataError(f"{path} names no classes (it was not fine-tuned): give a checkpoint fine-tuned on AudioSet")
    return BeatsTagger(network)
